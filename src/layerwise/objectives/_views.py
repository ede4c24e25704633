"""Two views of the same rows, for objectives that compare them."""

from __future__ import annotations

import keras

from layerwise._typing import Array
from layerwise.objectives._noise import masking


def two_views(
    x: Array,
    again: Array | None,
    rate: float,
    seed: keras.random.SeedGenerator,
    training: bool,
) -> tuple[Array, Array]:
    """The rows twice: as augmented twice, else each time with other features masked.

    In scoring they are always masked: nothing is augmented then, and without a difference there
    is nothing to compare.
    """
    if again is not None and training:
        return x, again
    return masking(x, rate, seed), masking(x, rate, seed)
