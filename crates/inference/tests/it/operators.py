"""Small models for every operator that is run, with what onnxruntime says of random rows.

Takes a folder, and writes NAME.onnx and NAME.json into it: `inputs` (name, width, numbers or texts, row by row; null is NaN) and
`outputs` (rows by name).
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

warnings.filterwarnings("ignore")
onnxruntime.set_default_logger_severity(4)

folder = pathlib.Path(sys.argv[1])
random = np.random.default_rng(7)
ROWS = 37
OPSETS = (9, 11, 13, 15, 17, 18, 20, 21, 22, 23, 24, 25, 26, 27, 28)
FLOAT, DOUBLE, INT64, STRING, BOOL = (
    TensorProto.FLOAT,
    TensorProto.DOUBLE,
    TensorProto.INT64,
    TensorProto.STRING,
    TensorProto.BOOL,
)
KINDS = {FLOAT: np.float32, DOUBLE: np.float64, INT64: np.int64, STRING: object, BOOL: bool}
NAMES = {FLOAT: "float", DOUBLE: "double", INT64: "int64", STRING: "string", BOOL: "bool"}
tried, left_out = set(), {}


def node(operator, inputs, outputs, domain="", **attributes):
    inputs = inputs.split() if isinstance(inputs, str) else inputs
    outputs = outputs.split() if isinstance(outputs, str) else outputs
    return helper.make_node(operator, ["" if one == "-" else one for one in inputs], outputs, domain=domain, **attributes)


def case(name, nodes, feeds, constants=None, opset=17, ml=3, outputs=("y",), rank=2):
    """Writes one model and what onnxruntime says; leaves out what it does not run."""
    initializers = [numpy_helper.from_array(np.asarray(value), key) for key, value in (constants or {}).items()]
    reverse = {np.dtype(kind): code for code, kind in KINDS.items()}
    inputs = [
        helper.make_tensor_value_info(key, reverse[value.dtype], ["rows", *value.shape[1:]]) for key, value in feeds.items()
    ]
    # The type of an output is what shape inference says.
    made = [onnx.ValueInfoProto(name=output) for output in outputs]
    graph = helper.make_graph(nodes, name, inputs, made, initializers)
    imports = [helper.make_opsetid("", opset)]
    if any(one.domain for one in nodes):
        imports.append(helper.make_opsetid("ai.onnx.ml", ml))
    model = helper.make_model(graph, opset_imports=imports, ir_version=min(10, 8 if opset <= 18 else 10))
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString())
        said = session.run(list(outputs), feeds)
    except Exception as error:  # noqa: BLE001
        left_out.setdefault(name, str(error).splitlines()[0][:160])
        return
    del model.graph.output[:]
    kept = {}
    for output, value in zip(outputs, said):
        if value.dtype == object:
            continue
        value = value.astype(np.float64)
        assert value.ndim <= 2 and value.shape[0] == ROWS, (name, output, value.shape)
        kind = session.get_outputs()[list(outputs).index(output)].type
        code = {"float": FLOAT, "double": DOUBLE, "int64": INT64, "int32": TensorProto.INT32, "bool": BOOL}[kind[7:-1]]
        shape = ["rows", value.shape[1]] if value.ndim == 2 else ["rows"]
        model.graph.output.append(helper.make_tensor_value_info(output, code, shape))
        kept[output] = value.reshape(ROWS, -1)
    told = []
    for key, value in feeds.items():
        flat = value.reshape(ROWS, -1)
        one = {"name": key, "width": flat.shape[1]}
        if value.dtype == object:
            one["texts"] = [str(cell) for cell in flat.ravel()]
        else:
            one["numbers"] = [None if np.isnan(cell) else float(cell) for cell in flat.ravel().astype(float)]
        told.append(one)
    assert all(np.isfinite(value).all() for value in kept.values()), name
    for one in nodes:
        tried.add(("ai.onnx.ml " if one.domain else "") + one.op_type)
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())
    answer = {"inputs": told, "outputs": {key: value.tolist() for key, value in kept.items()}}
    (folder / f"{name}.json").write_text(json.dumps(answer))


def table(kind, columns=4, low=-2.0, high=2.0):
    return random.uniform(low, high, (ROWS, columns)).astype(KINDS[kind])


def row(kind, columns=4, low=-2.0, high=2.0):
    return random.uniform(low, high, (1, columns)).astype(KINDS[kind])


def general():
    for opset in OPSETS:
        for kind in (FLOAT, DOUBLE):
            end = f"-{opset}-{NAMES[kind]}"
            x, positive = table(kind), table(kind, low=0.1, high=3.0)
            one = dict(opset=opset)

            def plain(operator, feed=x, **attributes):
                case(operator + end, [node(operator, "x", "y", **attributes)], {"x": feed}, **one)

            for operator in "Abs Ceil Elu Erf Exp Floor HardSigmoid Identity LeakyRelu Neg Reciprocal Relu Round Selu Sigmoid Sign Softplus Tanh".split():
                plain(operator)
            for operator in ("Log", "Sqrt"):
                plain(operator, positive)
            plain("Flatten")
            if opset >= 20:
                plain("Gelu")
                plain("Gelu", approximate="tanh")
            for operator in ("Softmax", "LogSoftmax"):
                plain(operator, axis=1)
            for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min", "Mean", "Sum", "PRelu", "Pow", "Mod"):
                attributes = {"fmod": 1} if operator == "Mod" else {}
                second = row(kind, low=0.5, high=1.9)
                case(f"{operator}-constant{end}", [node(operator, "x b", "y", **attributes)], {"x": positive}, {"b": second}, **one)
                other = table(kind, low=0.5, high=1.9)
                case(f"{operator}-tables{end}", [node(operator, "x b", "y", **attributes)], {"x": positive, "b": other}, **one)
            case(f"Pow-square{end}", [node("Pow", "x b", "y")], {"x": x}, {"b": np.array(2.0, KINDS[kind])}, **one)
            case(f"Pow-int{end}", [node("Pow", "x b", "y")], {"x": x}, {"b": np.array([3], np.int64)}, **one)
            case(f"Max-three{end}", [node("Max", "x b c", "y")], {"x": x}, {"b": row(kind), "c": row(kind)}, **one)
            for operator in ("Greater", "Less", "Equal", "GreaterOrEqual", "LessOrEqual"):
                nodes = [node(operator, "x b", "z"), node("Cast", "z", "y", to=kind)]
                case(operator + end, nodes, {"x": np.round(x)}, {"b": np.round(row(kind))}, **one)
            for operator in ("And", "Or"):
                nodes = [node("Greater", "x b", "p"), node("Less", "x c", "q"), node(operator, "p q", "z"), node("Not", "z", "n"), node("Cast", "n", "y", to=kind)]
                case(operator + end, nodes, {"x": x}, {"b": row(kind), "c": row(kind)}, **one)
            case(f"Where{end}", [node("Greater", "x b", "p"), node("Where", "p x b", "y")], {"x": x}, {"b": row(kind)}, **one)
            lacking = x.copy()
            lacking[::5, 1] = np.nan
            case(f"IsNaN{end}", [node("IsNaN", "x", "p"), node("Where", "p b x", "y")], {"x": lacking}, {"b": row(kind)}, **one)
            for operator in "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare".split():
                by_input = opset >= 18 or (operator == "ReduceSum" and opset >= 13)
                for keep in (0, 1):
                    attributes = {"keepdims": keep} | ({} if by_input else {"axes": [1]})
                    inputs, constants = ("x a", {"a": np.array([1], np.int64)}) if by_input else ("x", {})
                    case(f"{operator}-{keep}{end}", [node(operator, inputs, "y", **attributes)], {"x": positive}, constants, **one)
            # Logarithms of probabilities, as naive Bayes has them, are far below what an exponential can hold.
            over = ("x a", {"a": np.array([1], np.int64)}, {}) if opset >= 18 else ("x", {}, {"axes": [1]})
            far = [node("ReduceLogSumExp", over[0], "y", keepdims=1, **over[2])]
            # In the newest set onnxruntime itself takes the logarithm of a sum of zeros.
            if opset < 28:
                case(f"ReduceLogSumExp-far{end}", far, {"x": positive * -1000 - 500}, over[1], **one)
            for operator in ("ArgMax", "ArgMin"):
                for keep in (0, 1):
                    plain_nodes = [node(operator, "x", "i", axis=1, keepdims=keep), node("Cast", "i", "y", to=kind)]
                    case(f"{operator}-{keep}{end}", plain_nodes, {"x": x}, **one)
            matrix = row(kind, 12).reshape(4, 3)
            case(f"MatMul{end}", [node("MatMul", "x m", "y")], {"x": x}, {"m": matrix}, **one)
            case(f"Gemm{end}", [node("Gemm", "x m b", "y")], {"x": x}, {"m": matrix, "b": row(kind, 3)[0]}, **one)
            case(f"Gemm-transposed{end}", [node("Gemm", "x m b", "y", transB=1, alpha=0.5, beta=2.0)], {"x": x}, {"m": matrix.T.copy(), "b": row(kind, 3)}, **one)
            case(f"Einsum{end}", [node("Einsum", "x m", "y", equation="ij,jk->ik")], {"x": x}, {"m": matrix}, **one)
            case(f"Concat{end}", [node("Concat", "x b x", "y", axis=1)], {"x": x, "b": table(kind, 2)}, **one)
            case(f"Transpose{end}", [node("Transpose", "m", "t", perm=[1, 0]), node("MatMul", "x t", "y")], {"x": x}, {"m": matrix.T.copy()}, **one)
            if opset < 13:
                case(f"Split{end}", [node("Split", "x", "a b", axis=1, split=[1, 3]), node("Mul", "a b", "y")], {"x": x}, **one)
                case(f"Squeeze{end}", [node("Unsqueeze", "x", "u", axes=[1]), node("Squeeze", "u", "y", axes=[1])], {"x": x}, **one)
            else:
                case(f"Split{end}", [node("Split", "x s", "a b", axis=1), node("Mul", "a b", "y")], {"x": x}, {"s": np.array([1, 3], np.int64)}, **one)
                case(f"Squeeze{end}", [node("Unsqueeze", "x a", "u"), node("Squeeze", "u a", "y")], {"x": x}, {"a": np.array([1], np.int64)}, **one)
            if opset >= 18:
                case(f"Split-even{end}", [node("Split", "x", "a b", axis=1, num_outputs=2), node("Mul", "a b", "y")], {"x": x}, **one)
            if opset < 10:
                case(f"Slice{end}", [node("Slice", "x", "y", axes=[1], starts=[1], ends=[3])], {"x": x}, **one)
            else:
                at = {"s": np.array([-1], np.int64), "e": np.array([-9], np.int64), "a": np.array([1], np.int64), "t": np.array([-2], np.int64)}
                case(f"Slice{end}", [node("Slice", "x s e a t", "y")], {"x": x}, at, **one)
            case(f"Gather{end}", [node("Gather", "x i", "y", axis=1)], {"x": x}, {"i": np.array([3, 0, -2], np.int64)}, **one)
            picks = random.integers(0, 4, (ROWS, 2))
            case(f"GatherElements{end}", [node("GatherElements", "x i", "y", axis=1)], {"x": x, "i": picks}, **one)
            case(f"Reshape{end}", [node("Reshape", "x s", "z"), node("Reshape", "z t", "y")], {"x": x}, {"s": np.array([0, 2, 2], np.int64), "t": np.array([-1, 4], np.int64)}, **one)
            case(f"Expand{end}", [node("Shape", "x", "s"), node("Expand", "b s", "e"), node("Mul", "x e", "y")], {"x": x}, {"b": row(kind, 1)}, **one)
            case(f"Tile{end}", [node("Tile", "x r", "y")], {"x": x}, {"r": np.array([1, 3], np.int64)}, **one)
            value = numpy_helper.from_array(np.array([1.5], KINDS[kind]))
            shape = [node("Shape", "x", "s"), node("ConstantOfShape", "s", "c", value=value), node("Add", "x c", "y")]
            case(f"ConstantOfShape{end}", shape, {"x": x}, **one)
            some = numpy_helper.from_array(row(kind))
            case(f"Constant{end}", [node("Constant", [], "c", value=some), node("Add", "x c", "y")], {"x": x}, **one)
            if opset >= 11:
                bounds = {"a": np.array(0, np.int64), "b": np.array(4, np.int64), "d": np.array(1, np.int64)}
                case(f"Range{end}", [node("Range", "a b d", "r"), node("Cast", "r", "c", to=kind), node("Add", "x c", "y")], {"x": x}, bounds, **one)
                case(f"Clip{end}", [node("Clip", "x a b", "y")], {"x": x}, {"a": np.array(-1, KINDS[kind]), "b": np.array(0.5, KINDS[kind])}, **one)
                case(f"Clip-below{end}", [node("Clip", "x - b", "y")], {"x": x}, {"b": np.array(0.5, KINDS[kind])}, **one)
                case(f"CumSum{end}", [node("CumSum", "x a", "y")], {"x": x}, {"a": np.array(1, np.int64)}, **one)
            else:
                case(f"Clip{end}", [node("Clip", "x", "y", min=-1.0, max=0.5)], {"x": x}, **one)
            codes = random.integers(0, 3, (ROWS,))
            case(f"OneHot{end}", [node("OneHot", "i d v", "h", axis=1), node("Cast", "h", "y", to=kind)], {"i": codes}, {"d": np.array(3, np.int64), "v": np.array([0, 1], np.float32)}, **one)
            scale = {"s": row(kind)[0], "b": row(kind)[0], "m": row(kind)[0], "v": row(kind, low=0.5)[0] ** 2}
            case(f"BatchNormalization{end}", [node("BatchNormalization", "x s b m v", "y", epsilon=1e-3)], {"x": x}, scale, **one)
            if opset >= 17:
                case(f"LayerNormalization{end}", [node("LayerNormalization", "x s b", "y", axis=-1)], {"x": x}, {"s": row(kind)[0], "b": row(kind)[0]}, **one)
            if opset >= 12:
                case(f"Dropout{end}", [node("Dropout", "x", "y")], {"x": x}, **one)
            whole = [node("Cast", "x", "i", to=INT64), node("Cast", "i", "y", to=kind)]
            case(f"Cast{end}", whole, {"x": x * 10}, **one)
            image = table(kind, 36)
            filters, biases = random.normal(size=(2, 1, 3, 3)).astype(np.float32), random.normal(size=2).astype(np.float32)
            layers = [
                node("Reshape", "x s", "g"),
                node("Cast", "g", "f", to=FLOAT),
                node("Conv", "f w b", "c", pads=[1, 1, 1, 1]),
                node("Relu", "c", "r"),
                node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
                node("Flatten", "p", "y"),
            ]
            case(f"Conv{end}", layers, {"x": image}, {"s": np.array([-1, 1, 6, 6], np.int64), "w": filters, "b": biases}, **one)


def trees(count=3, depth=3, columns=4, modes=("BRANCH_LEQ",), missing=False):
    """Random trees as lists of nodes; leaves are those at the end, and some before."""
    lists = {key: [] for key in ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing")}
    leaves = []
    for tree in range(count):
        todo, made = [(0, 0)], 1
        while todo:
            at, level = todo.pop(0)
            leaf = level == depth or (level > 0 and random.random() < 0.2)
            lists["treeids"].append(tree)
            lists["nodeids"].append(at)
            lists["featureids"].append(0 if leaf else int(random.integers(columns)))
            lists["modes"].append("LEAF" if leaf else str(random.choice(modes)))
            lists["values"].append(0.0 if leaf else float(np.round(random.uniform(-2, 2))))
            lists["missing"].append(int(missing and random.random() < 0.5))
            lists["truenodeids"].append(0 if leaf else made)
            lists["falsenodeids"].append(0 if leaf else made + 1)
            if leaf:
                leaves.append((tree, at))
            else:
                todo += [(made, level + 1), (made + 1, level + 1)]
                made += 2
    attributes = {f"nodes_{key}": value for key, value in lists.items() if key != "missing"}
    if missing:
        attributes["nodes_missing_value_tracks_true"] = lists["missing"]
    return attributes, leaves


def weighted(prefix, leaves, targets):
    """Weights of leaves: (target of a leaf, its weight) as often as there are targets for it."""
    lists = {"treeids": [], "nodeids": [], "ids": [], "weights": []}
    for tree, at in leaves:
        for target, weight in targets():
            lists["treeids"].append(tree)
            lists["nodeids"].append(at)
            lists["ids"].append(target)
            lists["weights"].append(weight)
    return {f"{prefix}_{key}": value for key, value in lists.items()}


ML = "ai.onnx.ml"
ALL_MODES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ")


def tabular():
    rounded = {kind: np.round(table(kind)) for kind in (FLOAT, DOUBLE)}
    for kind, x in rounded.items():
        end = f"-{NAMES[kind]}"
        lacking = x.copy()
        lacking[::4, 0] = np.nan
        for transform in ("NONE", "LOGISTIC", "SOFTMAX", "SOFTMAX_ZERO"):
            for targets in (1, 2, 3):
                for base in (0, 1):
                    attributes, leaves = trees(modes=ALL_MODES, missing=True)
                    attributes |= weighted("target", leaves, lambda: [(one, random.normal()) for one in range(targets)])
                    attributes |= {"n_targets": targets, "post_transform": transform}
                    if base:
                        attributes["base_values"] = random.normal(size=targets).tolist()
                    case(f"TreeEnsembleRegressor-{transform}-{targets}-{base}{end}", [node("TreeEnsembleRegressor", "x", "y", ML, **attributes)], {"x": lacking})
            for positive in (False, True):
                draw = random.random if positive else random.normal
                # Of other layouts for two classes, onnxruntime itself says different things from row to row.
                layouts = {
                    "both": (lambda: [(0, draw()), (1, draw())], (0,)),
                    "first": (lambda: [(0, draw())], (0, 1)),
                    "second": (lambda: [(1, draw())], (0,)),
                    "three": (lambda: [(one, draw()) for one in range(3)], (0, 3)),
                }
                for layout, (targets, bases) in layouts.items():
                    classes = 3 if layout == "three" else 2
                    for base in bases:
                        attributes, leaves = trees()
                        attributes |= weighted("class", leaves, targets)
                        attributes |= {"classlabels_int64s": list(range(classes)), "post_transform": transform}
                        if base:
                            attributes["base_values"] = random.normal(size=base).tolist()
                        name = f"TreeEnsembleClassifier-{transform}-{'positive' if positive else 'mixed'}-{layout}-{base}{end}"
                        case(name, [node("TreeEnsembleClassifier", "x", "label y", ML, **attributes)], {"x": x}, outputs=("y", "label"))
            for lines, classes in ((1, 2), (2, 2), (3, 3)):
                attributes = {"coefficients": random.normal(size=lines * 4).tolist(), "intercepts": random.normal(size=lines).tolist()}
                attributes |= {"classlabels_ints": list(range(classes)), "post_transform": transform}
                case(f"LinearClassifier-{transform}-{lines}{end}", [node("LinearClassifier", "x", "label y", ML, **attributes)], {"x": x}, outputs=("y", "label"))
            for targets in (1, 2):
                attributes = {"coefficients": random.normal(size=targets * 4).tolist(), "intercepts": random.normal(size=targets).tolist(), "targets": targets}
                case(f"LinearRegressor-{transform}-{targets}{end}", [node("LinearRegressor", "x", "y", ML, post_transform=transform, **attributes)], {"x": x})
        for aggregate in ("SUM", "AVERAGE", "MIN", "MAX"):
            for targets in (1, 2):
                attributes, leaves = trees()
                attributes |= weighted("target", leaves, lambda: [(one, random.normal()) for one in range(targets)])
                attributes |= {"n_targets": targets, "aggregate_function": aggregate, "base_values": random.normal(size=targets).tolist()}
                case(f"TreeEnsembleRegressor-{aggregate}-{targets}{end}", [node("TreeEnsembleRegressor", "x", "y", ML, **attributes)], {"x": x})
        as_tensor = {FLOAT: FLOAT, DOUBLE: DOUBLE}[kind]
        attributes, leaves = trees()
        attributes |= weighted("target", leaves, lambda: [(0, random.normal())])
        for key in ("nodes_values", "target_weights"):
            attributes[f"{key}_as_tensor"] = helper.make_tensor(key, as_tensor, [len(attributes[key])], attributes[key])
            del attributes[key]
        case(f"TreeEnsembleRegressor-tensors{end}", [node("TreeEnsembleRegressor", "x", "y", ML, n_targets=1, **attributes)], {"x": x})
        # Two trees of version 5: two splits and a leaf; one leaf alone cannot be told there.
        five = dict(
            n_targets=2,
            aggregate_function=1,
            post_transform=0,
            tree_roots=[0, 2],
            nodes_modes=helper.make_tensor("m", TensorProto.UINT8, [3], bytes([0, 1, 4]), raw=True),
            nodes_featureids=[0, 1, 2],
            nodes_splits=helper.make_tensor("s", kind, [3], [0.0, 1.0, -1.0]),
            nodes_truenodeids=[1, 0, 3],
            nodes_trueleafs=[0, 1, 1],
            nodes_falsenodeids=[2, 1, 4],
            nodes_falseleafs=[1, 1, 1],
            leaf_targetids=[0, 1, 0, 1, 0],
            leaf_weights=helper.make_tensor("w", kind, [5], [0.5, -1.5, 2.0, 3.0, -0.25]),
        )
        case(f"TreeEnsemble{end}", [node("TreeEnsemble", "x", "y", ML, **five)], {"x": x}, ml=5, opset=21)
        case(f"Scaler{end}", [node("Scaler", "x", "y", ML, offset=[1.0, 2.0, -1.0, 0.5], scale=[0.5, 2.0, 1.0, 3.0])], {"x": x})
        case(f"Scaler-one{end}", [node("Scaler", "x", "y", ML, offset=[1.0], scale=[0.5])], {"x": x})
        case(f"Imputer{end}", [node("Imputer", "x", "y", ML, imputed_value_floats=[1.0, 2.0, -1.0, 0.5], replaced_value_float=float("nan"))], {"x": lacking})
        case(f"Imputer-one{end}", [node("Imputer", "x", "y", ML, imputed_value_floats=[7.0], replaced_value_float=1.0)], {"x": x})
        case(f"Binarizer{end}", [node("Binarizer", "x", "y", ML, threshold=0.5)], {"x": x})
        case(f"FeatureVectorizer{end}", [node("FeatureVectorizer", "x b", "y", ML, inputdimensions=[4, 2])], {"x": x, "b": table(kind, 2)})
        for norm in ("MAX", "L1", "L2"):
            case(f"Normalizer-{norm}{end}", [node("Normalizer", "x", "y", ML, norm=norm)], {"x": table(kind, low=0.1)})
        case(f"ArrayFeatureExtractor{end}", [node("ArrayFeatureExtractor", "x i", "y", ML)], {"x": x}, {"i": np.array([2, 0], np.int64)})
        chosen = [node("ArgMax", "x", "i", axis=1, keepdims=0), node("ArrayFeatureExtractor", "c i", "z", ML), node("Reshape", "z s", "y")]
        case(f"ArrayFeatureExtractor-labels{end}", chosen, {"x": x}, {"c": np.array([5, 6, 7, 8], np.int64), "s": np.array([-1], np.int64)})
        case(f"OneHotEncoder{end}", [node("OneHotEncoder", "x", "h", ML, cats_int64s=[-1, 0, 1]), node("Flatten", "h", "y")], {"x": x})
        for probabilities in (False, True):
            for likeness, parameters in (("LINEAR", [0.0, 0.0, 3.0]), ("POLY", [0.5, 1.0, 2.0]), ("RBF", [0.3, 0.0, 3.0]), ("SIGMOID", [0.2, 0.1, 3.0])):
                attributes = dict(
                    kernel_type=likeness,
                    kernel_params=parameters,
                    vectors_per_class=[3, 4],
                    support_vectors=random.normal(size=28).tolist(),
                    coefficients=(random.normal(size=7) * 0.3).tolist(),
                    rho=[0.1],
                    classlabels_ints=[0, 1],
                )
                if probabilities:
                    attributes |= {"prob_a": [-1.3], "prob_b": [0.2]}
                name = f"SVMClassifier-{likeness}-{probabilities}{end}"
                case(name, [node("SVMClassifier", "x", "label y", ML, **attributes)], {"x": x}, outputs=("y", "label"))
    words = random.choice(["a", "b", "c", "d"], (ROWS, 1)).astype(object)
    case("LabelEncoder-float", [node("LabelEncoder", "x", "y", ML, keys_strings=["a", "b"], values_floats=[0.5, -3.0], default_float=9.0)], {"x": words}, ml=2)
    case("LabelEncoder-default", [node("LabelEncoder", "x", "y", ML, keys_strings=["a", "b"], values_int64s=[3, 5])], {"x": words}, ml=2)
    case("LabelEncoder-texts", [node("LabelEncoder", "x", "z", ML, keys_strings=["a", "b"], values_strings=["b", "a"], default_string="c"), node("LabelEncoder", "z", "y", ML, keys_strings=["a", "b", "c"], values_int64s=[1, 2, 3])], {"x": words}, ml=2)
    tensors = dict(
        keys_tensor=helper.make_tensor("k", STRING, [2], [b"a", b"b"]),
        values_tensor=helper.make_tensor("v", DOUBLE, [2], [0.1, 0.2]),
        default_tensor=helper.make_tensor("d", DOUBLE, [1], [-0.3]),
    )
    case("LabelEncoder-tensors", [node("LabelEncoder", "x", "y", ML, **tensors)], {"x": words}, ml=4, opset=21)
    case("LabelEncoder-numbers", [node("LabelEncoder", "x", "y", ML, keys_int64s=[1, 2], values_floats=[0.5, -3.0], default_float=9.0)], {"x": random.integers(0, 4, (ROWS, 2))}, ml=2)
    case("OneHotEncoder-texts", [node("OneHotEncoder", "x", "h", ML, cats_strings=["a", "b", "c"]), node("Flatten", "h", "y")], {"x": words})
    both = [node("Concat", "x z", "c", axis=1), node("OneHotEncoder", "c", "h", ML, cats_strings=["a", "b", "c"]), node("Flatten", "h", "y")]
    case("OneHotEncoder-two", both, {"x": words, "z": words[::-1].copy()})
    spread = [node("Split", "x", "a b", axis=1), node("Reshape", "b s", "r"), node("LabelEncoder", "r", "n", ML, keys_strings=["a", "b"], values_floats=[1.0, 2.0]), node("Reshape", "n s", "y")]
    case("texts-moved", spread, {"x": np.concatenate([words, words[::-1]], axis=1)}, {"s": np.array([-1, 1], np.int64)}, opset=11, ml=2)
    case("texts-equal", [node("Equal", "x b", "e"), node("Cast", "e", "y", to=FLOAT)], {"x": words}, {"b": np.array([["a"]], object)}, opset=19)
    numbers = random.choice(["1", "2.5", "-3"], (ROWS, 1)).astype(object)
    case("texts-cast", [node("Cast", "x", "y", to=DOUBLE)], {"x": numbers})


general()
tabular()
for name, why in sorted(left_out.items()):
    print(f"not run by onnxruntime: {name}: {why}", file=sys.stderr)
print("\n".join(sorted(tried)))
