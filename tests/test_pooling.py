"""Pooling and its gradient, held against XLA's own."""

from __future__ import annotations

from collections.abc import Callable
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


def summed(case: dict[str, Any]) -> Any:
    """A function that sums the windows of an image."""
    from jax import lax

    window, strides = ((1, *case[key], 1) for key in ("window", "strides"))

    def pool(x: Any) -> Any:
        return lax.reduce_window(x, 0.0, lax.add, window, strides, case.get("padding", "VALID"))

    return pool


def gradient_of(case: dict[str, Any], of: Callable[..., Any] = pooled) -> Any:
    """A function of the image: how a weighted sum of what is pooled rises with it."""
    import jax

    pool = of(case)

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


@pytest.mark.parametrize("content", ["normal", "ties", "nothing larger", "not a number"])
@pytest.mark.parametrize("name", CASES)
def test_what_is_pooled_is_what_xla_pools(name: str, content: str) -> None:
    """To the bit."""
    import jax

    from layerwise.engine._canonical import canonical

    case, x = CASES[name], images(CASES[name], content)
    function = pooled(case)
    np.testing.assert_array_equal(jax.jit(canonical(function))(x), jax.jit(function)(x))
    program = str(jax.make_jaxpr(canonical(function))(x))
    assert ("reduce_window" in program) == (name == "a large window")


def test_whole_numbers_and_dilated_windows_are_pooled_by_xla() -> None:
    import jax.numpy as jnp
    from jax import lax

    from layerwise.engine._canonical import canonical

    whole = jnp.arange(48, dtype="int32").reshape(2, 6, 4) % 7
    lowest = jnp.iinfo("int32").min
    for x, start, dilation in ((whole, lowest, (1, 1, 1)), (whole / 2, -jnp.inf, (1, 2, 1))):

        def pool(x: Any, start: Any = start, dilation: tuple[int, ...] = dilation) -> Any:
            return lax.reduce_window(
                x, start, lax.max, (1, 2, 1), (1, 1, 1), "VALID", window_dilation=dilation
            )

        np.testing.assert_array_equal(canonical(pool)(x), pool(x))


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_of_a_mean_is_spread_as_xla_spreads_it(name: str) -> None:
    """To the bit; only windows that do not overlap are summed axis by axis."""
    import jax

    from layerwise.engine._canonical import canonical

    case, x = CASES[name], images(CASES[name], "normal")
    function = gradient_of(case, summed)
    weights = np.random.default_rng(1).normal(size=jax.eval_shape(summed(case), x).shape)
    arguments = x, weights.astype("float32")
    expected = np.asarray(jax.jit(function)(*arguments))
    np.testing.assert_array_equal(jax.jit(canonical(function))(*arguments), expected)
    assert np.abs(expected).max() > 0
    apart = all(a <= b for a, b in zip(case["window"], case["strides"], strict=True))
    program = str(jax.make_jaxpr(canonical(function))(*arguments))
    pooled_at_once = str((1, *case["window"], 1)) in program.split("pad[")[-1]
    assert pooled_at_once == (not apart or len(case["window"]) == 1)


@pytest.mark.parametrize("between", [0.0, 0.1])
def test_only_windows_of_one_number_and_zeros_are_summed_axis_by_axis(between: float) -> None:
    import jax
    from jax import lax

    from layerwise.engine._canonical import canonical

    def spread(x: Any) -> Any:
        wide = lax.pad(x, between, [(0, 0, 0), (2, 2, 2), (2, 2, 2)])
        return lax.reduce_window(wide, 0.0, lax.add, (1, 3, 3), (1, 1, 1), "VALID")

    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    np.testing.assert_array_equal(jax.jit(canonical(spread))(x), jax.jit(spread)(x))
    assert ("(1, 3, 3)" in str(jax.make_jaxpr(canonical(spread))(x))) == bool(between)
