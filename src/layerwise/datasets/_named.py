"""The data sets that go by a name."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from layerwise._random import Stream, derive
from layerwise.datasets import _originals
from layerwise.datasets._dataset import Dataset
from layerwise.datasets._split import Split
from layerwise.datasets._subsets import of_pixels
from layerwise.errors import InputError

_TABLES = ("breast_cancer", "diabetes", "iris", "wine")
NAMES = ("blobs", "digits", *_TABLES, *_originals.NAMES)


def load_dataset(
    name: str,
    *,
    validation_split: float = 0.2,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Load a known data set, split and scaled.

    - `blobs`: three overlapping clusters in the plane; rows 1 to 500 train, 501 to 1000 test.
    - `digits`: 1,797 images of 8 x 8 as rows of 64 numbers from 0 to 1; a quarter is for test.
    - `iris`, `wine`, `breast_cancer` (classes), `diabetes` (values, standardized): scikit-learn's
      tables, each column standardized by the training rows; a quarter is for test.
    - `mnist`, `fashion-mnist` `(28, 28)`, `cifar10` `(32, 32, 3)`: pixels from 0 to 1, the
      published test part.
    - `abalone`: sex as three columns and seven measurements, standardized by the training rows;
      the number of rings, as it is; the last 1,000 of 4,177 rows are for test.

    Args:
        name: one of the names above.
        validation_split: the share of the training rows held out to choose the depth; 0 for none.
        seed: of the splits; `blobs` and the published test parts are fixed.
        data_dir: for the last four, a folder with the original files; default: the environment
            variable LAYERWISE_DATA, else what `keras.datasets` can reach.

    Raises:
        InputError: the name is unknown or the files cannot be had.

    Example:
        >>> from layerwise import load_dataset
        >>> load_dataset("digits").train.x.shape
        (1077, 64)
    """
    if name not in NAMES:
        raise InputError(f"Unknown data set {name!r}. Choose one of: {', '.join(NAMES)}.")
    if name == "blobs":
        from sklearn.datasets import make_blobs

        x, y = make_blobs(n_samples=1000, centers=3, n_features=2, cluster_std=2, random_state=2)
        train, test = (x[:500], y[:500]), (x[500:], y[500:])
    elif name in _originals.NAMES:
        train, test = _originals.load(name, data_dir)
    else:
        train, test = _scikit_learn(name, seed)
    data = Dataset.from_arrays(
        *train, validation_split=validation_split, test_data=test, seed=seed, name=name
    )
    if name in _originals.IMAGES:
        return of_pixels(data)
    if name == "abalone":
        return _standardized(data, targets=False)
    return _standardized(data) if name in _TABLES else data


def _scikit_learn(name: str, seed: int) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    from sklearn import datasets
    from sklearn.model_selection import train_test_split

    x, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if name == "digits":
        x = x / 16
    x_train, x_test, y_train, y_test = train_test_split(
        x,
        y,
        test_size=0.25,
        random_state=derive(seed, Stream.SPLIT, 1),
        stratify=y if y.dtype.kind == "i" else None,
    )
    return (x_train, y_train), (x_test, y_test)


def _standardized(data: Dataset, *, targets: bool = True) -> Dataset:
    """Mean 0 and spread 1 by the training rows alone, targets that are values included."""
    keep = data.classes is not None or not targets

    def scaled(split: Split | None) -> Split | None:
        if split is None:
            return None
        x = (split.x - mean) / np.where(spread > 0, spread, 1)
        y = split.y if keep else (split.y - y_mean) / y_spread
        return Split(x.astype(split.x.dtype), y.astype(split.y.dtype), split.sample_weight)

    mean, spread = data.train.x.mean(axis=0), data.train.x.std(axis=0)
    y_mean, y_spread = data.train.y.mean(axis=0), data.train.y.std(axis=0)
    train = scaled(data.train)
    assert train is not None
    return Dataset(train, scaled(data.validation), scaled(data.test), data.labels, data.name)
