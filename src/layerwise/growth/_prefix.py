"""What a batch passes before the newest block where features cannot be cached."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from layerwise._typing import Array


class Prefix(keras.Layer):  # type: ignore[misc,unused-ignore]
    """Random augmentation, in training alone, then the frozen blocks, in inference mode.

    Args:
        augment: a preprocessing layer, its random state its own.
        blocks: frozen; copies of their own, as they are marked not to be trained.
    """

    def __init__(self, augment: keras.Layer, blocks: Sequence[keras.Layer], **more: Any) -> None:
        super().__init__(**more)
        self.augment = augment
        self.blocks = list(blocks)
        self.built = True
        # Last: Keras marks the variables of the layers that are inside by now.
        self.trainable = False

    def call(self, x: Array, training: bool = False) -> Array:
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
        }
