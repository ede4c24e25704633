"""Layers with weights or shapes of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import onnx

from layerwise.service._onnx._activations import activate
from layerwise.service._onnx._graph import Graph, Value, refuse


def dense(g: Graph, layer: Any, x: Value) -> str:
    y = g.node("MatMul", g.floats(x), g.weight(layer.kernel))
    if layer.use_bias:
        y = g.node("Add", y, g.weight(layer.bias))
    return activate(g, layer, y)


def embedding(g: Graph, layer: Any, x: Value) -> str:
    if layer.mask_zero:
        raise refuse(layer, "it masks zeros")
    rows = g.node("Cast", x.name, to=onnx.TensorProto.INT64)
    return g.node("Gather", g.weight(layer.embeddings), rows, axis=0)


def _along(variable: Any, axes: Sequence[int], rank: int) -> Any:
    """A variable over some axes, with 1 for the others, to be broadcast."""
    array = keras.ops.convert_to_numpy(variable)
    shape = [1] * rank
    for size, axis in zip(array.shape, axes, strict=True):
        shape[axis] = size
    return array.reshape(shape)


def _axes(layer: Any, rank: int) -> list[int]:
    given = [layer.axis] if isinstance(layer.axis, int) else list(layer.axis)
    return [axis % rank for axis in given]


def _scaled(g: Graph, layer: Any, y: str, axes: Sequence[int], rank: int) -> str:
    if layer.scale:
        y = g.node("Mul", y, g.constant(_along(layer.gamma, axes, rank)))
    if layer.center:
        y = g.node("Add", y, g.constant(_along(layer.beta, axes, rank)))
    return y


def batch_normalization(g: Graph, layer: Any, x: Value) -> str:
    rank = len(x.shape)
    axes = _axes(layer, rank)
    mean = _along(layer.moving_mean, axes, rank)
    variance = _along(layer.moving_variance, axes, rank).astype(np.float64)
    spread = 1 / np.sqrt(variance + layer.epsilon)
    y = g.node("Mul", g.node("Sub", g.floats(x), g.constant(mean)), g.constant(spread))
    return _scaled(g, layer, y, axes, rank)


def _standardized(g: Graph, x: str, axes: Sequence[int], epsilon: float, centred: bool) -> str:
    if centred:
        x = g.node("Sub", x, g.node("ReduceMean", x, axes=axes, keepdims=1))
    variance = g.node("ReduceMean", g.node("Mul", x, x), axes=axes, keepdims=1)
    spread = g.node("Sqrt", g.node("Add", variance, g.constant(float(epsilon))))
    return g.node("Div", x, spread)


def layer_normalization(g: Graph, layer: Any, x: Value) -> str:
    rank = len(x.shape)
    axes = _axes(layer, rank)
    y = _standardized(g, g.floats(x), axes, layer.epsilon, centred=True)
    return _scaled(g, layer, y, axes, rank)


def rms_normalization(g: Graph, layer: Any, x: Value) -> str:
    rank = len(x.shape)
    axes = _axes(layer, rank)
    y = _standardized(g, g.floats(x), axes, layer.epsilon, centred=False)
    return g.node("Mul", y, g.constant(_along(layer.scale, axes, rank)))


def group_normalization(g: Graph, layer: Any, x: Value) -> str:
    rank = len(x.shape)
    if _axes(layer, rank) != [rank - 1]:
        raise refuse(layer, "its channels are not last")
    *_, channels = sizes = _known(layer, x)
    groups = channels if layer.groups == -1 else layer.groups
    grouped = g.integers([-1, int(np.prod(sizes[:-1])), groups, channels // groups])
    y = g.node("Reshape", g.floats(x), grouped)
    y = _standardized(g, y, [1, 3], layer.epsilon, centred=True)
    y = g.node("Reshape", y, g.integers([-1, *sizes]))
    return _scaled(g, layer, y, [rank - 1], rank)


def _known(layer: Any, x: Value) -> list[int]:
    sizes = [size for size in x.shape[1:] if size is not None]
    if len(sizes) < len(x.shape) - 1:
        raise refuse(layer, "the size of its rows is not fixed")
    return sizes


def reshape(g: Graph, layer: Any, x: Value) -> str:
    """Flatten and Reshape; what comes out is known where Keras was asked for the specification."""
    given = Value("", layer.compute_output_spec(x.spec))
    return g.node("Reshape", x.name, g.integers([-1, *_known(layer, given)]))


def permute(g: Graph, layer: Any, x: Value) -> str:
    return g.node("Transpose", x.name, perm=[0, *layer.dims])


def repeat(g: Graph, layer: Any, x: Value) -> str:
    y = g.node("Unsqueeze", x.name, g.integers([1]))
    return g.node("Tile", y, g.integers([1, layer.n, 1]))


def rescaling(g: Graph, layer: Any, x: Value) -> str:
    y = g.node("Mul", g.floats(x), g.constant(np.asarray(layer.scale)))
    return g.node("Add", y, g.constant(np.asarray(layer.offset)))


def zero_padding(g: Graph, layer: Any, x: Value) -> str:
    pairs = layer.padding if isinstance(layer.padding[0], (tuple, list)) else [layer.padding]
    begin, end = zip(*pairs, strict=True)
    return g.node("Pad", g.floats(x), g.integers([0, *begin, 0, 0, *end, 0]))


def same(g: Graph, layer: Any, x: Value) -> str:
    """What does nothing to a network that is no longer trained."""
    return x.name


_NOTHING = """ActivityRegularization AlphaDropout Dropout GaussianDropout GaussianNoise Identity
SpatialDropout1D SpatialDropout2D SpatialDropout3D"""

LAYERS: dict[type, Any] = {
    keras.layers.Dense: dense,
    keras.layers.Embedding: embedding,
    keras.layers.BatchNormalization: batch_normalization,
    keras.layers.LayerNormalization: layer_normalization,
    keras.layers.RMSNormalization: rms_normalization,
    keras.layers.GroupNormalization: group_normalization,
    keras.layers.Flatten: reshape,
    keras.layers.Reshape: reshape,
    keras.layers.Permute: permute,
    keras.layers.RepeatVector: repeat,
    keras.layers.Rescaling: rescaling,
    **{getattr(keras.layers, f"ZeroPadding{n}D"): zero_padding for n in (1, 2, 3)},
    **{getattr(keras.layers, name): same for name in _NOTHING.split()},
}


def concatenate(g: Graph, layer: Any, values: Sequence[Value]) -> str:
    return g.node("Concat", *(g.floats(x) for x in values), axis=layer.axis)


def _merged(op: str) -> Any:
    def merge(g: Graph, layer: Any, values: Sequence[Value]) -> str:
        if len({len(x.shape) for x in values}) > 1:
            raise refuse(layer, "it takes arrays of different ranks")
        first, *rest = (g.floats(x) for x in values)
        for other in rest:
            first = g.node(op, first, other)
        return first

    return merge


def _average(g: Graph, layer: Any, values: Sequence[Value]) -> str:
    return g.node("Div", _merged("Add")(g, layer, values), g.constant(float(len(values))))


MERGES: dict[type, Any] = {
    keras.layers.Add: _merged("Add"),
    keras.layers.Average: _average,
    keras.layers.Concatenate: concatenate,
    keras.layers.Maximum: _merged("Max"),
    keras.layers.Minimum: _merged("Min"),
    keras.layers.Multiply: _merged("Mul"),
    keras.layers.Subtract: _merged("Sub"),
}
