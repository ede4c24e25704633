"""Convolutions and pooling.

Keras has channels last, ONNX has them first. Each layer turns its input and turns its output back;
ONNX Runtime takes out the pairs that cancel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from layerwise.service._onnx._activations import activate
from layerwise.service._onnx._graph import Graph, Value, refuse


def _first(g: Graph, x: str, rank: int) -> str:
    return g.node("Transpose", x, perm=[0, rank + 1, *range(1, rank + 1)])


def _last(g: Graph, x: str, rank: int) -> str:
    return g.node("Transpose", x, perm=[0, *range(2, rank + 2), 1])


def _sizes(given: int | Sequence[int], rank: int) -> list[int]:
    return [given] * rank if isinstance(given, int) else list(given)


def _window(
    layer: Any, x: Value, size: Sequence[int], dilation: int | Sequence[int] = 1
) -> dict[str, Any]:
    """Kernel, strides and pads as attributes; "same" as TensorFlow means it, more at the end."""
    rank = len(size)
    strides, dilations = _sizes(layer.strides, rank), _sizes(dilation, rank)
    begin, end = [0] * rank, [0] * rank
    if layer.padding != "valid":
        for i, (n, k, s, d) in enumerate(zip(x.shape[1:-1], size, strides, dilations, strict=True)):
            reach = (k - 1) * d
            if layer.padding == "causal":
                begin[i] = reach
                continue
            if n is None:
                raise refuse(layer, "it pads an input whose size is not fixed")
            total = max((-(-n // s) - 1) * s + reach + 1 - n, 0)
            begin[i], end[i] = total // 2, total - total // 2
    return {"kernel_shape": list(size), "strides": strides, "pads": begin + end}


def convolution(g: Graph, layer: Any, x: Value) -> str:
    rank = layer.rank
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    weight = np.moveaxis(kernel, (-1, -2), (0, 1))
    inputs = [_first(g, g.floats(x), rank), g.constant(weight)]
    if layer.use_bias:
        inputs.append(g.weight(layer.bias))
    window = _window(layer, x, layer.kernel_size, layer.dilation_rate)
    dilations = _sizes(layer.dilation_rate, rank)
    y = g.node("Conv", *inputs, group=layer.groups, dilations=dilations, **window)
    return activate(g, layer, _last(g, y, rank))


def _by_channel(g: Graph, layer: Any, x: Value, kernel: Any, bias: Any = None) -> str:
    """Each channel by itself; channels first, and so is what it gives."""
    rank = len(kernel.shape) - 2
    array = np.moveaxis(keras.ops.convert_to_numpy(kernel), (-2, -1), (0, 1))
    channels, multiplier = array.shape[:2]
    weight = array.reshape(channels * multiplier, 1, *array.shape[2:])
    inputs = [_first(g, g.floats(x), rank), g.constant(weight)]
    if bias is not None:
        inputs.append(g.weight(bias))
    window = _window(layer, x, _sizes(layer.kernel_size, rank), layer.dilation_rate)
    dilations = _sizes(layer.dilation_rate, rank)
    return g.node("Conv", *inputs, group=channels, dilations=dilations, **window)


def depthwise(g: Graph, layer: Any, x: Value) -> str:
    y = _by_channel(g, layer, x, layer.kernel, layer.bias if layer.use_bias else None)
    return activate(g, layer, _last(g, y, len(x.shape) - 2))


def separable(g: Graph, layer: Any, x: Value) -> str:
    y = _by_channel(g, layer, x, layer.depthwise_kernel)
    point = np.moveaxis(keras.ops.convert_to_numpy(layer.pointwise_kernel), (-1, -2), (0, 1))
    inputs = [y, g.constant(point)]
    if layer.use_bias:
        inputs.append(g.weight(layer.bias))
    return activate(g, layer, _last(g, g.node("Conv", *inputs), len(x.shape) - 2))


def pooling(g: Graph, layer: Any, x: Value) -> str:
    size = list(layer.pool_size)
    attributes = _window(layer, x, size)
    if layer.pool_mode == "average":
        # Keras, too, leaves what was padded out of the mean.
        attributes["count_include_pad"] = 0
    op = "MaxPool" if layer.pool_mode == "max" else "AveragePool"
    y = g.node(op, _first(g, g.floats(x), len(size)), **attributes)
    return _last(g, y, len(size))


def global_pooling(g: Graph, layer: Any, x: Value) -> str:
    op = "ReduceMax" if "Max" in type(layer).__name__ else "ReduceMean"
    axes = list(range(1, len(x.shape) - 1))
    return g.node(op, g.floats(x), axes=axes, keepdims=int(layer.keepdims))


LAYERS: dict[type, Any] = {
    **{getattr(keras.layers, f"Conv{n}D"): convolution for n in (1, 2, 3)},
    **{getattr(keras.layers, f"DepthwiseConv{n}D"): depthwise for n in (1, 2)},
    **{getattr(keras.layers, f"SeparableConv{n}D"): separable for n in (1, 2)},
    **{
        getattr(keras.layers, f"{k}Pooling{n}D"): pooling
        for k in ("Max", "Average")
        for n in (1, 2, 3)
    },
    **{
        getattr(keras.layers, f"Global{k}Pooling{n}D"): global_pooling
        for k in ("Max", "Average")
        for n in (1, 2, 3)
    },
}
