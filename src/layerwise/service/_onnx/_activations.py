"""Functions that work on each number by itself, and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras

from layerwise.service._onnx._graph import Graph, refuse

Emit = Callable[[Graph, str], str]


def _op(op: str, **attributes: Any) -> Emit:
    return lambda g, x: g.node(op, x, **attributes)


def _linear(g: Graph, x: str) -> str:
    return x


def _silu(g: Graph, x: str) -> str:
    return g.node("Mul", x, g.node("Sigmoid", x))


def _gelu(g: Graph, x: str) -> str:
    inside = g.node("Erf", g.node("Mul", x, g.constant(math.sqrt(0.5))))
    half = g.node("Mul", x, g.constant(0.5))
    return g.node("Mul", half, g.node("Add", inside, g.constant(1.0)))


def _relu6(g: Graph, x: str) -> str:
    return g.node("Clip", x, g.constant(0.0), g.constant(6.0))


def _mish(g: Graph, x: str) -> str:
    return g.node("Mul", x, g.node("Tanh", g.node("Softplus", x)))


def _log_sigmoid(g: Graph, x: str) -> str:
    return g.node("Neg", g.node("Softplus", g.node("Neg", x)))


def _hard_silu(g: Graph, x: str) -> str:
    return g.node("Mul", x, g.node("HardSigmoid", x, alpha=1 / 6, beta=0.5))


FUNCTIONS: dict[str, Emit] = {
    "linear": _linear,
    "relu": _op("Relu"),
    "sigmoid": _op("Sigmoid"),
    "tanh": _op("Tanh"),
    "softmax": _op("Softmax", axis=-1),
    "log_softmax": _op("LogSoftmax", axis=-1),
    "elu": _op("Elu"),
    "selu": _op("Selu"),
    "celu": _op("Celu"),
    "softplus": _op("Softplus"),
    "softsign": _op("Softsign"),
    "exponential": _op("Exp"),
    "leaky_relu": _op("LeakyRelu", alpha=0.2),
    "hard_sigmoid": _op("HardSigmoid", alpha=1 / 6, beta=0.5),
    "hard_silu": _hard_silu,
    "hard_swish": _hard_silu,
    "relu6": _relu6,
    "silu": _silu,
    "swish": _silu,
    "gelu": _gelu,
    "mish": _mish,
    "log_sigmoid": _log_sigmoid,
}


def activate(g: Graph, layer: Any, x: str) -> str:
    """What a layer's `activation` does.

    Raises:
        InputError: it is a function of the user's, or one that is not on the list.
    """
    function = layer.activation
    if function is None:
        return x
    if isinstance(function, keras.Layer):
        if type(function) not in LAYERS:
            raise refuse(function, "it is no activation that is known here")
        return LAYERS[type(function)](g, function, x)
    word = getattr(function, "__name__", str(function))
    if word not in FUNCTIONS or getattr(keras.activations, word, None) is not function:
        raise refuse(layer, f"its activation {word} is not known here")
    return FUNCTIONS[word](g, x)


def _relu(g: Graph, layer: Any, x: str) -> str:
    if layer.threshold:
        raise refuse(layer, "it has a threshold")
    slope = float(layer.negative_slope or 0)
    y = g.node("LeakyRelu", x, alpha=slope) if slope else g.node("Relu", x)
    return y if layer.max_value is None else g.node("Min", y, g.constant(float(layer.max_value)))


def _leaky_relu(g: Graph, layer: Any, x: str) -> str:
    return g.node("LeakyRelu", x, alpha=float(layer.negative_slope))


def _elu(g: Graph, layer: Any, x: str) -> str:
    return g.node("Elu", x, alpha=float(layer.alpha))


def _prelu(g: Graph, layer: Any, x: str) -> str:
    return g.node("PRelu", x, g.weight(layer.alpha))


def _softmax(g: Graph, layer: Any, x: str) -> str:
    if not isinstance(layer.axis, int):
        raise refuse(layer, "it has several axes")
    return g.node("Softmax", x, axis=layer.axis)


LAYERS: dict[type, Callable[[Graph, Any, str], str]] = {
    keras.layers.Activation: activate,
    keras.layers.ReLU: _relu,
    keras.layers.LeakyReLU: _leaky_relu,
    keras.layers.ELU: _elu,
    keras.layers.PReLU: _prelu,
    keras.layers.Softmax: _softmax,
}
