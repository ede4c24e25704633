"""Information propagation: predict the labels, and lose nothing of the data on the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.errors import InputError
from layerwise.objectives._checks import at_least_0
from layerwise.objectives._described import Described
from layerwise.objectives._heads import decoder, predictor
from layerwise.objectives._means import mean_over_rows
from layerwise.objectives._parts import Parts
from layerwise.objectives._protocol import Targets


class InfoPro(Described, name="infopro"):
    """Classification plus reconstruction of the data, against the collapse of information.

    Purely supervised stages throw away what later ones would need. A decoder that must give back
    the data that the first stage sees keeps the block from doing so.

    Args:
        classification: weight of the cross-entropy, or of the squared error of values.
        reconstruction: weight of the squared error of the data, a mean over elements.

    Raises:
        InputError: a weight is negative, or both are 0.

    Example:
        >>> from layerwise import InfoPro
        >>> InfoPro(reconstruction=2.0)
        InfoPro(reconstruction=2.0)

    Reference: Wang, Ni, Song, Yang, Huang, Revisiting Locally Supervised Learning, 2021. There
    the data have pixels in [0, 1] and a cross-entropy, the decoder has two convolutions, and the
    weights change linearly from the first module to the last: pass a callable of depth as
    `objective=` for that.
    """

    needs_targets = True

    def __init__(self, classification: float = 1.0, reconstruction: float = 1.0) -> None:
        super().__init__(classification=classification, reconstruction=reconstruction)
        at_least_0("classification", classification)
        at_least_0("reconstruction", reconstruction)
        if not classification + reconstruction > 0:
            raise InputError("InfoPro needs one weight above 0.")
        self._weights = classification, reconstruction

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        parts = {
            "prediction": predictor(feature_shape, targets),
            "decoder": decoder(feature_shape, targets.data_shape),
        }
        return Parts(parts, feature_shape)

    def target(self, inputs: Array, y: Array, targets: Targets) -> Mapping[str, Array]:
        """The data as well as the labels."""
        return {"inputs": inputs, "labels": y}

    def loss(
        self,
        block: keras.Layer,
        head: Parts,
        x: Array,
        y: Mapping[str, Array],
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
        sample_weight: Array | None = None,
    ) -> tuple[Array, Mapping[str, Any]]:
        output = block(x, training=training)
        predicted = head["prediction"](output, training=training)
        restored = head["decoder"](output, training=training)
        labels = y["labels"]
        if keras.backend.is_float_dtype(keras.backend.standardize_dtype(labels.dtype)):
            labels = ops.reshape(ops.cast(labels, predicted.dtype), (-1, *predicted.shape[1:]))
            per_row = ops.square(predicted - labels)
        else:
            per_row = ops.sparse_categorical_crossentropy(labels, predicted)
        prediction = mean_over_rows(per_row, sample_weight)
        inputs = ops.cast(y["inputs"], restored.dtype)
        reconstruction = ops.mean(ops.square(restored - inputs))
        classification_weight, reconstruction_weight = self._weights
        loss = classification_weight * prediction + reconstruction_weight * reconstruction
        return loss, {"prediction_loss": prediction, "reconstruction_loss": reconstruction}
