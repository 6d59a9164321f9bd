#!/usr/bin/env python3
"""Condenses the check definitions of OHDSI's DataQualityDashboard into tables.csv, fields.csv and concepts.csv.

    python condense.py FOLDER      # with OMOP_CDMv5.4_{Table,Field,Concept}_Level.csv

Facts only: which check is on for what, its parameter and its threshold. A cell is empty (off), `threshold` or
`parameter@threshold`, thresholds in per cent.
"""

import csv
import os
import re
import sys


def rows(name):
    with open(os.path.join(sys.argv[1], f"OMOP_CDMv5.4_{name}.csv"), encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def write(name, header, lines):
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, name), "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(lines)


def bound(text):
    day = re.fullmatch(r"'(\d{4})(\d{2})(\d{2})'", text)
    words = {"DATEADD(dd,1,GETDATE())": "tomorrow", "YEAR(GETDATE())+1": "next-year"}
    return "-".join(day.groups()) if day else words.get(text, text)


def field(row, check):
    on = row[check] == "Yes" if check not in ("fkDomain", "fkClass", "plausibleValueLow", "plausibleValueHigh") else row[check] != ""
    if check in ("fkDomain", "fkClass"):
        on = on and row["isForeignKey"] == "Yes"
    if not on:
        return ""
    key = row["cdmTableName"].lower()
    parameter = {
        "isForeignKey": lambda: f"{row['fkTableName']}.{row['fkFieldName']}".lower(),
        "fkDomain": lambda: row["fkDomain"],
        "fkClass": lambda: row["fkClass"],
        "sourceValueCompleteness": lambda: row["standardConceptFieldName"].lower(),
        "plausibleValueLow": lambda: bound(row[check]),
        "plausibleValueHigh": lambda: bound(row[check]),
        "plausibleTemporalAfter": lambda: (
            row["plausibleTemporalAfterFieldName"].lower()
            if row["plausibleTemporalAfterTableName"].lower() == key
            else f"{row['plausibleTemporalAfterTableName']}.{row['plausibleTemporalAfterFieldName']}".lower()
        ),
        "plausibleStartBeforeEnd": lambda: row["plausibleStartBeforeEndFieldName"].lower(),
    }.get(check, lambda: "")()
    threshold = row[f"{check}Threshold"]
    return f"{parameter}@{threshold}" if parameter else threshold


FIELD_CHECKS = """isRequired isPrimaryKey isForeignKey fkDomain fkClass isStandardValidConcept measureValueCompleteness
standardConceptRecordCompleteness sourceConceptRecordCompleteness sourceValueCompleteness plausibleValueLow plausibleValueHigh
plausibleTemporalAfter plausibleDuringLife withinVisitDates plausibleAfterBirth plausibleBeforeDeath plausibleStartBeforeEnd""".split()
TABLE_CHECKS = ["measurePersonCompleteness", "measureConditionEraCompleteness", "measureObservationPeriodOverlap"]

write(
    "tables.csv",
    ["table"] + TABLE_CHECKS,
    [[row["cdmTableName"].lower()] + [row[f"{check}Threshold"] if row[check] == "Yes" else "" for check in TABLE_CHECKS] for row in rows("Table_Level")],
)
write(
    "fields.csv",
    ["table", "field", "cdmDatatype"] + FIELD_CHECKS,
    [
        [row["cdmTableName"].lower(), row["cdmFieldName"].lower(), row["cdmDatatypeThreshold"] if row["cdmDatatype"] == "integer" else ""]
        + [field(row, check) for check in FIELD_CHECKS]
        for row in rows("Field_Level")
    ],
)
lines = []
for row in rows("Concept_Level"):
    at = [row["cdmTableName"].lower(), row["cdmFieldName"].lower(), re.sub(r"\s", "", row["conceptId"]).replace(",", " "), row["conceptName"]]
    for check in ("plausibleGender", "plausibleGenderUseDescendants"):
        if row[check]:
            lines.append([check, *at, row[check], row[f"{check}Threshold"]])
    if row["plausibleUnitConceptIdsThreshold"]:
        lines.append(["plausibleUnitConceptIds", *at, row["plausibleUnitConceptIds"].replace(",", " "), row["plausibleUnitConceptIdsThreshold"]])
write("concepts.csv", ["check", "table", "field", "concept_ids", "name", "parameter", "threshold"], lines)
