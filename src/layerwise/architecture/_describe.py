"""A network as plain data."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import keras

from layerwise.architecture import _schema
from layerwise.architecture._check import check_description, check_layer, check_object
from layerwise.architecture._values import Walk
from layerwise.errors import DamagedError, InputError, InputTypeError, complaint

# The attribute that holds the layer which a wrapper's configuration shows under a key.
_INSIDE = {
    "Bidirectional": {"layer": "forward_layer", "backward_layer": "backward_layer"},
    "RNN": {"cell": "cell"},
    "SpectralNormalization": {"layer": "layer"},
    "TimeDistributed": {"layer": "layer"},
}


def describe(model: keras.Model) -> dict[str, Any]:
    """A network as data that `json.dumps(..., allow_nan=False)` takes, for `rebuild`.

    A layer of the user's own class, and a layer of Keras that the closed list cannot express (a
    Lambda, say, or a Dense whose activation is a function of the user's), becomes
    `{"class_name", "own": true, "name", "trainable", "config"}`. Its configuration is what its
    `get_config` gives, where that is plain data; else it is None, and `rebuild` needs a callable
    that makes the layer from its name alone. So a layer never makes this fail.

    Args:
        model: built; a Sequential, or a functional model of layers and functions of `keras.ops`.

    Raises:
        InputTypeError: it is no Sequential and no functional model.
        InputError: it is not built, uses one layer in two places that cannot be told apart, or is
            a functional model that calls something which is not on the list.
    """
    if not isinstance(model, keras.Model) or _container(model) is None:
        raise InputTypeError(complaint("model", "be a keras.Sequential or functional model", model))
    if not model.built or getattr(model, "inputs", None) is None:
        raise InputError(
            f"The network {model.name} is not built. Give it a keras.Input, or call it once."
        )
    _refuse_sharing(model)
    network = _layer(model)
    if "own" in network:
        raise InputError(
            f"The functional network {model.name} calls something that cannot be described: a "
            "function of keras.ops that is not on the list, or with arrays as arguments. Put it "
            "into a layer class of your own."
        )
    description = {
        "format": _schema.FORMAT,
        "inputs": [{"shape": list(x.shape), "dtype": x.dtype} for x in model.inputs],
        "variables": len(model.variables),
        "trainable": [bool(variable.trainable) for variable in model.variables],
        "network": network,
    }
    try:
        check_description(description)
    except DamagedError as error:
        raise InputError(f"The network {model.name} cannot be described. {error}") from error
    return description


def _container(layer: Any) -> str | None:
    """`"Sequential"` or `"Functional"`, where the layer is exactly that and no user's class."""
    kind = type(layer)
    if kind is keras.Sequential:
        return "Sequential"
    functional = kind.__name__ == "Functional" and kind.__module__.startswith("keras.")
    return "Functional" if functional else None


def _children(model: Any) -> list[Any]:
    """The layers of a network, the input included, which `Sequential.layers` leaves out."""
    if _container(model) == "Sequential":
        return list(keras.Model.layers.fget(model))
    return list(model.layers)


def _refuse_sharing(model: keras.Model) -> None:
    """A layer may be called twice inside one functional network, but stand in one place only."""
    seen: set[int] = set()

    def every(inner: Any) -> Iterator[Any]:
        for child in _children(inner):
            yield child
            if _container(child) is not None:
                yield from every(child)

    for layer in every(model):
        if id(layer) in seen:
            raise InputError(
                f"The layer {layer.name} stands in two places of the network {model.name}. Make "
                "it two layers, or share it inside one functional model."
            )
        seen.add(id(layer))


def _layer(layer: Any) -> dict[str, Any]:
    """One layer, with all that is in it."""
    record = _known(layer)
    if record is not None:
        try:
            if record["class_name"] in _schema.CELLS:
                check_object(record, layer.name, Walk(), _schema.CELLS)
            else:
                check_layer(record, layer.name, Walk(), first=_is_input(layer))
        except DamagedError:
            record = None
    return _own(layer) if record is None else record


def _is_listed(layer: Any, name: str) -> bool:
    """Whether a layer is exactly the class of this name, and that on the list."""
    listed = name in _schema.MODULES["keras.layers"]
    return listed and type(layer) is _schema.find("keras.layers", name)


def _is_input(layer: Any) -> bool:
    return type(layer) is keras.layers.InputLayer


def _known(layer: Any) -> dict[str, Any] | None:
    """The record of a class that is on the list; None where it is not, or cannot be written."""
    kind = _container(layer)
    if kind == "Sequential":
        return _object("keras", kind, _head(layer, layers=[_layer(c) for c in _children(layer)]))
    written = _written(layer)
    if written is None:
        return None
    name, config = written["class_name"], written["config"]
    if kind == "Functional":
        graph = _graph(layer, config)
        return None if graph is None else _object("keras", kind, _head(layer, **graph))
    if not _is_listed(layer, name):
        return None
    for key, attribute in _INSIDE.get(name, {}).items():
        config[key] = _layer(getattr(layer, attribute))
    if name == "StackedRNNCells":
        config["cells"] = [_layer(cell) for cell in layer.cells]
    return _object("keras.layers", name, config)


def _object(module: str, class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "module": module,
        "class_name": class_name,
        "config": config,
        "registered_name": None,
    }


def _head(model: Any, **rest: Any) -> dict[str, Any]:
    return {"name": model.name, "trainable": model.trainable, **rest}


def _written(layer: Any) -> dict[str, Any] | None:
    """What Keras writes of a layer, as plain data; None where it, or the user's class, cannot."""
    try:
        with warnings.catch_warnings():
            # Keras warns that a lambda is unsafe to load. It is not kept at all.
            warnings.simplefilter("ignore")
            written = _plain(keras.saving.serialize_keras_object(layer))
    except Exception:  # noqa: BLE001 - `get_config` of a user's class may raise anything
        return None
    return written if isinstance(written["config"], dict) else None


_BY_KERAS_ONLY = ("build_config", "compile_config", "shared_object_id")


def _plain(value: Any) -> Any:
    """Tuples as lists, and objects without what Keras adds for its own loader."""
    if isinstance(value, dict):
        is_object = "class_name" in value
        if is_object and value["class_name"] == "Sequential" and type(value["config"]) is dict:
            keep = {"name", "trainable", "layers"}
            value = {**value, "config": {k: v for k, v in value["config"].items() if k in keep}}
        return {
            key: _plain(item)
            for key, item in value.items()
            if not (is_object and key in _BY_KERAS_ONLY)
        }
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _own(layer: Any) -> dict[str, Any]:
    """The record of a layer that only the user's code can make again."""
    written = _written(layer)
    record = {
        "class_name": type(layer).__name__,
        "own": True,
        "name": layer.name,
        "trainable": bool(layer.trainable),
        "config": None,
    }
    # A class that is on the list is here for something in its configuration that has no form.
    if written is not None and not _is_listed(layer, written["class_name"]):
        record["config"] = written["config"]
    try:
        check_layer(record, layer.name, Walk())
    except DamagedError:
        record["config"] = None
    return record


def _graph(model: Any, config: dict[str, Any]) -> dict[str, Any] | None:
    """Nodes, inputs and outputs of a functional network; None where an argument is not plain."""
    nodes: list[dict[str, Any]] = []
    operations = {operation.name: operation for operation in model.operations}
    try:
        for written in config["layers"]:
            operation = operations[written["name"]]
            calls = [
                {
                    "args": [_argument(argument) for argument in call["args"]],
                    "kwargs": {k: _argument(argument) for k, argument in call["kwargs"].items()},
                }
                for call in written["inbound_nodes"]
            ]
            nodes.append({**_node(operation), "calls": calls})
        ends = {
            name: _ends(config[f"{name[:-1]}_layers"], operations) for name in ("inputs", "outputs")
        }
    except _NotPlainError:
        return None
    return {"nodes": nodes, **ends}


class _NotPlainError(Exception):
    """An argument in a functional network is an array, or something else without a form."""


def _node(operation: Any) -> dict[str, Any]:
    if isinstance(operation, keras.Layer):
        return {"layer": _layer(operation)}
    settings = {key: item for key, item in operation.get_config().items() if key != "name"}
    word = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(operation).__name__)
    return {"op": word.lstrip("_"), "name": operation.name, "config": _plain(settings)}


def _argument(value: Any) -> Any:
    """An argument of a call in our form."""
    if isinstance(value, list):
        return [_argument(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_name" not in value:
        return {"dict": {key: _argument(item) for key, item in value.items()}}
    config = value["config"]
    if value["class_name"] == "__keras_tensor__":
        return {"tensor": config["keras_history"]}
    if value["class_name"] == "__slice__":
        return {"slice": [config["start"], config["stop"], config["step"]]}
    if value["class_name"] == "__ellipsis__":
        return {"ellipsis": True}
    raise _NotPlainError


def _ends(tree: Any, operations: dict[str, Any]) -> Any:
    """The inputs or outputs of a network in our form."""
    if isinstance(tree, dict):
        return {"dict": {key: _ends(item, operations) for key, item in tree.items()}}
    if not (len(tree) == 3 and isinstance(tree[0], str)):
        return [_ends(item, operations) for item in tree]
    name, call, output = tree
    # Here, and only here, Keras counts the calls of a functional network from 1.
    bases = type(operations[name]).__mro__
    counted_from_one = any(base.__name__ == "Functional" for base in bases)
    return {"tensor": [name, call - counted_from_one, output]}
