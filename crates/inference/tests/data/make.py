"""Makes the models of this folder, as their makers export them, and what onnxruntime says of some rows.

Run once, from this folder, with scikit-learn 1.9.1, skl2onnx 1.20.0, xgboost-cpu 3.2.0, lightgbm 4.7.0, onnxmltools 1.16.0, onnx 1.23.2
and onnxruntime 1.32.0; the tests read what it wrote. All learn death after breast cancer from `examples/breast-cancer/rotterdam.csv`.
"""

import json
import warnings

import numpy as np
import onnx
import onnx.helper
import onnxruntime
import pandas
from lightgbm import LGBMClassifier
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as Floats
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from xgboost import XGBClassifier

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(4)

# skl2onnx 1.20 hands lists of numpy's numbers to onnx 1.23, which takes Python's only.
make_attribute = onnx.helper.make_attribute
plain = lambda value: [one.item() if isinstance(one, np.generic) else int(one) if isinstance(one, bool) else one for one in value]
onnx.helper.make_attribute = lambda key, value, *rest, **more: make_attribute(
    key, plain(value) if isinstance(value, (list, tuple)) else value, *rest, **more
)

table = pandas.read_csv("../../../../examples/breast-cancer/rotterdam.csv")
died = table.death.values
columns = ["age", "nodes", "pgr", "er", "grade"]
x = table[columns].values.astype(np.float32)
lacking = x.copy()
lacking[np.random.default_rng(0).random(x.shape) < 0.05] = np.nan
mixed = table[["age", "nodes", "pgr", "size", "grade"]].astype({"age": "f4", "nodes": "f4", "pgr": "f4", "grade": str})
some = slice(0, None, 75)


def write(name, model, feeds):
    model.doc_string = ""
    onnx.save(model, f"{name}.onnx")
    said = onnxruntime.InferenceSession(model.SerializeToString()).run(None, feeds)[-1]
    if isinstance(said, list):
        said = np.array([[one[0], one[1]] for one in said])
    inputs = []
    for key, value in feeds.items():
        cells = value.ravel().tolist()
        one = {"name": key, "width": value.shape[1]}
        if value.dtype == object:
            one["texts"] = cells
        else:
            one["numbers"] = [None if np.isnan(cell) else cell for cell in cells]
        inputs.append(one)
    output = model.graph.output[-1].name
    with open(f"{name}.json", "w") as told:
        json.dump({"inputs": inputs, "outputs": {output: np.asarray(said, float).tolist()}}, told)
        told.write("\n")


def sklearn(name, estimator, feed=x, kind=FloatTensorType, zipmap=False, few=slice(None)):
    estimator.fit(feed[few], died[few])
    options = {id(estimator): {"zipmap": zipmap}}
    write(name, convert_sklearn(estimator, initial_types=[("X", kind([None, feed.shape[1]]))], options=options), {"X": feed[some]})


def of_columns(name, estimator):
    estimator.fit(mixed, died)
    kinds = [(key, (StringTensorType if key in ("size", "grade") else FloatTensorType)([None, 1])) for key in mixed]
    model = convert_sklearn(estimator, initial_types=kinds, options={id(estimator): {"zipmap": False}})
    write(name, model, {key: mixed[[key]].values[some].astype(object if key in ("size", "grade") else "f4") for key in mixed})


sklearn("logistic", make_pipeline(StandardScaler(), LogisticRegression()), zipmap=True)
sklearn("logistic-double", make_pipeline(StandardScaler(), LogisticRegression()), x.astype(float), DoubleTensorType)
sklearn("forest", RandomForestClassifier(n_estimators=10, max_depth=4, random_state=1))
sklearn("gradient-boosting", GradientBoostingClassifier(n_estimators=20, random_state=1))
sklearn("histogram-boosting", HistGradientBoostingClassifier(max_iter=20, max_depth=3), lacking)
sklearn("perceptron", make_pipeline(StandardScaler(), MLPClassifier((16, 8), max_iter=200, random_state=1)))
sklearn("naive-bayes", GaussianNB())
sklearn("polynomial", make_pipeline(SimpleImputer(), PolynomialFeatures(2), StandardScaler(), LogisticRegression(max_iter=1000)), lacking)
sklearn("support-vectors", make_pipeline(StandardScaler(), SVC(probability=True, random_state=1)), few=slice(None, None, 20))
sklearn("calibrated", CalibratedClassifierCV(RandomForestClassifier(n_estimators=5, max_depth=3, random_state=1), cv=2))
sklearn("neighbours", make_pipeline(StandardScaler(), KNeighborsClassifier(25)), few=slice(None, None, 30))
scaled, coded = ["age", "nodes", "pgr"], ["size", "grade"]
of_columns("texts", make_pipeline(ColumnTransformer([("n", StandardScaler(), scaled), ("t", OneHotEncoder(), coded)]), LogisticRegression()))
ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
trees = RandomForestClassifier(n_estimators=5, max_depth=3, random_state=0)
of_columns("ordinal", make_pipeline(ColumnTransformer([("n", SimpleImputer(strategy="median"), scaled), ("t", ordinal, coded)]), trees))
floats = [("X", Floats([None, 5]))]
boosted = XGBClassifier(n_estimators=20, max_depth=3, base_score=0.4).fit(lacking, died)
write("xgboost", convert_xgboost(boosted, initial_types=floats), {"X": lacking[some]})
light = LGBMClassifier(n_estimators=20, max_depth=3, verbose=-1).fit(lacking, died)
write("lightgbm", convert_lightgbm(light, initial_types=floats, zipmap=False), {"X": lacking[some]})
