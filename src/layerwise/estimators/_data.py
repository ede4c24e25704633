"""From arrays to a data set: which rows choose the depth, and what columns are scaled by."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import _check_sample_weight

from layerwise.datasets import Dataset

Kind = Literal["classes", "values"] | None


@dataclass(frozen=True, kw_only=True)
class Given:
    """What `fit` was called with, checked.

    Attributes:
        x: `(n_samples, n_features)`.
        y: class numbers `(n_samples,)`, values `(n_samples, n_values)`, or None.
        kind: of `y`.
        weight: `(n_samples,)` or None.
        validation: rows and labels of the same kinds, or None.
        unlabeled: `(n_unlabeled, n_features)` or None.
    """

    x: NDArray[np.float64]
    y: NDArray[Any] | None
    kind: Kind
    weight: NDArray[np.float64] | None = None
    validation: tuple[NDArray[np.float64], NDArray[Any] | None] | None = None
    unlabeled: NDArray[np.float64] | None = None


def weights_of(sample_weight: Any, x: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Checked weights of the rows, or None.

    Raises:
        ValueError: one is negative or no number, or there are not as many as rows.
    """
    if sample_weight is None:
        return None
    return np.asarray(_check_sample_weight(sample_weight, x, ensure_non_negative=True))


def dealt(given: Given, fraction: float, seed: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Row numbers to train on, and those to choose by, or None.

    Classes keep their shares where each has a row for both parts.
    """
    rows = np.arange(len(given.x))
    if given.validation is not None or not fraction:
        return rows, None
    stratify = None
    if given.kind == "classes" and given.y is not None:
        held = int(np.ceil(fraction * len(rows)))
        counts = np.bincount(given.y)
        if counts[counts > 0].min() > 1 and min(held, len(rows) - held) >= (counts > 0).sum():
            stratify = given.y
    train, held_out = train_test_split(
        rows, test_size=fraction, stratify=stratify, random_state=seed
    )
    return np.sort(train), np.sort(held_out)


def scaler_of(given: Given, train: NDArray[Any]) -> StandardScaler:
    """Fitted on the rows that train, with or without labels, and on no others."""
    rows = given.x[train]
    if given.unlabeled is not None:
        rows = np.concatenate([rows, given.unlabeled])
    return StandardScaler().fit(rows)


def target_scaler_of(given: Given, train: NDArray[Any]) -> StandardScaler:
    """Fitted on the targets that train."""
    assert given.y is not None
    return StandardScaler().fit(given.y[train])


def with_scaled_targets(given: Given, scaler: StandardScaler | None) -> Given:
    """The same rows with targets of mean 0 and spread 1."""
    if scaler is None:
        return given
    validation = given.validation
    if validation is not None:
        validation = validation[0], scaler.transform(validation[1])
    return replace(given, y=scaler.transform(given.y), validation=validation)


def dataset_of(
    given: Given,
    train: NDArray[Any],
    held_out: NDArray[Any] | None,
    scaled: Callable[[NDArray[np.float64]], NDArray[np.float32]],
) -> Dataset:
    """The data set that the network grows on."""
    validation = given.validation
    data = Dataset.from_arrays(
        scaled(given.x),
        given.y,
        validation_split=0,
        validation_data=None if validation is None else (scaled(validation[0]), validation[1]),
        sample_weight=given.weight,
        kind=given.kind,
        unlabeled=None if given.unlabeled is None else scaled(given.unlabeled),
    )
    whole = data.train
    if held_out is None:
        return data
    # The held-out rows choose the depth by their plain score.
    chosen_by = replace(whole.take(held_out), sample_weight=None)
    return replace(data, train=whole.take(train), validation=chosen_by)
