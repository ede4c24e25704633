"""Building and copying single layers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import keras
from numpy.typing import NDArray

from layerwise._random import seeded
from layerwise._typing import Shape
from layerwise.errors import InputError


def attach(layer: keras.Layer, shape: Shape, dtype: str, what: str, seed: int = 0) -> Shape:
    """Build a layer on features of this shape and return the shape of its output.

    Args:
        layer: not yet built, or built for this shape.
        shape: of one sample.
        dtype: of the features.
        what: how an error calls the layer.
        seed: of initializers that the layer makes only now.

    Raises:
        InputError: the layer cannot take such features, gives more than one output, or has a name
            that no file can keep.
    """
    try:
        with seeded(seed):
            # A tensor of no input layer: the layer would keep that for as long as it lives.
            output = layer(keras.KerasTensor((None, *shape), dtype=dtype))
    except (ValueError, TypeError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        raise InputError(
            f"{what} ({layer.name}) cannot take features of shape {shape}. Keras says: {reason}"
        ) from error
    if not isinstance(output, keras.KerasTensor):
        raise InputError(
            f"{what} ({layer.name}) must return one array. Received: {type(output).__name__}."
        )
    for variable in layer.variables:
        if "\x00" in variable.path:
            raise InputError(
                f"{what} holds a layer whose name no file can keep: {variable.path!r}. Rename it."
            )
    return tuple(output.shape[1:])


def copy_layer(layer: keras.Layer, seed: int | None = None, name: str | None = None) -> keras.Layer:
    """A new, unbuilt layer of the same configuration, to be initialized anew.

    What layers inside were adapted to is kept: it is no weight to be drawn.

    Args:
        layer: what to copy.
        seed: of the copy's initializers; None draws on Python's stream as it stands.
        name: of the copy; default: that of `layer`.

    Raises:
        InputError: the layer cannot be made again from its configuration.
    """
    try:
        config = layer.get_config()
        if name is not None:
            config["name"] = name
        with nullcontext() if seed is None else seeded(seed):
            copy = type(layer).from_config(config)
    except (ValueError, TypeError, NotImplementedError) as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
        # The whole configuration, which may follow, helps nobody.
        reason = reason.partition(" Full object config")[0]
        raise InputError(
            f"The layer {layer.name} ({type(layer).__name__}) cannot be copied from its "
            "configuration. Give its class a `get_config`, and a Lambda a class of its own. "
            f"Keras says: {reason}"
        ) from error
    # A network of the user's own may make its layers only when it is built.
    pairs = zip(_parts(layer), _parts(copy), strict=True) if adaptation(layer) else ()
    for ours, theirs in pairs:
        if values := adaptation(ours):
            if not theirs.built:
                theirs.build_from_config(ours.get_build_config())
            fill(theirs, values)
    return copy


def adaptation(layer: keras.Layer) -> list[NDArray[Any]]:
    """What normalization in a layer was adapted to: the mean and the spread of the data.

    What other preprocessing layers were adapted to is in their configuration.
    """
    return [
        value
        for part in _parts(layer)
        if isinstance(part, keras.layers.Normalization) and part.built
        for value in values_of(part)
    ]


def _parts(layer: keras.Layer) -> list[keras.Layer]:
    """The layers of a network, those of networks inside it too; of a layer itself."""
    inside = layer.layers if isinstance(layer, keras.Model) else []
    return [layer] if not inside else [part for one in inside for part in _parts(one)]


def copy_weights(source: keras.Layer, target: keras.Layer) -> None:
    """Give `target` the weights of `source`, statistics and random states included.

    By way of NumPy, so that the two share no memory: on JAX, training takes the memory of what it
    trains, and would take that of the source along.
    """
    fill(target, values_of(source))


def values_of(layer: keras.Layer) -> list[NDArray[Any]]:
    """Weights, statistics and random states, in the memory of the layer where that can be."""
    return [keras.ops.convert_to_numpy(variable.value) for variable in layer.variables]


def fill(layer: keras.Layer, values: Sequence[NDArray[Any]]) -> None:
    """Give a layer weights, statistics and random states."""
    for variable, value in zip(layer.variables, values, strict=True):
        variable.assign(value)
    for part in _parts(layer):
        if isinstance(part, keras.layers.Normalization):
            part.finalize_state()  # It computes with copies of its statistics.


def duplicate(
    layer: keras.Layer, shape: Shape, dtype: str, name: str | None = None
) -> tuple[keras.Layer, Shape]:
    """A copy with weights of its own that are equal, built on features of this shape.

    It keeps the name of `layer`, or takes the one given.

    Returns:
        The copy, and the shape of one sample of its output.
    """
    copy = copy_layer(layer, seed=0, name=name)
    output = attach(copy, shape, dtype, "A copied block")
    copy_weights(layer, copy)
    return copy, output
