"""Default heads: from the shape of the features to a classifier, a regressor, a decoder, a
projection."""

from __future__ import annotations

import math

import keras

from layerwise._typing import Shape
from layerwise.errors import InputError
from layerwise.objectives._protocol import Targets


def _known(shape: Shape, what: str) -> tuple[int, ...]:
    if any(size is None for size in shape):
        raise InputError(
            f"The default head needs {what} of a fixed shape. Received: {shape}. "
            "Pass `head=` with a layer of your own."
        )
    return tuple(size for size in shape if size is not None)


def summarise(feature_shape: Shape) -> list[keras.Layer]:
    """Layers that turn features of any rank into one vector a sample.

    Vectors stay as they are. Sequences `(time, features)` are averaged over time. Images are
    averaged over a 2 x 2 grid, as in Belilovsky, Eickenberg, Oyallon, Greedy Layerwise Learning
    Can Scale to ImageNet, 2019, and flattened; other ranks are flattened.
    """
    rank = len(feature_shape)
    if rank == 1:
        return []
    if rank == 2:
        return [keras.layers.GlobalAveragePooling1D()]
    if rank == 3:
        height, width, _ = _known(feature_shape, "images")
        pool = (math.ceil(height / 2), math.ceil(width / 2))
        pooling = keras.layers.AveragePooling2D(pool, padding="same")
        return [pooling, keras.layers.Flatten()]
    return [keras.layers.Flatten()]


def on_vectors(head: keras.Layer, feature_shape: Shape) -> keras.Layer:
    """A head made for vectors, on features of any rank."""
    return keras.Sequential([*summarise(feature_shape), head])


def predictor(feature_shape: Shape, targets: Targets, depth: int = 1) -> keras.Layer:
    """A softmax layer over the classes, or a linear layer with the shape of the values.

    Args:
        feature_shape: of one sample.
        targets: what is predicted.
        depth: how many layers with weights: of features with a place in space or time all but the
            last are convolutions of 3 pixels that keep the width, of others Dense layers.
    """
    convolve = {2: keras.layers.Conv1D, 3: keras.layers.Conv2D}.get(len(feature_shape))
    layers: list[keras.Layer] = []
    if convolve is not None:
        for _ in range(depth - 1):
            layers.append(convolve(feature_shape[-1], 3, padding="same", use_bias=False))
            layers += [keras.layers.BatchNormalization(), keras.layers.ReLU()]
    layers += summarise(feature_shape)
    if convolve is None and depth > 1:
        width = math.prod(_known(feature_shape, "features"))
        layers += [keras.layers.Dense(width, activation="relu") for _ in range(depth - 1)]
    if targets.kind == "classes":
        layers.append(keras.layers.Dense(targets.n_classes, activation="softmax"))
    else:
        shape = _known(targets.shape, "targets")
        layers.append(keras.layers.Dense(math.prod(shape)))
        if len(shape) > 1:
            layers.append(keras.layers.Reshape(shape))
    return layers[0] if len(layers) == 1 else keras.Sequential(layers)


def decoder(feature_shape: Shape, output_shape: Shape) -> keras.Layer:
    """A linear map from the features back to an array of `output_shape`.

    Vectors and mixed ranks: one Dense layer. Images from images whose sides divide: repeat the
    pixels, then a 3 x 3 convolution. Sequences from sequences of equal length: a Dense layer at
    each time step.
    """
    output = _known(output_shape, "inputs")
    if len(feature_shape) == len(output) == 3:
        features = _known(feature_shape, "images")
        up = (output[0] // features[0], output[1] // features[1])
        if (features[0] * up[0], features[1] * up[1]) == output[:2]:
            convolution = keras.layers.Conv2D(output[2], 3, padding="same")
            if up == (1, 1):
                return convolution
            return keras.Sequential([keras.layers.UpSampling2D(up), convolution])
    if len(feature_shape) == len(output) == 2 and feature_shape[0] == output[0]:
        return keras.layers.Dense(output[1])
    layers: list[keras.Layer] = [] if len(feature_shape) == 1 else [keras.layers.Flatten()]
    layers.append(keras.layers.Dense(math.prod(output)))
    if len(output) > 1:
        layers.append(keras.layers.Reshape(output))
    return layers[0] if len(layers) == 1 else keras.Sequential(layers)


def projector(feature_shape: Shape, width: int) -> keras.Layer:
    """Two layers from features of any rank to vectors, as contrastive methods put on top.

    Reference: Chen, Kornblith, Norouzi, Hinton, A Simple Framework for Contrastive Learning of
    Visual Representations, 2020, section 4.2: a hidden layer between makes better features.
    """
    return keras.Sequential(
        [
            *summarise(feature_shape),
            keras.layers.Dense(width, activation="relu"),
            keras.layers.Dense(width),
        ]
    )
