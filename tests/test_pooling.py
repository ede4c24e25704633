"""The gradient of max pooling, held against XLA's own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="about JAX")

CASES: dict[str, dict[str, Any]] = {
    "halves": {"shape": (3, 8, 8, 2), "window": (2, 2), "strides": (2, 2)},
    "rows left over": {"shape": (3, 9, 7, 2), "window": (2, 2), "strides": (2, 2)},
    "overlapping": {"shape": (3, 9, 9, 2), "window": (3, 3), "strides": (2, 2)},
    "gaps between": {"shape": (3, 11, 11, 2), "window": (2, 2), "strides": (3, 3)},
    "same": {"shape": (3, 9, 9, 2), "window": (3, 3), "strides": (2, 2), "padding": "SAME"},
    "more padding than image": {
        "shape": (2, 3, 3, 1),
        "window": (3, 3),
        "strides": (1, 1),
        "padding": ((0, 0), (4, 4), (4, 4), (0, 0)),
    },
    "a sequence": {"shape": (3, 12, 2), "window": (4,), "strides": (4,)},
    "a volume": {"shape": (2, 4, 4, 6, 2), "window": (2, 2, 2), "strides": (2, 2, 2)},
    "a large window": {"shape": (2, 12, 12, 2), "window": (6, 6), "strides": (6, 6)},
}


def pooled(case: dict[str, Any]) -> Any:
    """A function that pools an image."""
    import jax.numpy as jnp
    from jax import lax

    window, strides = ((1, *case[key], 1) for key in ("window", "strides"))

    def pool(x: Any) -> Any:
        return lax.reduce_window(
            x, -jnp.inf, lax.max, window, strides, case.get("padding", "VALID")
        )

    return pool


def gradient_of(case: dict[str, Any]) -> Any:
    """A function of the image: how a weighted sum of what is pooled rises with it."""
    import jax

    pool = pooled(case)

    def total(x: Any, weights: Any) -> Any:
        return (pool(x) * weights).sum()

    return jax.grad(total)


def images(case: dict[str, Any], content: str) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=case["shape"]).astype("float32")
    if content == "ties":
        return np.round(np.maximum(x, 0))
    if content == "nothing larger":
        return np.full_like(x, -np.inf)
    if content == "not a number":
        x[rng.random(x.shape) < 0.2] = np.nan
    return x


@pytest.mark.parametrize("content", ["normal", "ties", "nothing larger", "not a number"])
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_the_largest_goes_where_xla_sends_it(name: str, content: str) -> None:
    """To 1e-6: where windows overlap, gradients are summed in another order."""
    import jax

    from layerwise.engine._canonical import canonical

    case, x = CASES[name], images(CASES[name], content)
    shape = jax.eval_shape(pooled(case), x).shape
    weights = np.random.default_rng(1).normal(size=shape).astype("float32")
    function = gradient_of(case)
    expected = np.asarray(jax.jit(function)(x, weights))
    got = np.asarray(jax.jit(canonical(function))(x, weights))
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-6)
    assert np.abs(expected).max() > 0
    program = str(jax.make_jaxpr(canonical(function))(x, weights))
    assert ("select_and_scatter" in program) == (name == "a large window")
