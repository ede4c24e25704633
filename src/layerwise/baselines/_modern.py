"""A network of the same widths as one would build it today."""

from __future__ import annotations

import itertools

import keras
from keras import layers

from layerwise._random import seeded
from layerwise.growth import copy_layer

_WITH_KERNEL = (layers.Dense, layers.Conv1D, layers.Conv2D, layers.Conv3D)
_DROPOUT = 0.2


def modern(model: keras.Model, seed: int) -> keras.Model | None:
    """The same Dense and convolution layers with BatchNorm, He initialization, relu and dropout.

    What the network has already of BatchNorm or dropout is left as it is. The head stays what it
    is, with fresh weights.

    Args:
        model: whose last layer is the head; it is left alone.
        seed: of the weights and the dropout.

    Returns:
        A network with fresh weights; None where it has no layer that could be rebuilt.
    """
    leaves = list(model._flatten_layers(include_self=False, recursive=True))
    normalizes = any(isinstance(layer, layers.BatchNormalization) for layer in leaves)
    drops = any(isinstance(layer, layers.Dropout) for layer in leaves)
    head, seeds, rebuilt = model.layers[-1], itertools.count(seed), []

    def rebuild(layer: keras.Layer) -> keras.Layer:
        if layer is head or not isinstance(layer, _WITH_KERNEL):
            return copy_layer(layer, next(seeds))
        rebuilt.append(layer)
        config = {**layer.get_config(), "kernel_initializer": "he_normal"}
        if layer.activation is keras.activations.linear:
            return copy_layer(type(layer).from_config(config), next(seeds))
        config |= {"activation": "linear", "use_bias": layer.use_bias and normalizes}
        inside = [copy_layer(type(layer).from_config(config), next(seeds))]
        inside += [] if normalizes else [layers.BatchNormalization()]
        inside += [layers.ReLU()]
        inside += [] if drops else [layers.Dropout(_DROPOUT, seed=next(seeds))]
        return keras.Sequential(inside, name=layer.name)

    with seeded(seed):
        copy = keras.models.clone_model(model, clone_function=rebuild, recursive=True)
    return copy if rebuilt else None
