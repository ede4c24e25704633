"""What can be read out of features by a linear model."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def linear_probe(
    x: NDArray[Any], y: NDArray[Any], held_x: NDArray[Any], held_y: NDArray[Any], *, classes: bool
) -> float:
    """The score on held rows of a linear model that is trained on features.

    Logistic regression or ridge regression of scikit-learn with their default penalty of 1, on
    features brought to mean 0 and variance 1.

    Args:
        x, y: `(n_samples, n_features)` and `(n_samples, ...)` to train on.
        held_x, held_y: to score on.
        classes: whether `y` are classes, scored by accuracy; values are scored by R2.

    Reference: Alain, Bengio, Understanding Intermediate Layers Using Linear Classifier Probes,
    2016. There probes train along with the network, by gradient steps.
    """
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if classes and len(np.unique(y)) == 1:
        return float(np.mean(held_y == y[0]))
    model = LogisticRegression(max_iter=200, tol=1e-3) if classes else Ridge()
    probe = make_pipeline(StandardScaler(), model)
    return float(probe.fit(np.asarray(x, np.float64), y).score(held_x, held_y))


def reconstruction(
    features: NDArray[Any], x: NDArray[Any], held_features: NDArray[Any], held_x: NDArray[Any]
) -> float:
    """The share of the inputs' variance on held rows that a linear map from features gives back.

    Ridge regression with a penalty of 1 on standardized features. 1 is all of it; near 0 or
    below, the features have lost the input, or hold it in no linear way.

    Args:
        features, x: `(n_samples, n_features)` and `(n_samples, n_inputs)` to fit on.
        held_features, held_x: to score on.
    """
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    decoder = make_pipeline(StandardScaler(), Ridge()).fit(np.asarray(features, np.float64), x)
    lost = np.square(held_x - decoder.predict(np.asarray(held_features, np.float64))).sum()
    whole = np.square(held_x - np.mean(x, axis=0)).sum()
    return float(1 - lost / whole) if whole > 0 else float("nan")
