"""Similarity matching: rows that are alike shall stay alike, or become so where labels say so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.errors import InputError
from layerwise.objectives._checks import one_of, real
from layerwise.objectives._dense import flat
from layerwise.objectives._described import Described
from layerwise.objectives._heads import predictor
from layerwise.objectives._means import mean_over_rows
from layerwise.objectives._parts import Parts
from layerwise.objectives._protocol import Targets


class Similarity(Described, name="similarity"):
    """Match the cosine similarities between the rows of a batch with those of a target.

    The block's output passes a linear projection of the same width, for images a 3 x 3
    convolution and the standard deviation over each feature map. Each row is centred, the matrix
    of cosines is taken, and its mean squared distance to that of the target is the loss.

    Args:
        of: `"labels"`, the one-hot classes, or `"features"`, the input of the stage, which needs
            no labels.

    Raises:
        InputError: `of` is none of these, or the labels are no classes.

    Example:
        >>> from layerwise import Similarity
        >>> Similarity(of="features")
        Similarity(of='features')

    Reference: Nokland, Eidnes, Training Neural Networks with Local Error Signals, 2019, `sim`.
    There all blocks train in step; here they may, and do not by default.
    """

    def __init__(self, of: Literal["labels", "features"] = "labels") -> None:
        super().__init__(of=of)
        self._of_labels = one_of("of", of, ("labels", "features")) == "labels"
        self.needs_targets = self._of_labels

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        if self._of_labels:
            _refuse_values(targets, "Similarity")
        elif math.prod(size or 2 for size in targets.input_shape) < 2:
            raise InputError(
                'Similarity(of="features") compares directions, and features of one number have '
                'none. Use "reconstruction".'
            )
        return projection(feature_shape)

    def target(self, inputs: Array, y: Array | None, targets: Targets) -> Array | None:
        """One-hot classes, or nothing where the stage's own features are the target."""
        return one_hot(y, targets) if self._of_labels else None

    def loss(
        self,
        block: keras.Layer,
        head: keras.Layer,
        x: Array,
        y: Array | None,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
    ) -> tuple[Array, Mapping[str, Any]]:
        output = head(block(x, training=training), training=training)
        theirs = cosines(x if y is None else y)
        return ops.mean(ops.square(cosines(output) - theirs)), {}


class PredSim(Described, name="predsim"):
    """Similarity matching with the labels and prediction of the labels, each through its head.

    Args:
        similarity: the weight of the similarity loss; that of the cross-entropy is the rest to 1.

    Raises:
        InputError: the weight lies outside [0, 1], or the labels are no classes.

    Example:
        >>> from layerwise import PredSim
        >>> PredSim()
        PredSim()

    Reference: Nokland, Eidnes, Training Neural Networks with Local Error Signals, 2019,
    `predsim`, whose weight 0.99 is the default. Sample weights count in the prediction; pairs of
    rows have none.
    """

    needs_targets = True

    def __init__(self, similarity: float = 0.99) -> None:
        super().__init__(similarity=similarity)
        self._weight = real(
            "similarity", similarity, "be a weight in [0, 1]", lambda v: 0 <= v <= 1
        )

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        _refuse_values(targets, "PredSim")
        parts = {
            "similarity": projection(feature_shape),
            "prediction": predictor(feature_shape, targets),
        }
        return Parts(parts, feature_shape)

    def target(self, inputs: Array, y: Array, targets: Targets) -> Array:
        """One-hot classes."""
        return one_hot(y, targets)

    def loss(
        self,
        block: keras.Layer,
        head: Parts,
        x: Array,
        y: Array,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
        sample_weight: Array | None = None,
    ) -> tuple[Array, Mapping[str, Any]]:
        output = block(x, training=training)
        projected = head["similarity"](output, training=training)
        predicted = head["prediction"](output, training=training)
        matching = ops.mean(ops.square(cosines(projected) - cosines(y)))
        entropies = ops.categorical_crossentropy(y, predicted)
        prediction = mean_over_rows(entropies, sample_weight)
        loss = self._weight * matching + (1 - self._weight) * prediction
        return loss, {"similarity_loss": matching, "prediction_loss": prediction}


def projection(feature_shape: Shape) -> keras.Layer:
    """A linear map of features to as many, over 3 x 3 positions of images."""
    width = feature_shape[-1]
    if len(feature_shape) == 3:
        return keras.layers.Conv2D(width, 3, padding="same", use_bias=False)
    return keras.layers.Dense(width, use_bias=False)


def cosines(z: Array) -> Array:
    """The cosine similarity of all pairs of rows, each centred: `(batch, batch)`.

    Feature maps and sequences stand for their standard deviation over positions; where there are
    no more than three channels, or one position, for all their values, as nothing else would
    be left.
    """
    if len(z.shape) > 2 and z.shape[-1] > 3 and math.prod(z.shape[1:-1]) > 1:
        # Not `ops.std`: its gradient at a constant map is not a number.
        axes = tuple(range(1, len(z.shape) - 1))
        z = ops.sqrt(ops.var(z, axis=axes) + 1e-8)
    z = flat(z)
    z = z - ops.mean(z, axis=1, keepdims=True)
    z = z * ops.rsqrt(ops.sum(ops.square(z), axis=1, keepdims=True) + 1e-8)
    return ops.matmul(z, ops.transpose(z))


def one_hot(y: Array | None, targets: Targets) -> Array:
    """Class numbers as rows of zeros and a one."""
    return np.eye(targets.n_classes or 0, dtype=keras.config.floatx())[y]


def _refuse_values(targets: Targets, who: str) -> None:
    if targets.kind != "classes":
        raise InputError(
            f"{who} compares classes, and these labels are values. Use "
            '`Similarity(of="features")` or "supervised".'
        )
