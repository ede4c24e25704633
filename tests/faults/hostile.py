"""Descriptions of networks that mean harm, and the arrays that go with them.

Drawn from what was done to Keras' own loader (CVE-2024-3660, -2025-1550, -8747, -9905, -9906,
-12058, -12060, -2026-0897, -1462, -1669: modules and functions by name, get_file, Lambda, safe
mode switched off from inside, files opened by layers, paths, shape bombs), and from trying
everything else.

`HOSTILE` maps a name to a builder of (description, arrays). Every one must be refused with a
`DamagedError`. All but those of `NOT_JSON` are small, and can be written by `json.dumps`.
"""

from __future__ import annotations

import base64
import json
import marshal
import pickle
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from layerwise.architecture import describe

layers = keras.layers

Case = tuple[Any, list[np.ndarray]]
HOSTILE: dict[str, Callable[[], Case]] = {}
NOT_JSON = {
    "a circle of python objects",
    "100000 networks in one another",
    "100000 lists",
    "a million layers",
    "a million nodes",
    "lists of lists of numbers",
    "units 5000 digits",
    "units minus 5000 digits",
    "a seed of 5000 digits",
}
MARKER = "layerwise-was-here"
"""A file of this name would be written by the payloads that run code."""


def _described(model: keras.Model) -> Case:
    arrays = [keras.ops.convert_to_numpy(variable.value) for variable in model.variables]
    return json.loads(json.dumps(describe(model), allow_nan=False)), arrays


def chain() -> Case:
    """A harmless network: an input of 4, `first` with 3 units, `last` with 2."""
    return _described(
        keras.Sequential(
            [
                keras.Input((4,), name="x"),
                layers.Dense(3, activation="relu", name="first"),
                layers.Dense(2, name="last"),
            ],
            name="net",
        )
    )


def graph() -> Case:
    """A harmless functional network: x -> first -> last, and first + last by keras.ops."""
    x = keras.Input((4,), name="x")
    first = layers.Dense(3, name="first")(x)
    last = layers.Dense(3, name="last")(first)
    return _described(keras.Model(x, keras.ops.add(first, last), name="net"))


def first_of(description: Any) -> Any:
    """The record of the layer `first` of `chain`."""
    return description["network"]["config"]["layers"][1]


def thing(module: Any, class_name: Any, config: Any = None, registered_name: Any = None) -> Any:
    """An object in the form that Keras writes."""
    return {
        "module": module,
        "class_name": class_name,
        "config": {} if config is None else config,
        "registered_name": registered_name,
    }


def _add(name: str, change: Callable[[Any], Any], base: Callable[[], Case] = chain) -> None:
    """A case that changes a harmless description in place, or returns another one."""

    def build() -> Case:
        description, arrays = base()
        changed = change(description)
        return (description if changed is None else changed), arrays

    assert name not in HOSTILE
    HOSTILE[name] = build


def _layer(name: str, record: Any) -> None:
    """A case with another record in the place of the layer `first`."""
    _add(name, lambda d: d["network"]["config"]["layers"].__setitem__(1, record))


def _setting(name: str, key: Any, value: Any) -> None:
    """A case with another setting of the layer `first`."""
    _add(name, lambda d: first_of(d)["config"].__setitem__(key, value))


def _bomb(name: str, *records: Any) -> None:
    """A case whose layers ask for much from few bytes."""
    _add(name, lambda d: d["network"]["config"]["layers"].__setitem__(slice(1, 2), records))


def _bulge(name: str, *records: Any) -> None:
    """A case whose variables fit the arrays, and whose tensors are huge on the way."""
    _add(name, lambda d: d["network"]["config"]["layers"].__setitem__(slice(1, 1), records))


def _code() -> str:
    code = compile(f"open({MARKER!r}, 'w')", "payload", "eval")
    return base64.b64encode(marshal.dumps(code)).decode()


class _Payload:
    def __reduce__(self) -> Any:
        return open, (MARKER, "w")


_PICKLE = base64.b64encode(pickle.dumps(_Payload())).decode()
_LAMBDA = {
    "class_name": "__lambda__",
    "config": {"value": {"code": _code(), "defaults": None, "closure": None}},
}
_FUNCTION = thing("builtins", "function", "eval", "eval")

# Code and files by name.
_layer("os.system", thing("os", "system", {"command": f"touch {MARKER}"}))
_layer("builtins.eval", thing("builtins", "eval", {"source": f"open({MARKER!r}, 'w')"}))
_layer(
    "get_file of keras.src.utils",
    thing("keras.src.utils", "get_file", {"fname": MARKER, "origin": "file:///etc/passwd"}),
)
_layer(
    "get_file of keras.utils",
    thing("keras.utils", "get_file", {"fname": MARKER, "origin": "http://127.0.0.1:9/x"}),
)
_layer("load_model", thing("keras.saving", "load_model", {"filepath": "evil.keras"}))
_layer("enable_unsafe_deserialization", thing("keras.config", "enable_unsafe_deserialization", {}))
_layer("a private module of keras", thing("keras.src.layers", "Dense", {"units": 3}))
_layer("no module", {"class_name": "Dense", "config": {"units": 3}})
_layer("Lambda", thing("keras.layers", "Lambda", {"name": "l", "function": _LAMBDA}))
_layer(
    "TorchModuleWrapper",
    thing(
        "keras.layers",
        "TorchModuleWrapper",
        {"module": {"class_name": "__bytes__", "config": {"value": _PICKLE}}, "name": "t"},
    ),
)
_layer("TFSMLayer", thing("keras.layers", "TFSMLayer", {"filepath": "/etc", "name": "t"}))
_layer("JaxLayer", thing("keras.layers", "JaxLayer", {"call_fn": _FUNCTION, "name": "j"}))
_layer("StringLookup", thing("keras.layers", "StringLookup", {"vocabulary": "/etc/passwd"}))
_layer("IntegerLookup", thing("keras.layers", "IntegerLookup", {"vocabulary": "/etc/passwd"}))
_layer(
    "TextVectorization", thing("keras.layers", "TextVectorization", {"vocabulary": "/etc/passwd"})
)
_layer("a function as a layer", _FUNCTION)
_layer("a registered name", thing("keras.layers", "Dense", {"units": 3}, "package>Evil"))
_layer("an initializer as a layer", thing("keras.initializers", "Zeros"))
_layer("a cell as a layer", thing("keras.layers", "LSTMCell", {"units": 3, "name": "c"}))
_layer("the base class", thing("keras.layers", "Layer", {"name": "first"}))
_layer("a metric", thing("keras.metrics", "Mean", {"name": "first"}))

_setting("an activation by dotted name", "activation", "os.system")
_setting("an activation by the name of keras", "activation", "keras.utils.get_file")
_setting("an activation that is unknown", "activation", "get")
_setting("an activation of bytecode", "activation", _LAMBDA)
_setting("an activation by function", "activation", _FUNCTION)
_setting("a Lambda as activation", "activation", thing("keras.layers", "Lambda", {}))
_setting("an initializer by function", "kernel_initializer", _FUNCTION)
_setting("an initializer of bytecode", "kernel_initializer", _LAMBDA)
_setting("an initializer by name", "kernel_initializer", "os.system")
_setting("a layer as initializer", "kernel_initializer", thing("keras.layers", "Lambda", {}))
_setting(
    "an initializer that holds an array",
    "kernel_initializer",
    thing(
        "keras.initializers",
        "Constant",
        {"value": {"class_name": "__numpy__", "config": {"value": [1], "dtype": "O"}}},
    ),
)
_setting(
    "an initializer that holds a tensor",
    "kernel_initializer",
    thing(
        "keras.initializers",
        "Constant",
        {"value": {"class_name": "__tensor__", "config": {"value": [1], "dtype": "float32"}}},
    ),
)
_setting(
    "an initializer that opens",
    "kernel_initializer",
    thing("keras.initializers", "Zeros", {"path": "/etc/passwd"}),
)
_setting("a regularizer by function", "kernel_regularizer", _FUNCTION)
_setting("a constraint of bytecode", "kernel_constraint", _LAMBDA)
_setting("a type of objects", "dtype", "object")
_setting(
    "a map of policies",
    "dtype",
    thing("keras.dtype_policies", "DTypePolicyMap", {"policy_map": {}}),
)
_setting(
    "a type specification",
    "dtype",
    {
        "class_name": "__typespec__",
        "spec_name": "TensorSpec",
        "module": "os",
        "config": [],
        "registered_name": None,
    },
)
_setting("weights in the settings", "weights", [[0.0]])
_setting("an unknown setting", "call", "os.system")
_setting("a dunder setting", "__class__", "os.system")
_setting("a setting without a text as key", 3, 3)
_setting("quantization by object", "quantization_config", _FUNCTION)

for _key, _value in {
    "build_config": {"input_shape": [None, 10**12]},
    "compile_config": {"optimizer": _FUNCTION, "loss": _LAMBDA},
    "shared_object_id": 1,
    "__class__": "Lambda",
    "__reduce__": ["os.system", ["true"]],
    "safe_mode": False,
}.items():
    _add(f"{_key} beside a layer", lambda d, k=_key, v=_value: first_of(d).__setitem__(k, v))
    _add(f"{_key} beside the network", lambda d, k=_key, v=_value: d["network"].__setitem__(k, v))
    _add(f"{_key} at the top", lambda d, k=_key, v=_value: d.__setitem__(k, v))

# A user's own layer, and what its class might hand to Keras.
_OWN = {"class_name": "Mine", "own": True, "name": "first", "trainable": True, "config": {}}
_layer("own and more", {**_OWN, "module": "os"})
_layer("own, perhaps", {**_OWN, "own": 1})
_add("own as the network", lambda d: d.__setitem__("network", dict(_OWN)))
for _name, _value in {
    "a function": _FUNCTION,
    "bytecode": _LAMBDA,
    "a Lambda": thing("keras.layers", "Lambda", {"function": _LAMBDA}),
    "the old form": {"class_name": "Lambda", "config": {"function": ["x"]}},
    "an own layer": _OWN,
    "a registered name": thing("keras.layers", "Dense", {"units": 1}, "package>Evil"),
    "a module": {"module": "os"},
    "a dunder": {"__class__": "x"},
    "not a number": float("nan"),
}.items():
    _layer(f"own with {_name} inside", {**_OWN, "config": {"inner": [_value]}})

# Bombs: gigabytes, or more, from a few bytes. Some are small enough to be really allocated.
for _units in (10**12, 2**31 - 1, 2**28):
    _setting(f"{_units} units", "units", _units)
    _bomb(
        f"{_units} embeddings",
        thing("keras.layers", "Embedding", {"input_dim": _units, "output_dim": 1, "name": "e"}),
    )
    _bomb(
        f"{_units} filters",
        thing("keras.layers", "Reshape", {"target_shape": [4, 1], "name": "r"}),
        thing("keras.layers", "Conv1D", {"filters": _units, "kernel_size": 1, "name": "c"}),
    )
    _bomb(
        f"{_units} recurrent units",
        thing("keras.layers", "Reshape", {"target_shape": [4, 1], "name": "r"}),
        thing(
            "keras.layers",
            "Bidirectional",
            {"name": "b", "layer": thing("keras.layers", "LSTM", {"units": _units, "name": "l"})},
        ),
    )
    _bomb(
        f"{_units} repeats",
        thing("keras.layers", "RepeatVector", {"n": _units, "name": "r"}),
        thing("keras.layers", "BatchNormalization", {"name": "b"}),
        thing("keras.layers", "Flatten", {"name": "f"}),
    )
_IMAGE = thing("keras.layers", "Reshape", {"target_shape": [2, 2, 1], "name": "r"})
_bomb(
    "padding by 10**9",
    _IMAGE,
    thing("keras.layers", "ZeroPadding2D", {"padding": 10**9, "name": "p"}),
)
_bomb(
    "up-sampling by 10**6",
    _IMAGE,
    thing("keras.layers", "UpSampling2D", {"size": [10**6, 10**6], "name": "u"}),
)
_bomb(
    "padding that overflows",
    *[
        _IMAGE,
        *[
            thing("keras.layers", "ZeroPadding2D", {"padding": 10**9, "name": f"p{i}"})
            for i in range(50)
        ],
    ],
)
_ROW = thing("keras.layers", "Reshape", {"target_shape": [4, 1], "name": "row"})
_FLAT = thing("keras.layers", "Flatten", {"name": "flat"})
_bulge(
    "padding that is cut off again",
    _ROW,
    thing("keras.layers", "ZeroPadding1D", {"padding": 10**9, "name": "p"}),
    thing("keras.layers", "Cropping1D", {"cropping": 10**9, "name": "c"}),
    _FLAT,
)
_bulge(
    "repeats that are pooled again",
    thing("keras.layers", "RepeatVector", {"n": 2**30, "name": "r"}),
    thing("keras.layers", "GlobalAveragePooling1D", {"name": "g"}),
)
_bulge(
    "a bulge in an inner network",
    thing(
        "keras",
        "Sequential",
        {
            "name": "inner",
            "trainable": True,
            "layers": [
                thing("keras.layers", "InputLayer", {"batch_shape": [None, 4], "name": "i"}),
                thing("keras.layers", "RepeatVector", {"n": 2**30, "name": "r"}),
                thing("keras.layers", "GlobalMaxPooling1D", {"name": "g"}),
            ],
        },
    ),
)
_bomb(
    "a shape of 10**12", thing("keras.layers", "Reshape", {"target_shape": [10**12], "name": "r"})
)
_bomb(
    "a shape of many axes",
    thing("keras.layers", "Reshape", {"target_shape": [2] * 9_000, "name": "r"}),
)
_bomb(
    "an einsum",
    thing(
        "keras.layers", "EinsumDense", {"equation": "ab,bc->ac", "output_shape": 2**28, "name": "e"}
    ),
)


def _wide_input(description: Any) -> None:
    for spec in (description["inputs"][0],):
        spec["shape"] = [None, 10**9, 10**9]
    first = description["network"]["config"]["layers"][0]["config"]
    first["batch_shape"] = [None, 10**9, 10**9]


_add("an input of 10**18", _wide_input)


def _dead_end(description: Any) -> None:
    """A node that leads nowhere: its variables belong to no network that anyone compares."""
    nodes = description["network"]["config"]["nodes"]
    node = json.loads(json.dumps(nodes[1]))
    node["layer"]["config"] |= {"name": "dead", "units": 2**26}
    nodes.append(node)


_add("a dead end of 2**26 units", _dead_end, graph)


def _nested(times: int) -> Callable[[Any], None]:
    def change(description: Any) -> None:
        record = first_of(description)
        source = description["network"]["config"]["layers"][0]
        for i in range(times):
            record = thing(
                "keras",
                "Sequential",
                {"name": f"n{i}", "trainable": True, "layers": [source, record]},
            )
        description["network"]["config"]["layers"][1] = record

    return change


_add("100 networks in one another", _nested(100))
_add("100000 networks in one another", _nested(100_000))


def _lists(description: Any) -> None:
    value: Any = []
    for _ in range(100_000):
        value = [value]
    first_of(description)["config"]["units"] = value


_add("100000 lists", _lists)
_add(
    "a million layers",
    lambda d: d["network"]["config"]["layers"].extend(
        [thing("keras.layers", "ReLU", {"name": "r"})] * 1_000_000
    ),
)
_add(
    "a million nodes",
    lambda d: d["network"]["config"]["nodes"].extend(
        [d["network"]["config"]["nodes"][1]] * 1_000_000
    ),
    graph,
)
_add(
    "a million settings",
    lambda d: first_of(d)["config"].update({f"k{i}": 0 for i in range(1_000_000)}),
)
_add(
    "lists of lists of numbers",
    lambda d: first_of(d)["config"].update(units=[[[0] * 9_000] * 9_000] * 9_000),
)
_setting("a text of a megabyte", "activation", "a" * 2**20)
_setting("a name of a megabyte", "name", "a" * 2**20)


def _circle(description: Any) -> None:
    description["network"]["config"]["layers"][1] = description["network"]


_add("a circle of python objects", _circle)

# Numbers, and wrong types everywhere.
for _text, _value in {
    "-3": -3,
    "0": 0,
    "5000 digits": 10**5000,
    "minus 5000 digits": -(10**5000),
    "not a number": float("nan"),
    "infinity": float("inf"),
    "True": True,
    "a text": "3",
    "None": None,
    "a list": [3],
    "a dictionary": {},
}.items():
    _setting(f"units {_text}", "units", _value)
_setting("a bias that is no bool", "use_bias", {"class_name": "x"})
_bomb(
    "a rate that is not a number",
    thing("keras.layers", "Dropout", {"rate": float("nan"), "name": "d"}),
)
_bomb("a rate of infinity", thing("keras.layers", "Dropout", {"rate": float("inf"), "name": "d"}))
_bomb("a rate of -1", thing("keras.layers", "Dropout", {"rate": -1, "name": "d"}))
_bomb(
    "a seed of 5000 digits",
    thing("keras.layers", "Dropout", {"rate": 0.5, "seed": 10**5000, "name": "d"}),
)
for _value in (None, 1, 1.5, "keras", [], {}, True, b"x", {"network": None}):
    _add(f"{_value!r} as a description", lambda d, v=_value: () if v is None else v)
    _add(f"{_value!r} as the network", lambda d, v=_value: d.__setitem__("network", v))
    _add(
        f"{_value!r} as a layer",
        lambda d, v=_value: d["network"]["config"]["layers"].__setitem__(1, v),
    )
    _add(f"{_value!r} as settings", lambda d, v=_value: first_of(d).__setitem__("config", v))
    _add(
        f"{_value!r} as layers", lambda d, v=_value: d["network"]["config"].__setitem__("layers", v)
    )
    _add(
        f"{_value!r} as a class name", lambda d, v=_value: first_of(d).__setitem__("class_name", v)
    )
    _add(f"{_value!r} as a module", lambda d, v=_value: first_of(d).__setitem__("module", v))
    _add(
        f"{_value!r} as a node",
        lambda d, v=_value: d["network"]["config"]["nodes"].__setitem__(1, v),
        graph,
    )
    _add(
        f"{_value!r} as calls",
        lambda d, v=_value: d["network"]["config"]["nodes"][1].__setitem__("calls", v),
        graph,
    )
    _add(
        f"{_value!r} as a call",
        lambda d, v=_value: d["network"]["config"]["nodes"][1].__setitem__("calls", [v]),
        graph,
    )
    _add(
        f"{_value!r} as inputs",
        lambda d, v=_value: d["network"]["config"].__setitem__("inputs", v),
        graph,
    )
NOT_JSON |= {name for name in HOSTILE if name.startswith("b'x'")}

# Names.
for _label, _value in {
    "a path as a name": "../../etc/passwd",
    "a nul in a name": "a\0b",
    "half a character in a name": "\ud800",
    "an empty name": "",
    "a number as a name": 3,
    "no name": None,
}.items():
    _setting(_label, "name", _value)
_setting("the name of another layer", "name", "last")
_layer("control characters in what is refused", thing("keras.layers", "\x1b[2Jevil\r\n", {}))
_setting("control characters in a key", "\x1b]0;evil\x07", 1)
_layer(
    "control characters in what keras refuses",
    thing("keras.layers", "Reshape", {"name": "\x1b[2Jevil\r\n\u202e", "target_shape": [5]}),
)

# Graphs.


def _graph(name: str, change: Callable[[list[Any]], Any]) -> None:
    """A case that changes the nodes x, first, last and add of `graph`."""
    _add(name, lambda d: change(d["network"]["config"]["nodes"]), graph)


def _argument(nodes: list[Any], value: Any) -> None:
    nodes[2]["calls"][0]["args"] = [value]


_graph(
    "a circle of nodes",
    lambda n: n[1]["calls"][0].__setitem__("args", [{"tensor": ["last", 0, 0]}]),
)
_graph("a node that feeds itself", lambda n: _argument(n, {"tensor": ["last", 0, 0]}))
_graph("a tensor of nowhere", lambda n: _argument(n, {"tensor": ["nowhere", 0, 0]}))
_graph("a call that never was", lambda n: _argument(n, {"tensor": ["first", 7, 0]}))
_graph("a call before the first", lambda n: _argument(n, {"tensor": ["first", -1, 0]}))
_graph("an output that never was", lambda n: _argument(n, {"tensor": ["first", 0, 7]}))
_graph("a tensor without a place", lambda n: _argument(n, {"tensor": []}))
_graph("a node twice", lambda n: n.append(n[1]))
_graph("no tensor", lambda n: _argument(n, 1.0))
_graph("an argument of bytecode", lambda n: _argument(n, _LAMBDA))
_graph("a dunder argument", lambda n: n[1]["calls"][0]["kwargs"].__setitem__("__class__", 1))
_graph("an unknown argument", lambda n: n[1]["calls"][0]["kwargs"].__setitem__("evil", 1))
_graph("arguments in one another", lambda n: _argument(n, [[[[[[[[[[[[1]]]]]]]]]]]]))
for _op in (
    "eval",
    "__getattribute__",
    "custom_gradient",
    "vectorized_map",
    "ones",
    "split",
    "os.system",
    3,
    None,
    [],
):
    _graph(f"{_op!r} as an operation", lambda n, op=_op: n[3].__setitem__("op", op))
_graph("a setting of an operation", lambda n: n[3]["config"].__setitem__("func", "eval"))
_add("no outputs", lambda d: d["network"]["config"].__setitem__("outputs", []), graph)

# The rest of the form, and arrays that do not fit.
_add("a flag too many", lambda d: d["trainable"].append(True))
_add("flags that are numbers", lambda d: d.__setitem__("trainable", [1, 1, 1, 1]))
_add("a later format", lambda d: d.__setitem__("format", 2))
_add("a format of True", lambda d: d.__setitem__("format", True))
_add("no format", lambda d: d.pop("format") and None)
_add("fewer variables", lambda d: d.__setitem__("variables", 3))
_add("-1 variables", lambda d: d.__setitem__("variables", -1))
_add("another input", lambda d: d["inputs"][0].__setitem__("shape", [None, 5]))
_add("no input", lambda d: d["network"]["config"]["layers"].pop(0) and None)
_add(
    "two inputs",
    lambda d: d["network"]["config"]["layers"].insert(1, d["network"]["config"]["layers"][0]),
)
_add(
    "an input by tensor",
    lambda d: d["network"]["config"]["layers"][0]["config"].update(
        input_tensor={"class_name": "__keras_tensor__", "config": {}}
    ),
)
_add("a sparse input", lambda d: d["network"]["config"]["layers"][0]["config"].update(sparse=True))
_add(
    "an input of texts",
    lambda d: d["network"]["config"]["layers"][0]["config"].update(dtype="string"),
)
_bomb(
    "a layer with states",
    thing("keras.layers", "Reshape", {"target_shape": [4, 1], "name": "r"}),
    thing("keras.layers", "LSTM", {"units": 3, "stateful": True, "name": "l"}),
)


def _arrays(name: str, change: Callable[[list[np.ndarray]], Any]) -> None:
    def build() -> Case:
        description, arrays = chain()
        change(arrays)
        return description, arrays

    HOSTILE[name] = build


_arrays("no arrays", lambda a: a.clear())
_arrays("an array too many", lambda a: a.append(a[0]))
_arrays("arrays in another order", lambda a: a.reverse())
_arrays("an array of objects", lambda a: a.__setitem__(0, a[0].astype(object)))
_arrays("an array of texts", lambda a: a.__setitem__(0, a[0].astype(str)))
_arrays("an array of doubles cut short", lambda a: a.__setitem__(0, a[0].astype("float16")))
