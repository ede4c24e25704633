"""Objectives whose mathematics need the block to be one affine map."""

from __future__ import annotations

import math

import keras
from keras import ops

from layerwise._typing import Array
from layerwise.errors import InputError

_PASSING = (keras.layers.InputLayer, keras.layers.Flatten)


def dense_of(
    block: keras.Layer, who: str, x: Array | None = None, activations: tuple[str, ...] = ()
) -> keras.layers.Dense:
    """The Dense layer that a block consists of, but for a Flatten before it.

    Args:
        block: of the stage.
        who: needs it, in the error.
        x: a batch of what the block takes: vectors, unless it flattens them.
        activations: one of which it must have; empty for any.

    Raises:
        InputError: the block is something else.
    """
    inside = block.layers if isinstance(block, keras.Sequential) else [block]
    kernels = [layer for layer in inside if not isinstance(layer, _PASSING)]
    layer = kernels[0] if len(kernels) == 1 else None
    # Exactly Dense: a subclass may compute something else.
    if type(layer) is not keras.layers.Dense:
        raise InputError(
            f"{who} needs a block that is one Dense layer, with a Flatten before it for images. "
            f"Received: {', '.join(type(layer).__name__ for layer in kernels) or block.name}."
        )
    flattens = any(isinstance(part, keras.layers.Flatten) for part in inside)
    if x is not None and len(x.shape) > 2 and not flattens:
        raise InputError(
            f"{who} needs vectors, and the features have the shape {tuple(x.shape[1:])}. Put a "
            "Flatten before the Dense layer."
        )
    if activations and activation_of(layer) not in activations:
        raise InputError(
            f"{who} needs a Dense block with the activation {' or '.join(activations)}. "
            f"Received: {activation_of(layer)}."
        )
    return layer


def activation_of(layer: keras.layers.Dense) -> str:
    """The name of a layer's activation."""
    return str(keras.activations.serialize(layer.activation))


def affine(layer: keras.layers.Dense, x: Array) -> Array:
    """What the layer gives before its activation: `(batch, units)`."""
    output = ops.matmul(x, layer.kernel)
    return output if layer.bias is None else output + layer.bias


def flat(x: Array) -> Array:
    """`(batch, ...)` to `(batch, features)`."""
    return x if len(x.shape) == 2 else ops.reshape(x, (-1, math.prod(x.shape[1:])))


def slope(layer: keras.layers.Dense, output: Array, who: str) -> Array:
    """The derivative of the activation, from what the layer gives.

    Raises:
        InputError: for activations whose derivative does not follow from their output.
    """
    name = activation_of(layer)
    if name == "sigmoid":
        return output * (1 - output)
    if name == "tanh":
        return 1 - ops.square(output)
    if name == "relu":
        return ops.cast(output > 0, output.dtype)
    if name == "linear":
        return ops.ones_like(output)
    raise InputError(
        f"{who} knows the derivative of sigmoid, tanh, relu and linear. Received: {name}."
    )
