"""Autoencoder stages: each block keeps what a decoder needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.errors import InputError, complaint
from layerwise.objectives._described import Described
from layerwise.objectives._heads import decoder
from layerwise.objectives._protocol import Targets


class Reconstruction(Described):
    """Reconstruct from the newest block's output, through a linear decoder.

    Args:
        of: `"features"`, the input of the stage, as a stack of autoencoders does, or `"inputs"`,
            the data that the first stage sees, as the tutorials do.
        loss: a Keras loss or its name; the mean is over all elements of the target.

    Example:
        >>> from layerwise import Reconstruction
        >>> Reconstruction(of="inputs")
        Reconstruction(of='inputs', loss='mean_squared_error')

    Reference: Bengio, Lamblin, Popovici, Larochelle, Greedy Layer-Wise Training of Deep Networks,
    2007, section 4.1. There the decoder shares the encoder's transposed weights and the loss is a
    cross-entropy; here the decoder has weights of its own and the loss is a squared error.
    """

    def __init__(
        self,
        of: Literal["features", "inputs"] = "features",
        loss: str | Callable[..., Array] = "mean_squared_error",
    ) -> None:
        super().__init__(of=of, loss=loss)
        if of not in ("features", "inputs"):
            raise InputError(complaint("of", 'be "features" or "inputs"', of))
        try:
            self._loss = keras.losses.get(loss)
        except ValueError as error:
            raise InputError(f"Unknown loss: {str(error).splitlines()[0]}") from error
        self._of_inputs = of == "inputs"

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        wanted = targets.data_shape if self._of_inputs else targets.input_shape
        return decoder(feature_shape, wanted)

    def target(self, inputs: Array, y: Array | None) -> Array | None:
        """The inputs themselves, or nothing where the stage's own features are the target."""
        return inputs if self._of_inputs else None

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
        target = ops.cast(x if y is None else y, output.dtype)
        return ops.mean(self._loss(target, output)), {}
