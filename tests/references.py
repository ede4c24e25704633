"""Objectives in NumPy, in float64, and their gradients by finite differences.

Written from the papers that the objectives name, where they can by another road than the code:
correlations by `np.corrcoef`, Jacobians by a complex step, free energies by a sum over all hidden
states. Weights come in the order of the layers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.special import rel_entr

Array = Any
ROWS = 7
CLASSES = np.array([0, 1, 2, 0, 1, 2, 2], "int32")
VALUES = np.random.default_rng(8).normal(size=(ROWS, 2))
VECTORS = np.random.default_rng(1).random((2, ROWS, 6))
"""Two views, in [0, 1]."""
IMAGES = np.random.default_rng(2).normal(size=(2, ROWS, 4, 4, 2))
DATA = np.random.default_rng(3).normal(size=(ROWS, 5))
"""What the first stage sees."""


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


def cross_entropy(scores: Array, labels: Array) -> Array:
    """The mean of -log softmax at the label."""
    return np.mean(
        [np.log(np.exp(row - row[k]).sum()) for row, k in zip(scores, labels, strict=True)]
    )


def code(x: Array, w: Array, c: Array) -> Array:
    return np.tanh(x @ w + c)


def maps(x: Array, w: Array, c: Array) -> Array:
    """The same, a bias and tanh."""
    return np.tanh(linear_maps(x, w) + c)


def linear_maps(x: Array, w: Array) -> Array:
    """A 3 x 3 convolution with zeros around."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2))
    return np.einsum("bhwiyx,yxio->bhwo", windows, w)


def projected(x: Array, w: Array, c: Array, u: Array, d: Array, v: Array, e: Array) -> Array:
    return np.maximum(code(x, w, c) @ u + d, 0) @ v + e


def classify(w: Array, c: Array, u: Array, d: Array) -> Array:
    return cross_entropy(code(VECTORS[0], w, c) @ u + d, CLASSES)


def regress(w: Array, c: Array, u: Array, d: Array) -> Array:
    return np.mean((code(VECTORS[0], w, c) @ u + d - VALUES) ** 2)


def restore(w: Array, c: Array, u: Array, d: Array) -> Array:
    return np.mean((code(VECTORS[0], w, c) @ u + d - VECTORS[0]) ** 2)


def restore_data(w: Array, c: Array, u: Array, d: Array) -> Array:
    return np.mean((code(VECTORS[0], w, c) @ u + d - DATA) ** 2)


def tied_cross_entropy(w: Array, c: Array, b: Array) -> Array:
    x, given = VECTORS[0], sigmoid(sigmoid(VECTORS[0] @ w + c) @ w.T + b)
    return -np.mean(x * np.log(given) + (1 - x) * np.log(1 - given))


def log_loss(w: Array, c: Array, u: Array, d: Array) -> Array:
    x, given = VECTORS[0], sigmoid(code(VECTORS[0], w, c) @ u + d)
    return -np.mean(x * np.log(given) + (1 - x) * np.log(1 - given))


def contractive(activation: Callable[[Array], Array]) -> Callable[..., Array]:
    """Squared error plus 0.3 times the squared Jacobian, which a complex step gives."""

    def reference(w: Array, c: Array, u: Array, d: Array) -> Array:
        x, step = VECTORS[0], 1e-20
        columns = [activation((x + 1j * step * e) @ w + c).imag / step for e in np.eye(6)]
        error = np.mean((activation(x @ w + c) @ u + d - x) ** 2)
        return error + 0.3 * np.mean(np.sum(np.square(columns), axis=(0, 2)))

    return reference


def sparse(w: Array, c: Array, u: Array, d: Array) -> Array:
    h = sigmoid(VECTORS[0] @ w + c)
    mean = h.mean(axis=0)
    rare = np.sum(rel_entr(0.1, mean) + rel_entr(0.9, 1 - mean))
    return np.mean((h @ u + d - VECTORS[0]) ** 2) + 0.2 * rare


def match(these: Array, those: Array) -> Array:
    """Of two sets of rows, how far the matrices of correlations between rows lie apart."""
    return np.mean((np.corrcoef(these) - np.corrcoef(those)) ** 2)


def match_labels(w: Array, c: Array, u: Array) -> Array:
    return match(code(VECTORS[0], w, c) @ u, np.eye(3)[CLASSES])


def match_features(w: Array, c: Array, u: Array) -> Array:
    return match(code(VECTORS[0], w, c) @ u, VECTORS[0])


def match_maps(w: Array, c: Array, u: Array) -> Array:
    """Feature maps stand for their standard deviations."""
    deviations = linear_maps(maps(IMAGES[0], w, c), u).std(axis=(1, 2))
    return match(deviations, np.eye(3)[CLASSES])


def match_few_maps(w: Array, c: Array, u: Array) -> Array:
    """Up to three feature maps stand for themselves: three deviations, centred, say little."""
    return match(linear_maps(maps(IMAGES[0], w, c), u).reshape(ROWS, -1), np.eye(3)[CLASSES])


def match_and_predict(w: Array, c: Array, p: Array, u: Array, d: Array) -> Array:
    return 0.6 * match_labels(w, c, p) + 0.4 * classify(w, c, u, d)


def tell_views_apart(*weights: Array) -> Array:
    """NT-Xent at temperature 0.2, pair by pair."""
    z = np.concatenate([projected(view, *weights) for view in VECTORS])
    z = z / np.linalg.norm(z, axis=1, keepdims=True)
    losses = []
    for i in range(2 * ROWS):
        partner = (i + ROWS) % (2 * ROWS)
        others = [np.exp(z[i] @ z[k] / 0.2) for k in range(2 * ROWS) if k != i]
        losses.append(-np.log(np.exp(z[i] @ z[partner] / 0.2) / np.sum(others)))
    return np.mean(losses)


def tell_patches_apart(w: Array, c: Array, u: Array) -> Array:
    """InfoNCE between a patch and the one below it, on a grid of 2 x 2, patch by patch."""
    patches = [
        [maps(IMAGES[0][:, r : r + 2, q : q + 2], w, c).mean(axis=(1, 2)) for q in (0, 2)]
        for r in (0, 2)
    ]
    above = [patches[0][q][i] for i in range(ROWS) for q in (0, 1)]
    below = [patches[1][q][i] for i in range(ROWS) for q in (0, 1)]
    scores = np.array([[(a @ u) @ b for b in below] for a in above])
    return cross_entropy(scores, range(2 * ROWS))


def barlow(*weights: Array) -> Array:
    """With 1e-5 added to variances, as the authors' BatchNorm does."""
    one, two = (projected(view, *weights) for view in VECTORS)
    both = np.cov(one, two, rowvar=False, ddof=0)
    scale = np.sqrt(np.diag(both) + 1e-5)
    c = (both / np.outer(scale, scale))[:3, 3:]
    off = c[~np.eye(3, dtype=bool)]
    return (np.sum((1 - np.diag(c)) ** 2) + 0.05 * np.sum(off**2)) / 3


def vicreg(*weights: Array) -> Array:
    """As in the authors' code: agreement is a mean, and the two variance terms are halved."""
    one, two = (projected(view, *weights) for view in VECTORS)
    loss = 25 * np.mean((one - two) ** 2)
    for z in (one, two):
        covariance = np.cov(z, rowvar=False)
        loss += 25 / 2 * np.mean(np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)))
        loss += np.sum(covariance[~np.eye(3, dtype=bool)] ** 2) / 3
    return loss


def keep_and_classify(w: Array, c: Array, u: Array, d: Array, v: Array, e: Array) -> Array:
    return 0.5 * classify(w, c, u, d) + 2 * restore_data(w, c, v, e)


def keep_and_regress(w: Array, c: Array, u: Array, d: Array, v: Array, e: Array) -> Array:
    return regress(w, c, u, d) + restore_data(w, c, v, e)


def mixed(first: float) -> Callable[..., Array]:
    def reference(w: Array, c: Array, u: Array, d: Array, v: Array, e: Array) -> Array:
        return first * classify(w, c, u, d) + (1 - first) * restore(w, c, v, e)

    return reference


def mixed_values(w: Array, c: Array, u: Array, d: Array, v: Array, e: Array) -> Array:
    return 0.3 * regress(w, c, u, d) + 0.7 * restore(w, c, v, e)


def mixed_twice(w: Array, c: Array, p: Array, u: Array, d: Array, v: Array, e: Array) -> Array:
    inner = 0.25 * classify(w, c, u, d) + 0.75 * restore(w, c, v, e)
    return 0.5 * match_labels(w, c, p) + 0.5 * inner


def free_energies(v: Array, w: Array, c: Array, b: Array, gaussian: bool) -> Array:
    """-log of the sum of exp(-energy) over all states of the hidden units."""
    states = np.array(list(itertools.product([0.0, 1.0], repeat=len(c))))
    alone = -0.5 * np.sum((v - b) ** 2, axis=1) if gaussian else v @ b
    return -np.log(np.sum(np.exp(alone[:, None] + states @ c + v @ w @ states.T), axis=1))


def differences(function: Callable[..., Array], weights: list[Array]) -> list[Array]:
    """The gradient of a reference, by central differences."""
    gradients = [np.zeros_like(w) for w in weights]
    for weight, gradient in zip(weights, gradients, strict=True):
        for at in np.ndindex(weight.shape):
            kept, ends = weight[at], []
            for step in (1e-5, -1e-5):
                weight[at] = kept + step
                ends.append(function(*weights))
            weight[at] = kept
            gradient[at] = (ends[0] - ends[1]) / 2e-5
    return gradients


def worst(ours: list[Array], theirs: list[Array]) -> float:
    """The largest deviation, relative to the largest entry."""
    scale = max(np.abs(t).max() for t in theirs)
    return max(np.abs(o - t).max() for o, t in zip(ours, theirs, strict=True)) / scale
