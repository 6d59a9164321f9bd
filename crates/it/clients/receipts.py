"""Holds consent receipts against their shapes, and shows that the shapes notice what is missing.

usage: receipts.py SHAPES RECEIPT...        RECEIPT is a file of JSON-LD.
Ends with status 77 where pySHACL is not installed.
"""

import copy
import json
import sys

try:
    import rdflib
    from pyshacl import validate
except ImportError:
    print("skipped: pySHACL is not installed; run ./test", flush=True)
    sys.exit(77)

shapes = rdflib.Graph().parse(sys.argv[1], format="turtle")


def conforms(receipt):
    graph = rdflib.Graph().parse(data=json.dumps(receipt), format="json-ld")
    ok, _, words = validate(graph, shacl_graph=shapes, inference="none")
    return ok, words


for path in sys.argv[2:]:
    receipt = json.load(open(path))
    ok, words = conforms(receipt)
    assert ok, f"{path}: {words}"
    noticed, process = 0, "dpv:hasProcess"
    for inside in (None, process, "dpv:hasDataController", "dpv:hasDataSubject"):
        for key in receipt if inside is None else receipt[inside]:
            if key in ("@context", "@id") or (inside and key == "@type" and inside != "dpv:hasDataController"):
                continue
            if inside is None and key == "@type":
                continue
            changed = copy.deepcopy(receipt)
            del (changed if inside is None else changed[inside])[key]
            assert not conforms(changed)[0], f"{path}: nobody misses {inside} {key}"
            noticed += 1
    for at, event in enumerate(receipt["dpv:hasConsentStatus"]):
        for key in ("@type", "dct:date", "dpv:isIndicatedBy", "recordedAt"):
            changed = copy.deepcopy(receipt)
            del changed["dpv:hasConsentStatus"][at][key]
            assert not conforms(changed)[0], f"{path}: nobody misses {key} of event {at}"
            noticed += 1
    print(f"ok {path.rsplit('/', 1)[-1]}: conforms, and {noticed} fields would be missed", flush=True)
