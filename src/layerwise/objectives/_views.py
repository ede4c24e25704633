"""Two views of the same rows, for objectives that compare them."""

from __future__ import annotations

import keras

from layerwise._typing import Array
from layerwise.objectives._noise import masking


def augments(block: keras.Layer) -> bool:
    """Whether the block sees each batch through random augmentation, another in every call."""
    return bool(getattr(block, "augments", False))


def two_views(
    block: keras.Layer, x: Array, rate: float, seed: keras.random.SeedGenerator
) -> tuple[Array, Array]:
    """The rows twice: as they are where the block augments them, else with features masked.

    In scoring they are masked too: without a difference there is nothing to compare.
    """
    if augments(block):
        return x, x
    return masking(x, rate, seed), masking(x, rate, seed)
