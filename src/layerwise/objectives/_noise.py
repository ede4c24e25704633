"""Random corruptions of a batch, drawn from the stage's own stream."""

from __future__ import annotations

from collections.abc import Callable

import keras
from keras import ops

from layerwise._typing import Array


def masking(x: Array, rate: float, seed: keras.random.SeedGenerator) -> Array:
    """Set each element to 0 with probability `rate`; nothing is scaled up in return."""
    return x * ops.cast(keras.random.uniform(ops.shape(x), seed=seed) >= rate, x.dtype)


def gaussian(x: Array, deviation: float, seed: keras.random.SeedGenerator) -> Array:
    """Add normal noise of this standard deviation."""
    return x + deviation * keras.random.normal(ops.shape(x), dtype=x.dtype, seed=seed)


def salt_and_pepper(x: Array, rate: float, seed: keras.random.SeedGenerator) -> Array:
    """Set each element with probability `rate` to 0 or, as likely, to 1."""
    draw = keras.random.uniform(ops.shape(x), dtype=x.dtype, seed=seed)
    return ops.where(draw < rate / 2, ops.zeros_like(x), ops.where(draw < rate, 1.0, x))


NOISES: dict[str, Callable[[Array, float, keras.random.SeedGenerator], Array]] = {
    "masking": masking,
    "gaussian": gaussian,
    "salt_and_pepper": salt_and_pepper,
}


def bernoulli(probability: Array, seed: keras.random.SeedGenerator) -> Array:
    """Ones with these probabilities, else zeros; no gradient passes."""
    draw = keras.random.uniform(ops.shape(probability), dtype=probability.dtype, seed=seed)
    return ops.stop_gradient(ops.cast(draw < probability, probability.dtype))
