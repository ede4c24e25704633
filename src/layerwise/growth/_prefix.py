"""What a batch passes before the newest block: where features cannot be cached, or are stored in
fewer bits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from numpy.typing import NDArray

from layerwise._typing import Array, Tree

_COARSE, _FINE = 2.0**-8 + 2.0**-16, 2.0**-24 + 2.0**-32 + 2.0**-40
"""1 / 255 in two parts. A byte times the first is exact, so that the sum is what a division gives,
to the bit. XLA would multiply by 1 / 255 rounded."""


class Prefix(keras.Layer):  # type: ignore[misc,unused-ignore]
    """Random augmentation, in training alone, then the frozen blocks, in inference mode.

    Args:
        augment: a preprocessing layer, its random state its own.
        blocks: frozen; copies of their own, as they are marked not to be trained.
        decode: what rows pass first that are not stored as numbers.
    """

    def __init__(
        self,
        augment: keras.Layer,
        blocks: Sequence[keras.Layer],
        decode: Decode | None = None,
        **more: Any,
    ) -> None:
        super().__init__(**more)
        self.decode = decode
        self.augment = augment
        self.blocks = list(blocks)
        self.built = True
        # Last: Keras marks the variables of the layers that are inside by now.
        self.trainable = False

    def call(self, x: Array, training: bool = False) -> Array:
        if self.decode is not None:
            x = self.decode(x)
        # Preprocessing layers draw at random unless told not to.
        x = self.augment(x, training=training)
        for block in self.blocks:
            x = block(x, training=False)
        return x

    def get_config(self) -> dict[str, Any]:
        serialized = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "augment": serialized(self.augment),
            "blocks": [serialized(block) for block in self.blocks],
            "decode": self.decode and serialized(self.decode),
        }


class Decode(keras.Layer):  # type: ignore[misc,unused-ignore]
    """Stored features or pixels as 32-bit floats again, in the program that trains on them.

    Args:
        span: `(2, n_units)`, what a code of 0 stands for and the width of a step, by unit or
            channel; None where the stored numbers are the features, in fewer bits.
        pixels: whether they are bytes of which 255 stands for 1.
    """

    def __init__(self, span: NDArray[Any] | None = None, pixels: bool = False, **more: Any) -> None:
        super().__init__(**{"autocast": False, "dtype": "float32", **more})
        self._units = None if span is None else span.shape[1]
        self._pixels = pixels
        if span is not None:
            # As a variable: stages share a program, whatever their features span.
            self.span = self.add_weight(span.shape, "zeros", trainable=False, name="span")
            self.span.assign(span)
        self.built = True
        self.trainable = False

    def call(self, x: Tree, training: bool = False) -> Tree:
        return keras.tree.map_structure(self._decoded, x)

    def _decoded(self, x: Array) -> Array:
        values = keras.ops.cast(x, "float32")
        if self._pixels:
            return values * _COARSE + values * _FINE
        return values if self._units is None else values * self.span[1] + self.span[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self._units, "pixels": self._pixels}
