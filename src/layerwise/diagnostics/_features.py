"""What features are like, from the features alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SILENT = 1e-6


def effective_rank(features: NDArray[Any]) -> float:
    """How many directions features make use of, between 1 and the smaller side of their matrix.

    The exponential of the entropy of the singular values' shares, of centred features. 0 where
    all rows are the same.

    Args:
        features: `(n_samples, n_features)`.

    >>> import numpy as np
    >>> round(effective_rank(np.eye(5)), 3)  # centred, four equal directions are left
    4.0

    Reference: Roy, Vetterli, The Effective Rank: A Measure of Effective Dimensionality, 2007. There
    the matrix is taken as it is; here its columns are centred, as a mean is no variation.
    """
    centred = np.asarray(features, np.float64) - np.mean(features, axis=0, dtype=np.float64)
    singular = np.linalg.svd(centred, compute_uv=False)
    # What rounding leaves of a direction is none.
    singular = singular[singular > singular.max(initial=0.0) * max(centred.shape) * 1e-15]
    if not len(singular):
        return 0.0
    shares = singular / singular.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def linear_cka(one: NDArray[Any], two: NDArray[Any]) -> float:
    """How alike two layers represent the same rows, from 0 to 1; NaN where one is constant.

    Args:
        one, two: `(n_samples, n_features)`, of as many rows.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 4))
    >>> turned = x @ np.linalg.qr(np.random.default_rng(1).normal(size=(4, 4)))[0]
    >>> round(linear_cka(x, 3 * turned), 6)
    1.0

    Reference: Kornblith, Norouzi, Lee, Hinton, Similarity of Neural Network Representations
    Revisited, 2019, the linear kernel.
    """
    a, b = (np.asarray(x, np.float64) - np.mean(x, axis=0, dtype=np.float64) for x in (one, two))
    if min(a.shape[1], b.shape[1]) > len(a):
        # The same numbers from the products of rows, where those are the smaller matrices.
        rows_a, rows_b = a @ a.T, b @ b.T
        shared, own = np.sum(rows_a * rows_b), np.linalg.norm(rows_a) * np.linalg.norm(rows_b)
    else:
        shared = np.sum(np.square(a.T @ b))
        own = np.linalg.norm(a.T @ a) * np.linalg.norm(b.T @ b)
    return float(shared / own) if own > 0 else float("nan")


def dead_share(features: NDArray[Any]) -> float:
    """The share of units that give the same for every row, as a relu that is never active does.

    Args:
        features: `(n_samples, n_features)`.
    """
    features = np.asarray(features, np.float64)
    spread = features.std(axis=0)
    return float(np.mean(spread <= _SILENT * max(float(spread.max(initial=0.0)), 1e-30)))
