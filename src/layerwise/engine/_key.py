"""When two stages may share one compiled program: a key that is equal only if they are alike."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import keras

from layerwise.growth import config_key, layer_key
from layerwise.objectives import Objective, Targets


def stage_key(
    layers: Sequence[keras.Layer | None], objective: Objective, targets: Targets
) -> Hashable | None:
    """What two stages must share to compute alike; None where that cannot be told."""
    keys = tuple(layer_key(layer) for layer in layers)
    # A user's objective need not have a hash; then nothing tells it from another.
    if None in keys or not isinstance(objective, Hashable):
        return None
    return keys, objective, targets


def optimizer_key(optimizer: keras.Optimizer) -> Hashable | None:
    """The configuration of an optimizer; None where it may not be faithful.

    A learning rate that is a number is left out: it is a variable, and comes with the state.
    """
    return config_key(optimizer, without=_RATE)


_RATE = "learning_rate"
