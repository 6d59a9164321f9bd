"""Stock clients read a published model: huggingface_hub, onnx, onnxruntime, safetensors."""

import json
import math
import os
import sys
import tempfile

endpoint, name = sys.argv[1], sys.argv[2]
os.environ["HF_ENDPOINT"] = endpoint
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HOME"] = tempfile.mkdtemp()

import numpy as np
import onnx
import onnxruntime
from huggingface_hub import HfApi, HfFileSystem, ModelCard, hf_hub_download, snapshot_download
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError
from safetensors import safe_open
from safetensors.numpy import load_file

api = HfApi()
info = api.model_info(name, files_metadata=True)
assert info.id == name and len(info.sha) == 40, info
assert info.pipeline_tag == "tabular-regression" and info.library_name == "onnx", info
assert info.safetensors.total == info.safetensors.parameters["F64"] > 10, info.safetensors
sizes = {file.rfilename: file.size for file in info.siblings}
for path in ["model.json", "model.onnx", "model.safetensors", "README.md", "card.json", "bom.cdx.json", "manifest.json"]:
    assert sizes[path] > 100, path
assert "not-a-medical-device" in info.tags and "license:cc-by-4.0" in info.tags, info.tags
assert [model.id for model in api.list_models(search="recurrence")] == [name]
assert [model.id for model in api.list_models(filter="onnx")] == [name]
assert [model.id for model in api.list_models(author="acequia", full=True)] == [name]
assert list(api.list_models(search="sepsis")) == []
refs = api.list_repo_refs(name)
assert [tag.name for tag in refs.tags] == ["v1.0.0"] and refs.tags[0].target_commit == info.sha, refs
assert api.list_repo_commits(name)[0].commit_id == info.sha
assert api.repo_exists(name) and not api.repo_exists(name, repo_type="dataset")
assert api.file_exists(name, "model.onnx") and not api.file_exists(name, "model.pkl")
paths = {entry.path for entry in api.list_repo_tree(name, recursive=True)}
assert {"validation", "validation/gbsg.json", "validation/gbsg.html"} <= paths, paths
assert HfFileSystem(endpoint=endpoint).ls(f"{name}@v1.0.0", detail=False)

# The card, as the Hub's own reader takes it.
card = ModelCard.load(name)
assert card.data.license == "cc-by-4.0" and card.data.pipeline_tag == "tabular-regression", card.data
results = {result.metric_type: result for result in card.data.eval_results}
assert abs(results["c_index"].metric_value - 0.6524) < 5e-5, results
assert results["c_index"].dataset_name == "gbsg", results

# Every way to a file gives the same bytes, which are those that were published.
folder = snapshot_download(name, revision="v1.0.0")
for path in ["model.onnx", "model.json", "validation/gbsg.json"]:
    with open(os.path.join(folder, path), "rb") as file:
        whole = file.read()
    for revision in ["main", "v1.0.0", info.sha]:
        with open(hf_hub_download(name, path, revision=revision), "rb") as file:
            assert file.read() == whole, (path, revision)

for wrong, error in [
    (lambda: hf_hub_download(name, "model.pkl"), EntryNotFoundError),
    (lambda: hf_hub_download(name, "model.onnx", revision="v9.9.9"), RevisionNotFoundError),
    (lambda: hf_hub_download("acequia/none", "model.onnx"), RepositoryNotFoundError),
    (lambda: api.delete_tag(name, tag="v1.0.0"), HfHubHTTPError),
    (lambda: api.super_squash_history(name), HfHubHTTPError),
]:
    try:
        wrong()
    except error:
        continue
    raise AssertionError("this had to be refused")
assert api.create_repo(name, exist_ok=True)

# It predicts: from what a clinician reads to a risk, as the numbers of model.json say.
with open(os.path.join(folder, "model.json"), encoding="utf-8") as file:
    model = json.load(file)
with open(os.path.join(folder, "card.json"), encoding="utf-8") as file:
    told = json.load(file)
path = os.path.join(folder, "model.onnx")
onnx.checker.check_model(path, full_check=True)
session = onnxruntime.InferenceSession(path)
assert {one.name: one.type for one in session.get_inputs()} == {
    "size": "tensor(string)", "nodes": "tensor(double)", "grade": "tensor(string)",
}
people = [("<=20", 0.0, "2"), ("20-50", 1.0, "3"), (">50", 9.0, "3"), ("<=20", 40.0, "2")]
column = lambda at, kind: np.array([[person[at]] for person in people], dtype=kind)
lp, risk = session.run(["linear_predictor", "risk"], {"size": column(0, str), "nodes": column(1, float), "grade": column(2, str)})
days = told["model"]["horizons_days"]
assert risk.shape == (len(people), len(days)) and days[-1] == 1826.25, (risk.shape, days)


def cube(x, knot):
    return max(x - knot, 0.0) ** 3


b = model["form"]["coefficients"]
for at, (size, nodes, grade) in enumerate(people):
    n = min(nodes, 19.0)
    spline = (cube(n, 0) - cube(n, 1) * (9 - 0) / (9 - 1) + cube(n, 9) * (1 - 0) / (9 - 1)) / 81
    x = [float(size == "20-50"), float(size == ">50"), n, spline, float(grade == "3")]
    expected = sum(weight * value for weight, value in zip(b, x))
    assert abs(lp[at, 0] - expected) < 1e-12, (at, lp[at, 0], expected)
    for horizon, day in enumerate(days):
        hazard = max((h for d, h in model["form"]["baseline"] if d <= day), default=0.0)
        assert abs(risk[at, horizon] - (1 - math.exp(-hazard * math.exp(expected)))) < 1e-12
assert (np.diff(risk, axis=1) >= 0).all() and 0.05 < risk[0, -1] < risk[2, -1] < 0.95, risk

# What is not exactly one of the texts that it knows has no prediction, rather than that of others.
for size, grade in [("over 50 mm", "3"), (" 20-50", "3"), ("*", "3"), ("30", "3"), ("", "3"), (">50", "3.0"), (">50", "III"), (">50", "NA")]:
    lp, risk = session.run(["linear_predictor", "risk"], {"size": np.array([[size]]), "nodes": np.array([[5.0]]), "grade": np.array([[grade]])})
    assert np.isnan(lp).all() and np.isnan(risk).all(), (size, grade, lp, risk)

# Its numbers without any runtime.
numbers = load_file(os.path.join(folder, "model.safetensors"))
assert np.array_equal(numbers["coefficients"], np.array(b))
assert np.array_equal(np.stack([numbers["baseline.days"], numbers["baseline.cumulative_hazard"]], axis=1), np.array(model["form"]["baseline"]))
with safe_open(os.path.join(folder, "model.safetensors"), framework="numpy") as file:
    assert json.loads(file.metadata()["acequia-model/1"]) == model

# The bill of materials names the very files.
import hashlib

with open(os.path.join(folder, "bom.cdx.json"), encoding="utf-8") as file:
    bill = json.load(file)
assert bill["bomFormat"] == "CycloneDX" and bill["metadata"]["component"]["type"] == "machine-learning-model"
for component in bill["components"]:
    if component["type"] == "file":
        with open(os.path.join(folder, component["name"]), "rb") as file:
            assert component["hashes"][0]["content"] == hashlib.sha256(file.read()).hexdigest(), component
try:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    problem = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bill))
    assert problem is None, problem
except ImportError:
    print("skipped: the bill of materials against its schema")
print("model read, predicted and cited by stock clients")
