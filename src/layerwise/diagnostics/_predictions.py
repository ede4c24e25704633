"""How the chosen network's predictions go wrong."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Calibration(NamedTuple):
    """What a network's confidence is worth."""

    error: float
    """Expected calibration error: the mean of |accuracy - confidence|, by share of rows."""
    bins: list[dict[str, float]]
    """Of each bin that has rows: mean `confidence`, `accuracy`, `share` of the rows."""


def calibration(probabilities: NDArray[Any], y: NDArray[Any], bins: int = 15) -> Calibration:
    """Compare the probability of the predicted class with how often it is right.

    Args:
        probabilities: `(n_samples, n_classes)`.
        y: `(n_samples,)` class numbers.
        bins: of equal width between 0 and 1.

    Reference: Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, 2017.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == y
    # A confidence of exactly a bin's upper end belongs to that bin, as in the paper.
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = [
        {
            "confidence": float(confidence[which == number].mean()),
            "accuracy": float(right[which == number].mean()),
            "share": float(np.mean(which == number)),
        }
        for number in np.unique(which)
    ]
    error = sum(one["share"] * abs(one["accuracy"] - one["confidence"]) for one in found)
    return Calibration(error, found)


def confused_pairs(matrix: NDArray[Any], most: int = 10) -> list[tuple[int, int, int]]:
    """The pairs of classes that are taken for one another most often: right, predicted, rows."""
    wrong = np.array(matrix)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [np.unravel_index(place, wrong.shape) for place in order]
    return [(int(a), int(b), int(wrong[a, b])) for a, b in pairs if wrong[a, b]]


def hardest(probabilities: NDArray[Any], y: NDArray[Any], most: int = 20) -> NDArray[np.integer]:
    """The rows whose own class got the lowest probability, the lowest first."""
    return np.argsort(probabilities[np.arange(len(y)), y], kind="stable")[:most]
