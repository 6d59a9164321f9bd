"""Models as ONNX predict in onnxruntime what they predict in the program that wrote them.

Takes a folder: for each NAME.onnx there is a NAME.json with `columns` (texts or numbers by name) and `expected` (rows by
name of an output).
"""

import json
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

models = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
assert models, "no model"
for path in models:
    told = json.loads(path.with_suffix(".json").read_text())
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path))
    kinds = {"tensor(string)": str, "tensor(double)": float}
    feed = {}
    for one in session.get_inputs():
        column = told["columns"][one.name]
        feed[one.name] = np.array(column, dtype=kinds[one.type]).reshape(len(column), -1)
    assert set(feed) == set(told["columns"]), (path.name, set(feed))
    names = [output.name for output in session.get_outputs()]
    assert set(names) == set(told["expected"]), (path.name, names)
    for name, found in zip(names, session.run(names, feed)):
        expected = np.array(told["expected"][name]).reshape(found.shape)
        # A runtime sums trees in single precision, and has no other convolutions.
        allowed = 1e-5 if path.stem in ("boosting", "image") else 1e-9
        difference = np.abs(found - expected).max()
        assert found.dtype == np.float64 and difference < allowed, (path.name, name, difference)
        print(f"{path.stem} {name}: {found.shape[0]} rows, largest difference {difference:.1e}")
    # A text that nobody ever saw has no prediction, whatever the kind of model.
    if "size" in feed:
        feed = {name: column[:2].copy() for name, column in feed.items()}
        feed["size"][0, 0] = "?"
        for name, found in zip(names, session.run(names, feed)):
            assert np.isnan(found[0]).all() and not np.isnan(found[1]).any(), (path.name, name, found)
