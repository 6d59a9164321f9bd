"""Models of other programs with their manifests, and what they are worth on a table by onnxruntime's predictions.

Takes a folder to write into, a folder with models (`crates/inference/tests/data`) and a table. Of each model NAME it writes NAME.onnx,
NAME.import.toml and NAME.json with measures of its predictions, computed here.
"""

import csv
import json
import pathlib
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

out, models, table = (pathlib.Path(word) for word in sys.argv[1:4])
rows = list(csv.DictReader(table.open()))
died = np.array([int(row["death"]) for row in rows])
COLUMNS = ["age", "nodes", "pgr", "er", "grade"]
UNITS = {"age": "a", "nodes": "{count}", "pgr": "fmol/L", "er": "fmol/L", "grade": "1"}
numbers = np.array([[float(row[column]) for column in COLUMNS] for row in rows])
onnxruntime.set_default_logger_severity(4)
random = np.random.default_rng(11)


def linear_and_layers():
    """Logistic regression and a small network, as PyTorch exports them: Gemm with transposed weights, in single precision."""
    centre = numbers.mean(0).astype(np.float32)
    spread = numbers.std(0).astype(np.float32)

    def save(name, nodes, weights):
        weights |= {"centre": centre, "spread": spread}
        inputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 5])]
        outputs = [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["batch", 1])]
        first = [helper.make_node("Sub", ["features", "centre"], ["c"]), helper.make_node("Div", ["c", "spread"], ["s"])]
        constants = [numpy_helper.from_array(np.asarray(value, np.float32), key) for key, value in weights.items()]
        graph = helper.make_graph(first + nodes, name, inputs, outputs, constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="torch")
        onnx.checker.check_model(model, full_check=True)
        (out / f"{name}.onnx").write_bytes(model.SerializeToString())

    gemm = lambda x, layer, y: helper.make_node("Gemm", [x, f"{layer}.weight", f"{layer}.bias"], [y], transB=1)
    logit = {"0.weight": [[0.5, 0.9, -0.3, 0.1, 0.4]], "0.bias": [-0.4]}
    save("linear", [gemm("s", "0", "score")], logit)
    layers = {
        "0.weight": random.normal(size=(16, 5)) * 0.4,
        "0.bias": random.normal(size=16) * 0.1,
        "2.weight": random.normal(size=(8, 16)) * 0.3,
        "2.bias": random.normal(size=8) * 0.1,
        "4.weight": random.normal(size=(1, 8)) * 0.5,
        "4.bias": [-0.3],
    }
    relu = lambda x, y: helper.make_node("Relu", [x], [y])
    sigmoid = helper.make_node("Sigmoid", ["d"], ["score"])
    save("layers", [gemm("s", "0", "a"), relu("a", "b"), gemm("b", "2", "e"), relu("e", "f"), gemm("f", "4", "d"), sigmoid], layers)


def manifest(name, tensor, output, states):
    columns = ",\n  ".join(f'{{ name = "{column}", unit = "{UNITS[column]}" }}' for column in COLUMNS)
    text = f"""schema = "acequia-import/1"
name = "{name}"
version = "1"
title = "Death after breast cancer: {name}"
license = "MIT"
creators = [{{ name = "The tests" }}]
intended_use = "Tests."
outcome = {{ kind = "binary", value = {{ name = "death" }} }}
output = {{ name = "{output}", states = "{states}"{", column = 1" if output != "score" else ""} }}

[[inputs]]
name = "{tensor}"
columns = [
  {columns},
]
"""
    (out / f"{name}.import.toml").write_text(text)


def worth(risk):
    """Area under the curve with ties counted half, Brier score, mean risk."""
    values, place = np.unique(risk, return_inverse=True)
    cases = np.bincount(place[died == 1], minlength=len(values))
    controls = np.bincount(place[died == 0], minlength=len(values))
    below = np.cumsum(controls) - controls
    area = (cases * (below + controls / 2)).sum() / (cases.sum() * controls.sum())
    return {"auc": area, "brier": ((risk - died) ** 2).mean(), "expected_risk": risk.mean()}


linear_and_layers()
given = ["logistic", "logistic-double", "forest", "gradient-boosting", "histogram-boosting", "perceptron", "naive-bayes"]
given += ["support-vectors", "calibrated", "xgboost", "lightgbm"]
for name in given:
    shutil.copy(models / f"{name}.onnx", out)
for name in [*given, "linear", "layers"]:
    session = onnxruntime.InferenceSession(str(out / f"{name}.onnx"))
    tensor = session.get_inputs()[0]
    feed = numbers.astype(np.float64 if tensor.type == "tensor(double)" else np.float32)
    output = session.get_outputs()[-1].name
    said = session.run([output], {tensor.name: feed})[0]
    if isinstance(said, list):
        said = np.array([one[1] for one in said])
    elif said.shape[1] == 2:
        said = said[:, 1]
    said = said.astype(float).ravel()
    states = "log-odds" if name == "linear" else "risk"
    risk = 1 / (1 + np.exp(-said)) if name == "linear" else said
    manifest(name, tensor.name, output, states)
    (out / f"{name}.json").write_text(json.dumps(worth(risk)))
print(len(given) + 2, "models")
