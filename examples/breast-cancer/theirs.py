"""Makes `theirs.onnx`: a model as somebody else would send it, made with scikit-learn.

It learns who has a recurrence or dies within five years of surgery from `rotterdam.csv`, of those whose five years are known. Run
with scikit-learn 1.9.1 and skl2onnx 1.20.0; the file lies beside this one, and `theirs.import.toml` says what it cannot.
"""

import numpy as np
import onnxruntime
import pandas
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FIVE_YEARS = 1826.25

rows = pandas.read_csv("rotterdam.csv")
recurred = (rows.recur == 1) & (rows.rtime <= FIVE_YEARS)
died = (rows.death == 1) & (rows.dtime <= FIVE_YEARS)
event = recurred | died
followed = (rows.rtime >= FIVE_YEARS) & (rows.dtime >= FIVE_YEARS)
known = event | followed

numbers, texts = ["age", "nodes"], ["size", "grade"]
table = rows[numbers + texts].astype({"age": np.float32, "nodes": np.float32, "grade": str})
table["nodes"] = np.minimum(table.nodes, 19)
steps = ColumnTransformer([("numbers", StandardScaler(), numbers), ("texts", OneHotEncoder(handle_unknown="ignore"), texts)])
model = make_pipeline(steps, LogisticRegression()).fit(table[known], event[known])

kinds = [(name, (FloatTensorType if name in numbers else StringTensorType)([None, 1])) for name in table]
made = convert_sklearn(model, initial_types=kinds, options={id(model): {"zipmap": False}})
made.doc_string = ""
with open("theirs.onnx", "wb") as file:
    file.write(made.SerializeToString())

session = onnxruntime.InferenceSession("theirs.onnx")
for age, nodes, size, grade in [(48, 0, "<=20", "2"), (61, 3, "20-50", "3"), (70, 12, ">50", "3")]:
    feed = {"age": [[age]], "nodes": [[nodes]], "size": [[size]], "grade": [[grade]]}
    feed = {name: np.array(cell, np.float32 if name in numbers else object) for name, cell in feed.items()}
    print(age, nodes, size, grade, session.run(["probabilities"], feed)[0][0, 1])
