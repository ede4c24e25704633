"""How an objective that is more than a chain puts its network together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras

from layerwise.datasets import Dataset
from layerwise.objectives import Objective, stitched_by
from layerwise.training._view import targets_of

Assemble = Callable[[Sequence[keras.Layer], keras.Layer | None], keras.Model]


def assembler(objective: Objective, data: Dataset) -> Assemble | None:
    """From blocks and a classifier to the network; None where they are a chain."""
    if not hasattr(objective, "stitch"):
        return None
    targets = targets_of(data, data.train.shape)
    return lambda blocks, classifier: stitched_by(objective, blocks, classifier, targets)
