"""From a Keras network to an ONNX model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import onnx
from onnx import helper

from layerwise.architecture import Operation, interpret
from layerwise.errors import InputError
from layerwise.service._onnx import _activations, _layers, _windows
from layerwise.service._onnx._graph import IR, OPSET, Graph, Value, refuse

_LIMIT = (1 << 31) - (1 << 20)
"""Bytes: a protocol buffer holds less than 2 GiB."""
_BINARY = {
    "add": "Add",
    "divide": "Div",
    "maximum": "Max",
    "minimum": "Min",
    "multiply": "Mul",
    "subtract": "Sub",
    "true_divide": "Div",
}
_UNARY = {
    "absolute": "Abs",
    "exp": "Exp",
    "log": "Log",
    "negative": "Neg",
    "relu": "Relu",
    "sigmoid": "Sigmoid",
    "sqrt": "Sqrt",
    "tanh": "Tanh",
}


def convert(model: keras.Model, facts: Mapping[str, str]) -> bytes:
    """A network as the bytes of an ONNX file; the number of rows is left open.

    Args:
        model: a Sequential or functional network of Keras' own layers, one input, float32.
        facts: texts to keep in the file, by name.

    Returns:
        A file with the input `input` and the output `output`, or one for each key of the network's.

    Raises:
        InputError: a layer, or a way to use it, has no form here; the message names it.
    """
    size = sum(4 * math.prod(variable.shape) for variable in model.weights)
    if size > _LIMIT:
        raise InputError(
            f"The weights take {size:,} bytes, and one ONNX file holds at most {_LIMIT:,}. "
            "Use `--format safetensors`."
        )
    graph = Graph()
    spec = model.inputs[0]
    outputs = interpret(model, Value("input", spec), lambda *called: _run(graph, *called))
    named = outputs if isinstance(outputs, dict) else {"output": outputs}
    if not all(isinstance(value, Value) for value in named.values()):
        raise InputError(
            f"The network {model.name} must give one array, or a dictionary of arrays, to be "
            "written as ONNX."
        )
    for name, value in named.items():
        graph.nodes.append(helper.make_node("Identity", [value.name], [name], name=f"as/{name}"))
    infos = [_info(name, value.spec) for name, value in named.items()]
    body = helper.make_graph(graph.nodes, model.name, [_info("input", spec)], infos, graph.weights)
    made = helper.make_model(
        body,
        producer_name="layerwise",
        ir_version=IR,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )
    helper.set_model_props(made, dict(facts))
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString())


def _info(name: str, spec: keras.KerasTensor) -> Any:
    kind = helper.np_dtype_to_tensor_dtype(_numpy(spec.dtype))
    return helper.make_tensor_value_info(name, kind, ["batch", *spec.shape[1:]])


def _numpy(dtype: str) -> Any:
    return np.dtype(keras.backend.standardize_dtype(dtype))


def _run(graph: Graph, what: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
    """One call of a layer or function."""
    if isinstance(what, Operation):
        return _function(graph, what, args, kwargs)
    if isinstance(what, keras.layers.InputLayer):
        return args[0]
    if isinstance(what, (keras.Sequential, keras.Model)) and not _is_own(what):
        return interpret(what, args[0], lambda *called: _run(graph, *called))
    _check(what, args, kwargs)
    (x,) = args
    graph.enter(what.name)
    if type(what) in _layers.MERGES:
        name = _layers.MERGES[type(what)](graph, what, x)
        return Value(name, what.compute_output_spec([value.spec for value in x]))
    if type(what) in _activations.LAYERS:
        name = _activations.LAYERS[type(what)](graph, what, graph.floats(x))
    else:
        name = {**_layers.LAYERS, **_windows.LAYERS}[type(what)](graph, what, x)
    return Value(name, what.compute_output_spec(x.spec))


def _is_own(model: Any) -> bool:
    """Whether it is a class of the user's, which may do anything in `call`."""
    return type(model) is not keras.Sequential and type(model).__name__ != "Functional"


def _check(layer: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
    known = {**_layers.LAYERS, **_layers.MERGES, **_activations.LAYERS, **_windows.LAYERS}
    if type(layer) not in known:
        raise refuse(layer, "layers of its kind are not known here")
    if len(args) != 1 or any(isinstance(value, Value) for value in kwargs.values()):
        raise refuse(layer, "it is given more than one argument")
    if isinstance(args[0], list) is not (type(layer) in _layers.MERGES):
        raise refuse(layer, "it is given several arrays")
    if getattr(layer, "data_format", "channels_last") == "channels_first":
        raise refuse(layer, "its channels are first")
    if layer.compute_dtype != "float32" or getattr(layer, "quantization_mode", None):
        raise refuse(layer, f"it computes in {layer.dtype_policy.name}, not in float32")


def _function(graph: Graph, what: Operation, args: list[Any], kwargs: dict[str, Any]) -> Value:
    """A function of `keras.ops`."""
    graph.enter(what.word)
    plain = not what.settings and not kwargs
    if plain and what.word in _UNARY and len(args) == 1:
        (x,) = args
        return Value(graph.node(_UNARY[what.word], graph.floats(x)), x.spec)
    if plain and what.word in _BINARY and len(args) == 2:
        names = [
            graph.floats(x) if isinstance(x, Value) else graph.constant(float(x)) for x in args
        ]
        specs = [x.spec if isinstance(x, Value) else x for x in args]
        spec = getattr(keras.ops, what.word)(*specs)
        return Value(graph.node(_BINARY[what.word], *names), spec)
    raise InputError(
        f"The function keras.ops.{what.word} in the network cannot be written as ONNX. "
        "`--format torch` and `--format keras` take it."
    )
