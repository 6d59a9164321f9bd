"""The same eight types by SQL in DuckDB, one thread: flattened to Parquet, without lineage, keyed ids or rejects.

Prints CPU seconds and rows by type as JSON. Arguments: folder of the NDJSON files, folder to write to.
"""

import json
import os
import resource
import sys
import time

import duckdb

source, target = sys.argv[1], sys.argv[2]
os.makedirs(target, exist_ok=True)
CODE = "struct(coding struct(system varchar, code varchar)[], \"text\" varchar)"
REF = "struct(reference varchar)"
PERIOD = "struct(\"start\" varchar, \"end\" varchar)"
QUANTITY = "struct(\"value\" double, unit varchar, code varchar)"
CODING = "code.coding[1].code, code.coding[1].system"
LINKS = "subject.reference, encounter.reference"
KINDS = {
    "Patient": ({"id": "varchar", "gender": "varchar", "birthDate": "varchar", "deceasedDateTime": "varchar"},
                "id, gender, birthDate, deceasedDateTime"),
    "Encounter": ({"id": "varchar", "status": "varchar", "class": "struct(code varchar)", "subject": REF, "period": PERIOD},
                  "id, class.code, subject.reference, period.\"start\"::timestamptz, period.\"end\"::timestamptz"),
    "Condition": ({"id": "varchar", "code": CODE, "subject": REF, "encounter": REF, "onsetDateTime": "varchar",
                   "abatementDateTime": "varchar"},
                  f"id, {CODING}, {LINKS}, onsetDateTime::timestamptz, abatementDateTime::timestamptz"),
    "Procedure": ({"id": "varchar", "status": "varchar", "code": CODE, "subject": REF, "encounter": REF,
                   "performedPeriod": PERIOD},
                  f"id, {CODING}, {LINKS}, performedPeriod.\"start\"::timestamptz, performedPeriod.\"end\"::timestamptz"),
    "MedicationRequest": ({"id": "varchar", "status": "varchar", "medicationCodeableConcept": CODE, "subject": REF,
                           "encounter": REF, "authoredOn": "varchar"},
                          f"id, medicationCodeableConcept.coding[1].code, {LINKS}, authoredOn::timestamptz"),
    "Immunization": ({"id": "varchar", "status": "varchar", "vaccineCode": CODE, "patient": REF, "encounter": REF,
                      "occurrenceDateTime": "varchar"},
                     "id, vaccineCode.coding[1].code, patient.reference, encounter.reference, occurrenceDateTime::timestamptz"),
    "AllergyIntolerance": ({"id": "varchar", "code": CODE, "patient": REF, "recordedDate": "varchar"},
                           f"id, {CODING}, patient.reference, recordedDate::timestamptz"),
}
VALUE = {"valueQuantity": QUANTITY, "valueCodeableConcept": CODE, "valueString": "varchar"}
PARTS = ", ".join(f"{name} {kind}" for name, kind in {"code": CODE, **VALUE}.items())
OBSERVATION = {"id": "varchar", "status": "varchar", "code": CODE, "subject": REF, "encounter": REF,
               "effectiveDateTime": "varchar", **VALUE, "component": f"struct({PARTS})[]"}

started, rows = time.process_time(), {}
db = duckdb.connect(config={"threads": 1})


def columns(of):
    return "{" + ", ".join(f"{name}: '{kind}'" for name, kind in of.items()) + "}"


def read(kind, of):
    return f"read_json('{source}/{kind}.ndjson', format='newline_delimited', columns={columns(of)})"


def write(kind, sql):
    db.execute(f"copy ({sql}) to '{target}/{kind}.parquet' (format parquet, compression zstd)")
    rows[kind] = db.execute(f"select count(*) from '{target}/{kind}.parquet'").fetchone()[0]


for kind, (of, what) in KINDS.items():
    names = ", ".join(f"{part} as c{at}" for at, part in enumerate(what.split(", ")))
    write(kind, f"select {names} from {read(kind, of)}")
one = "{p}code.coding[1].code, {p}valueQuantity.\"value\", {p}valueQuantity.code, {p}valueCodeableConcept.coding[1].code, {p}valueString"
write("Observation", f"""
with o as materialized (select * from {read('Observation', OBSERVATION)})
select id, {LINKS.replace(', ', ' as s, ')} as e, effectiveDateTime::timestamptz as t,
  code.coding[1].code as c, valueQuantity."value" as v, valueQuantity.code as u,
  valueCodeableConcept.coding[1].code as vc, valueString as vs
  from o where component is null or len(component) = 0
union all
select id, s, e, t, p.code.coding[1].code, p.valueQuantity."value", p.valueQuantity.code,
  p.valueCodeableConcept.coding[1].code, p.valueString
  from (select id, subject.reference as s, encounter.reference as e, effectiveDateTime::timestamptz as t,
        unnest(component) as p from o where len(component) > 0)
""")
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({"cpu_s": time.process_time() - started, "wall_s": time.process_time() - started,
                  "peak_mb": usage.ru_maxrss / 1024, "rows": rows, "duckdb": duckdb.__version__}))
