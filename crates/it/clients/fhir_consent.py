"""Reads consents as FHIR resources with the package fhir.resources, which knows nothing of Acequia.

    fhir_consent.py RELEASE FILE...    RELEASE is r4 or r5

Exit status 77 when the package is not installed.
"""

import json
import sys

try:
    from fhir.resources.R4B.consent import Consent as R4B
    from fhir.resources.consent import Consent as R5
except ImportError:
    print("skipped: fhir.resources is not installed")
    sys.exit(77)

model = {"r4": R4B, "r5": R5}[sys.argv[1]]
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as file:
        text = file.read()
    resource = model.model_validate_json(text)
    # What it read and writes again says the same.
    assert json.loads(resource.model_dump_json()) == json.loads(text), path
print(len(sys.argv) - 2, "resources")
