"""Reads everything that a node says to catalogues and harvesters, with the tools that they use.

usage: catalogues.py ENDPOINT NAMESPACE/NAME [FOLDER]

FOLDER holds the SHACL shapes of DCAT-AP 3.0.1 and HealthDCAT-AP Release 8, for open data; without it they are skipped.
Needs `datacite`, `mlcroissant`, `pandas`, `pyarrow`, `pyshacl` and `rdflib`.
"""

import hashlib
import json
import sys
import time
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import rdflib
from datacite import schema45
from rdflib.compare import isomorphic

endpoint, name = sys.argv[1].rstrip("/"), sys.argv[2]
folder = Path(sys.argv[3]) if len(sys.argv) > 3 else None
steps = 0


def step(text):
    global steps
    steps += 1
    print(f"ok {steps} {text}", flush=True)


def fetch(url, **headers):
    request = urllib.request.Request(url if "://" in url else endpoint + url, headers=headers)
    with urllib.request.urlopen(request) as answer:
        return answer.read(), answer.headers


def read(url, **headers):
    return json.loads(fetch(url, **headers)[0])


info = read(f"/api/datasets/{name}")
tags = [tag["name"] for tag in read(f"/api/datasets/{name}/refs")["tags"]]
tag = tags[-1]
version = f"{endpoint}/datasets/{name}/v/{tag[1:]}"

DCAT = rdflib.Namespace("http://www.w3.org/ns/dcat#")
SH = rdflib.Namespace("http://www.w3.org/ns/shacl#")
HEALTH = rdflib.Namespace("http://healthdataportal.eu/ns/health#")
RDF = rdflib.RDF

# The same graph in both forms.
turtle = rdflib.Graph().parse(data=fetch(f"{version}/dcat.ttl")[0], format="turtle")
json_ld = rdflib.Graph().parse(data=fetch(f"{version}/dcat.jsonld")[0], format="json-ld")
assert len(turtle) > 100 and isomorphic(turtle, json_ld), (len(turtle), len(json_ld))
datasets = set(turtle.subjects(RDF.type, DCAT.Dataset))
assert datasets == {rdflib.URIRef(version)}, datasets
tables = turtle.objects(rdflib.URIRef(version), DCAT.distribution)
downloads = {str(url) for table in tables for url in turtle.objects(table, DCAT.downloadURL)}
assert len(downloads) >= 3, downloads
step(f"DCAT as Turtle and JSON-LD: {len(turtle)} triples, the same in both")


def validate(graph, what):
    """Both sets of shapes in one graph. A link to a property shape without a path stops pySHACL; the rule behind it
    (structured data has variables) is checked here."""
    from pyshacl import validate as shacl

    shapes = rdflib.Graph()
    shapes.parse(folder / "dcat-ap-3.0.1" / "shapes.ttl", format="turtle")
    shapes.parse(folder / "healthdcat-ap-r8" / "public-shapes.ttl", format="turtle")
    for subject, _, shape in list(shapes.triples((None, SH.property, None))):
        if (shape, SH.path, None) not in shapes:
            shapes.remove((subject, SH.property, shape))
    shapes.remove((None, rdflib.OWL.imports, None))
    conforms, _, text = shacl(graph, shacl_graph=shapes, inference="none", advanced=True)
    for dataset in graph.subjects(HEALTH.hasStructuredData, rdflib.Literal(True)):
        conforms = conforms and (dataset, HEALTH.hasVariables, None) in graph
    return conforms, f"{what}: {text}"


if folder is not None and folder.is_dir():
    conforms, text = validate(turtle, "version")
    assert conforms, text
    # The check can fail: without the access body it does.
    for triple in list(turtle.triples((None, HEALTH.hdab, None))):
        turtle.remove(triple)
    assert not validate(turtle, "without access body")[0]
    step("pySHACL: DCAT-AP 3.0.1 and HealthDCAT-AP Release 8, no violation")
else:
    print("skipped: the SHACL shapes are not there", flush=True)

# The feed, page by page.
page, seen, pages = f"{endpoint}/catalogue.ttl", set(), 0
HYDRA = rdflib.Namespace("http://www.w3.org/ns/hydra/core#")
while page:
    feed = rdflib.Graph().parse(data=fetch(page)[0], format="turtle")
    if folder is not None and folder.is_dir():
        conforms, text = validate(feed, page)
        assert conforms, text
    seen |= set(feed.objects(rdflib.URIRef(f"{endpoint}/catalogue"), DCAT.dataset))
    page = next(map(str, feed.objects(None, HYDRA.next)), None)
    pages += 1
assert rdflib.URIRef(version) in seen, seen
step(f"DCAT feed: {len(seen)} data sets on {pages} pages")

# Croissant.
import mlcroissant as mlc  # noqa: E402

described = mlc.Dataset(f"{version}/croissant.jsonld")
problems = described.metadata.ctx.issues
assert not problems.errors, problems.errors
croissant = read(f"{version}/croissant.jsonld")
for needed in (
    "@context @type conformsTo name description license url creator datePublished distribution keywords publisher version "
    "dateModified inLanguage citeAs usageInfo prov:wasDerivedFrom prov:wasGeneratedBy rai:dataCollection rai:dataBiases "
    "rai:dataLimitations rai:dataUseCases rai:personalSensitiveInformation rai:dataReleaseMaintenancePlan"
).split():
    assert croissant.get(needed), needed
assert "http://mlcommons.org/croissant/1.1" in croissant["conformsTo"]
assert any(term.get("termCode", "").startswith("DUO_") for term in croissant["usageInfo"])
assert any(term["@type"] == "odrl:Offer" for term in croissant["usageInfo"])
step(f"Croissant: no error, {len(problems.warnings)} warnings")

# RO-Crate: every file it names has the digest it states.
crate = read(f"{version}/ro-crate-metadata.json")
by_id = {entity["@id"]: entity for entity in crate["@graph"]}
assert by_id["ro-crate-metadata.json"]["conformsTo"]["@id"] == "https://w3id.org/ro/crate/1.1"
parts = [part["@id"] for part in by_id["./"]["hasPart"]]
for part in parts:
    content = fetch(f"{version}/{part}")[0]
    assert hashlib.sha256(content).hexdigest() == by_id[part]["sha256"], part
step(f"RO-Crate: {len(parts)} files beside it")

# DataCite, schema.org, citations.
datacite = read(f"{version}/datacite.json")
schema45.validate(datacite)
assert datacite["url"] == version and datacite["alternateIdentifiers"][0]["alternateIdentifier"] == version
KERNEL = "{http://datacite.org/schema/kernel-4}"
resource = ElementTree.fromstring(fetch(f"{version}/datacite.xml")[0])
assert resource.tag == f"{KERNEL}resource" and resource.find(f"{KERNEL}titles/{KERNEL}title").text == datacite["titles"][0]["title"]
schema = read(f"{version}/schema.jsonld")
html = fetch(version)[0].decode()
block = html.split('<script type="application/ld+json">')[1].split("</script>")[0]
assert json.loads(block) == schema and schema["@type"] == "Dataset"
assert {file["contentUrl"] for file in schema["distribution"]} == downloads
for kind in ("citation.json", "citation.bib", "CITATION.cff"):
    assert fetch(f"{version}/{kind}")[0], kind
step("DataCite by the schema of 4.5, schema.org in the page, citations")

# Signposting: what the header names is there, in the type it says.
linkset = read(f"{version}/linkset.json")["linkset"][0]
for link in linkset["describedby"]:
    kind = fetch(link["href"])[1]["Content-Type"]
    assert kind.split(";")[0] == link["type"], link
assert {link["href"] for link in linkset["item"]} == downloads
assert linkset["cite-as"][0]["href"] == version
step("Signposting: header and link set")

# OAI-PMH.
OAI = "{http://www.openarchives.org/OAI/2.0/}"


def oai(query):
    return ElementTree.fromstring(fetch(f"/oai?{query}")[0])


identify = oai("verb=Identify").find(f"{OAI}Identify")
assert identify.find(f"{OAI}protocolVersion").text == "2.0"
prefixes = [node.text for node in oai("verb=ListMetadataFormats").iter(f"{OAI}metadataPrefix")]
harvested = set()
for prefix in prefixes:
    query = f"verb=ListRecords&metadataPrefix={prefix}"
    while query:
        answer = oai(query)
        assert answer.find(f"{OAI}error") is None, query
        harvested |= {(prefix, node.text) for node in answer.iter(f"{OAI}identifier") if node.text.startswith("oai:")}
        token = answer.find(f".//{OAI}resumptionToken")
        query = f"verb=ListRecords&resumptionToken={urllib.request.quote(token.text, safe='')}" if token is not None and token.text else None
assert {prefix for prefix, own in harvested if own.endswith(f":{name}")} == set(prefixes) == {"oai_dc", "datacite"}
step(f"OAI-PMH: {len(harvested)} records in {len(prefixes)} formats")

# GA4GH DRS: from a version to its bytes.
assert read("/ga4gh/drs/v1/service-info")["type"]["artifact"] == "drs"
bundle = read(f"/ga4gh/drs/v1/objects/{info['sha']}")
for part in bundle["contents"]:
    own = read(f"/ga4gh/drs/v1/objects/{part['id']}")
    content = fetch(own["access_methods"][0]["access_url"]["url"])[0]
    assert hashlib.sha256(content).hexdigest() == own["checksums"][0]["checksum"] and len(content) == own["size"]
step(f"GA4GH DRS: {len(bundle['contents'])} objects")

# Site map and problem details.
site = ElementTree.fromstring(fetch("/sitemap.xml")[0])
assert any(node.text == version for node in site.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc"))
try:
    fetch("/api/datasets/no/such", Accept="application/problem+json")
    raise AssertionError("a data set that is not there was found")
except urllib.error.HTTPError as refused:
    problem = json.load(refused)
    assert refused.headers["Content-Type"] == "application/problem+json" and problem["status"] == refused.code == 404
    assert refused.headers["X-Error-Code"] == problem["code"] == "RepoNotFound"
step("site map, problem details")

# The viewer: rows and counts are those of the Parquet files it names.
import pandas as pd  # noqa: E402

assert read(f"/is-valid?dataset={name}")["viewer"] is True
splits = [split["split"] for split in read(f"/splits?dataset={name}")["splits"]]
files = read(f"/parquet?dataset={name}")["parquet_files"]
sizes = {split["split"]: split["num_rows"] for split in read(f"/size?dataset={name}")["size"]["splits"]}
features = list(read(f"/info?dataset={name}&config=default")["dataset_info"]["features"])
compared = 0
for split in splits:
    frame = pd.concat([pd.read_parquet(file["url"]) for file in files if file["split"] == split], ignore_index=True)
    assert len(frame) == sizes[split] and list(frame.columns) == features, split
    for offset in (0, len(frame) // 2, len(frame) - 3):
        page = read(f"/rows?dataset={name}&config=default&split={split}&offset={offset}&length=7")
        assert page["num_rows_total"] == len(frame)
        expected = json.loads(frame.iloc[offset : offset + 7].to_json(orient="records"))
        assert [row["row"] for row in page["rows"]] == expected, (split, offset)
        assert [row["row_idx"] for row in page["rows"]] == list(range(offset, min(offset + 7, len(frame))))
    first = read(f"/first-rows?dataset={name}&config=default&split={split}")
    assert len(first["rows"]) == min(100, len(frame))
    told = read(f"/statistics?dataset={name}&config=default&split={split}")
    assert told["num_examples"] == len(frame)
    for column in told["statistics"]:
        values_of, own = frame[column["column_name"]], column["column_statistics"]
        if own["nan_count"] is not None:
            assert own["nan_count"] == values_of.isna().sum(), column
            compared += 1
        for measure in ("mean", "median"):
            if own.get(measure) is not None:
                assert abs(own[measure] - getattr(values_of, measure)()) <= 1e-9 * max(1, abs(own[measure])), column
                compared += 1
        # A column of whole numbers with unknown ones is read as fractions.
        plain = values_of.dropna().map(lambda value: f"{value:g}" if isinstance(value, float) else str(value))
        counts = plain.value_counts()
        for value, count in own.get("frequencies", {}).items():
            if count is not None and column["column_type"] == "string_label":
                assert counts.get(value, 0) == count, (column["column_name"], value)
                compared += 1
assert compared > 0
step(f"viewer: rows of {len(splits)} splits, {compared} numbers recomputed with pandas")

# The description of the interface: OpenAPI 3.1, and every address it gives as an example answers.
openapi = read("/api/openapi.json")
assert openapi["openapi"].startswith("3.1.")
namespace, own = name.split("/")
values = {
    "namespace": namespace,
    "name": own,
    "model": "breast-cancer-recurrence",
    "dataset": name,
    "revision": tag,
    "version": tag[1:],
    # One version alone is compared with nothing.
    "pair": f"{tags[0]}..{tag}" if len(tags) > 1 else None,
    "object": bundle["contents"][0]["id"],
    "resumptionToken": None,
}


def xet_hash(path):
    """The hash of Xet of a file. It is worked out in the background once a version is out."""
    for _ in range(100):
        request = urllib.request.Request(endpoint + path, method="HEAD")
        with urllib.request.urlopen(request) as answer:
            if told := answer.headers["X-Xet-Hash"]:
                return told
        time.sleep(0.1)
    raise AssertionError(f"{path} has no hash")


hashes = {
    "{name}": xet_hash(f"/datasets/{name}/resolve/{tag}/data/train-00000-of-00001.parquet"),
    "{model}": xet_hash(f"/{namespace}/{values['model']}/resolve/{tag}/model.onnx"),
}
asked = 0
for path, methods in openapi["paths"].items():
    values["file"] = hashes["{model}" if "{model}" in path else "{name}"]
    # What needs a token is asked by deposits.py.
    if "get" not in methods or methods["get"].get("security"):
        continue
    if "{pair}" in path and values["pair"] is None:
        continue
    query = []
    for parameter in methods["get"]["parameters"]:
        value = values.get(parameter["name"], parameter["example"])
        if parameter["in"] == "path":
            path = path.replace("{" + parameter["name"] + "}", urllib.request.quote(str(value), safe=""))
        elif parameter["required"]:
            query.append(f"{parameter['name']}={urllib.request.quote(str(value), safe='')}")
    with urllib.request.urlopen(f"{endpoint}{path}?{'&'.join(query)}") as answer:
        assert str(answer.status) in methods["get"]["responses"], (path, answer.status)
        kinds = methods["get"]["responses"]["200"]["content"]
        assert path.endswith("README.md") or answer.headers["Content-Type"].split(";")[0] in kinds, path
    asked += 1
step(f"OpenAPI 3.1: {asked} addresses answer as described")

print(f"all {steps} steps passed: {name} {tag} at {endpoint}")
