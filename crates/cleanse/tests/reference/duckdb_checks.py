#!/usr/bin/env python3
"""Counts every default check of an OMOP folder with SQL in DuckDB, one statement a check, and compares.

    python duckdb_checks.py DEFINITIONS OMOP_FOLDER AS_OF [FINDINGS.json]

DEFINITIONS holds OHDSI's OMOP_CDMv5.4_{Check_Descriptions,Table_Level,Field_Level,Concept_Level}.csv (Apache-2.0), read
here by themselves so that a slip in the definitions of the crate shows. The SQL is written from the descriptions of the
checks (their numerators and denominators), not taken from anywhere. AS_OF is the day that counts as today. Without
FINDINGS it prints the counts; with it, it ends with 1 if a count differs. Needs the package `duckdb`.
"""

import csv
import json
import os
import re
import sys
import time

import duckdb

BIRTH = """coalesce(cast(p.birth_datetime as date), make_date(p.year_of_birth, coalesce(p.month_of_birth, 1), coalesce(p.day_of_birth, 1)))"""
MIDYEAR = """coalesce(cast(p.birth_datetime as date), make_date(p.year_of_birth, 6, 1))"""
# More than a number: a column of the model that SQL reserves.
QUOTED = {"offset": '"offset"'}


def rows(folder, name):
    with open(os.path.join(folder, f"OMOP_CDMv5.4_{name}.csv"), encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def holds(condition, row):
    for part in condition.split("&"):
        name, operator, value = re.match(r"\s*(\w+)\s*(==|!=)\s*'([^']*)'", part).groups()
        if (row.get(name, "") == value) != (operator == "=="):
            return False
    return True


def check_id(level, name, row):
    parts = [level, name, row["cdmTableName"], row.get("cdmFieldName"), row.get("conceptId"), row.get("unitConceptId")]
    if level == "TABLE":
        parts = parts[:3]
    elif level == "FIELD":
        parts = parts[:4]
    return "_".join(part.replace(" ", "") for part in parts if part).lower()


def literal(bound, as_of):
    bound = bound.strip()
    if bound == "DATEADD(dd,1,GETDATE())":
        return f"date '{as_of}' + 1", True
    if bound == "YEAR(GETDATE())+1":
        return f"{int(as_of[:4]) + 1}", False
    day = re.fullmatch(r"'(\d{4})(\d{2})(\d{2})'", bound)
    return (f"date '{'-'.join(day.groups())}'", True) if day else (bound, False)


def load(con, folder, fields):
    """Every file whose name is a table: as texts (`raw_*`) and typed by the model (`*`). Returns columns by table."""
    found = {}
    for name in sorted(os.listdir(folder)):
        stem = re.fullmatch(r"(\w+)\.(csv|csv\.gz|parquet)", name.lower())
        if not stem or stem.group(1) not in fields:
            continue
        table, path = stem.group(1), os.path.join(folder, name)
        if stem.group(2) == "parquet":
            con.execute(f"create table raw_{table} as select * from read_parquet('{path}')")
        else:
            con.execute(f"create table raw_{table} as select * from read_csv('{path}', all_varchar=true, header=true, delim=',', quote='\"', escape='\"')")
        described = con.execute(f"describe raw_{table}").fetchall()
        present = {column[0].lower(): column[0] for column in described}
        types = {column[0].lower(): column[1] for column in described}
        select = []
        for field, kind in fields[table].items():
            if field not in present:
                continue
            text = f'"{present[field]}"'
            if types[field] != "VARCHAR" or kind.startswith("varchar"):
                cast = f"cast({text} as date)" if kind in ("date", "datetime") and types[field] != "VARCHAR" else text
            elif kind in ("integer", "bigint"):
                cast = f"case when regexp_full_match({text}, '[+-]?[0-9]+') then cast({text} as bigint) end"
            elif kind == "float":
                cast = f"try_cast({text} as double)"
            else:
                cast = f"try_cast(left({text}, 10) as date)"
            select.append(f'{cast} as {QUOTED.get(field, field)}')
        con.execute(f"create table {table} as select row_number() over () as _row, {', '.join(select)} from raw_{table}")
        found[table] = set(present) & set(fields[table])
    return found


def statement(name, row, table, field, fields, as_of):
    """SQL that gives (failing, counted), or what the check needs and the folder lacks."""
    t, f = table, QUOTED.get(field, field)
    concept, person = f"join concept c on c.concept_id = t.{f}", "join person p on p.person_id = t.person_id"

    def count(failing, counted="true", joins=""):
        return f"select count(*) filter (where {failing}), count(*) filter (where {counted}) from {t} t {joins}"

    if name == "measurePersonCompleteness":
        return f"select count(*) filter (where not exists (select 1 from {t} t where t.person_id = p.person_id)), count(*) from person p"
    if name == "measureConditionEraCompleteness":
        return """select count(*) filter (where not exists (select 1 from condition_era e where e.person_id = c.person_id)), count(*)
            from (select distinct person_id from condition_occurrence where person_id is not null) c"""
    if name == "measureObservationPeriodOverlap":
        return """select (select count(distinct a.person_id) from observation_period a join observation_period b
            on a.person_id = b.person_id and a.observation_period_id <> b.observation_period_id
            and a.observation_period_start_date <= b.observation_period_end_date + 1
            and b.observation_period_start_date <= a.observation_period_end_date + 1),
            (select count(distinct person_id) from observation_period)"""
    if name in ("isRequired", "measureValueCompleteness"):
        return f'select count(*) filter (where "{f.strip(chr(34))}" is null), count(*) from raw_{t}'
    if name == "cdmDatatype":
        return f'select count(*) filter (where "{field}" is not null and not regexp_full_match(cast("{field}" as varchar), \'[+-]?[0-9]+\')), count(*) from raw_{t}'
    if name == "isPrimaryKey":
        return f"select coalesce(sum(n) filter (where n > 1), 0), (select count(*) from {t}) from (select count(*) n from {t} where {f} is not null group by {f})"
    if name == "isForeignKey":
        to, key = row["fkTableName"].lower(), row["fkFieldName"].lower()
        return count(f"t.{f} is not null and not exists (select 1 from {to} o where o.{key} = t.{f})")
    if name == "fkDomain":
        domains = ", ".join(f"'{domain.strip()}'" for domain in row["fkDomain"].split(","))
        return count(f"t.{f} <> 0 and exists (select 1 from concept c where c.concept_id = t.{f} and c.domain_id not in ({domains}))")
    if name == "fkClass":
        return count(f"t.{f} <> 0 and exists (select 1 from concept c where c.concept_id = t.{f} and c.concept_class_id <> '{row['fkClass']}')")
    if name == "isStandardValidConcept":
        return count(
            f"t.{f} <> 0 and exists (select 1 from concept c where c.concept_id = t.{f} and (c.standard_concept is distinct from 'S' or c.invalid_reason is not null))",
            f"t.{f} is not null",
        )
    if name in ("standardConceptRecordCompleteness", "sourceConceptRecordCompleteness"):
        source = SOURCE_VALUE.get((table, field))
        if row["isRequired"] == "Yes" or source is None or source not in fields[table]:
            return count(f"t.{f} = 0", f"t.{f} is not null")
        return count(f"t.{f} = 0 or (t.{f} is null and t.{source} is not null)", f"t.{f} is not null or t.{source} is not null")
    if name == "sourceValueCompleteness":
        standard = row["standardConceptFieldName"].lower()
        return f"select (select count(*) from (select distinct {f} from {t} where {standard} = 0)), (select count(*) from (select distinct {f} from {t}))"
    if name in ("plausibleValueLow", "plausibleValueHigh"):
        bound, _ = literal(row[name], as_of)
        return count(f"t.{f} {'<' if name.endswith('Low') else '>'} {bound}", f"t.{f} is not null")
    if name == "plausibleTemporalAfter":
        after = row["plausibleTemporalAfterFieldName"].lower()
        if row["plausibleTemporalAfterTableName"].lower() == table:
            return count(f"t.{f} < t.{after}")
        return count(f"exists (select 1 from person p where p.person_id = t.person_id and t.{f} < {MIDYEAR})")
    if name == "plausibleAfterBirth":
        return count(f"exists (select 1 from person p where p.person_id = t.person_id and t.{f} < {BIRTH})", f"t.{f} is not null")
    if name == "plausibleBeforeDeath":
        died = "exists (select 1 from death d where d.person_id = t.person_id"
        return count(f"{died} and t.{f} > d.death_date + 60)", f"t.{f} is not null and {died})")
    if name == "plausibleDuringLife":
        died = "exists (select 1 from death d where d.person_id = t.person_id"
        return count(f"{died} and t.{f} > d.death_date + 60)", f"{died})")
    if name == "withinVisitDates":
        visit = "exists (select 1 from visit_occurrence v where v.visit_occurrence_id = t.visit_occurrence_id"
        return count(f"{visit} and (t.{f} < v.visit_start_date - 7 or t.{f} > v.visit_end_date + 7))", f"{visit})")
    if name == "plausibleStartBeforeEnd":
        end = row["plausibleStartBeforeEndFieldName"].lower()
        return count(f"t.{f} > t.{end}", f"t.{f} is not null and t.{end} is not null")
    if name in ("plausibleGender", "plausibleGenderUseDescendants"):
        right = {"Male": 8507, "Female": 8532}[row[name]]
        which = f"t.{f} = {row['conceptId']}" if name == "plausibleGender" else f"t.{f} in (select descendant_concept_id from concept_ancestor where ancestor_concept_id in ({row['conceptId']}))"
        return count(f"{which} and exists (select 1 from person p where p.person_id = t.person_id and p.gender_concept_id <> {right})", which)
    if name == "plausibleUnitConceptIds":
        numbered = f"t.{f} = {row['conceptId']} and t.value_as_number is not null"
        return count(f"{numbered} and coalesce(t.unit_concept_id, -1) not in ({row['plausibleUnitConceptIds']})", numbered)
    raise SystemExit(f"no SQL for {name}")


SOURCE_VALUE = {}


def source_values(fields):
    """The source value beside a concept field: `x_source_value` for `x_concept_id` and for `x_source_concept_id`."""
    for table, columns in fields.items():
        for field in columns:
            stem = re.sub(r"(_source)?_concept_id$", "", field)
            if stem != field and f"{stem}_source_value" in columns:
                SOURCE_VALUE[(table, field)] = f"{stem}_source_value"


def main():
    definitions, folder, as_of = sys.argv[1:4]
    levels = {"TABLE": rows(definitions, "Table_Level"), "FIELD": rows(definitions, "Field_Level"), "CONCEPT": rows(definitions, "Concept_Level")}
    fields = {}
    for row in levels["FIELD"]:
        fields.setdefault(row["cdmTableName"].lower(), {})[row["cdmFieldName"].lower()] = row["cdmDatatype"].lower()
    source_values(fields)
    con = duckdb.connect()
    con.execute("set threads to 1")
    found = load(con, folder, fields)
    began, statements, results = time.process_time(), 0, {}
    for check in rows(definitions, "Check_Descriptions"):
        level, name = check["checkLevel"], check["checkName"]
        for row in levels[level]:
            if not holds(check["evaluationFilter"], row):
                continue
            table, field = row["cdmTableName"].lower(), row.get("cdmFieldName", "").lower()
            key = check_id(level, name, row)
            if name == "cdmTable":
                results[key] = (int(table not in found), 1)
            elif table not in found:
                results[key] = None
            elif name == "cdmField":
                results[key] = (int(field not in found[table]), 1)
            elif field and field not in found[table]:
                results[key] = None
            else:
                try:
                    results[key] = con.execute(statement(name, row, table, field, found, as_of)).fetchone()
                    statements += 1
                except duckdb.Error as error:
                    results[key] = None
                    if os.environ.get("DEBUG"):
                        print(key, str(error).splitlines()[0], file=sys.stderr)
    seconds = time.process_time() - began
    failing = sum(1 for result in results.values() if result and result[0])
    total = sum(con.execute(f"select count(*) from {table}").fetchone()[0] for table in found)
    print(f"DuckDB {duckdb.__version__}: {total} rows, {len(results)} checks, {statements} statements in {seconds:.2f} CPU s; {failing} checks show violations")
    if len(sys.argv) < 5:
        for key, result in results.items():
            print(key, *(result or ("-", "-")), sep="\t")
        return 0
    with open(sys.argv[4], encoding="utf-8") as file:
        ours = {finding["id"]: (finding["failing"], finding["rows"]) if finding["counted"] else None for finding in json.load(file)["findings"]}
    different = [(key, result, ours.get(key, "absent")) for key, result in results.items() if ours.get(key, "absent") != (tuple(result) if result else None)]
    for key, expected, got in different[:50]:
        print(f"DIFFERS {key}: DuckDB {expected}, cleanse {got}")
    print(f"{len(results) - len(different)} of {len(results)} checks agree")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
