"""Convolutions in the form of XLA's fast CPU kernel, held against float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="about JAX")

CASES: dict[str, dict[str, Any]] = {
    "same": {"x": (40, 24, 24, 3), "w": (3, 3, 3, 4)},
    "strided": {"x": (40, 33, 25, 2), "w": (3, 5, 2, 4), "strides": (2, 1)},
    "dilated": {"x": (40, 24, 24, 3), "w": (3, 3, 3, 4), "rhs_dilation": (2, 2)},
    "valid": {"x": (40, 24, 24, 3), "w": (1, 1, 3, 4), "padding": "VALID"},
    "a sequence": {"x": (40, 600, 3), "w": (5, 3, 4)},
    "a volume": {"x": (10, 9, 15, 15, 2), "w": (3, 3, 3, 2, 2)},
    "many channels": {"x": (2, 7, 7, 2000), "w": (3, 3, 2000, 2), "strides": (2, 2)},
    "depthwise": {"x": (40, 24, 24, 4), "w": (3, 3, 1, 4), "feature_group_count": 4},
    "a part left over": {"x": (41, 24, 24, 3), "w": (3, 3, 3, 4)},
    "small": {"x": (4, 6, 6, 3), "w": (3, 3, 3, 4)},
    "large images": {"x": (5, 160, 160, 33), "w": (3, 3, 33, 2)},
    "many filters": {"x": (300, 10, 9, 32), "w": (3, 3, 32, 33)},
    "many filters, a few images": {"x": (3, 12, 9, 40), "w": (3, 2, 40, 40)},
    "many filters, uneven": {
        "x": (40, 15, 12, 33),
        "w": (4, 2, 33, 40),
        "padding": [(2, 3), (0, 4)],
    },
    "many filters, one pixel": {"x": (70, 10, 12, 64), "w": (1, 1, 64, 16)},
    "many filters, valid": {"x": (60, 17, 16, 32), "w": (3, 5, 32, 32), "padding": "VALID"},
    "many filters, a kernel larger than what it makes": {
        "x": (140, 6, 6, 32),
        "w": (5, 5, 32, 32),
        "padding": "VALID",
    },
    "many filters, cut off": {
        "x": (60, 17, 16, 32),
        "w": (1, 3, 32, 32),
        "padding": [(-2, 1), (1, -3)],
    },
    "many filters, tiles": {"x": (70, 16, 12, 48), "w": (3, 3, 48, 64)},
    "many filters, tiles that are not whole": {"x": (43, 15, 17, 64), "w": (3, 3, 64, 32)},
    "many filters, tiles, valid": {"x": (50, 18, 17, 40), "w": (3, 3, 40, 56), "padding": "VALID"},
    "many filters, tiles, uneven": {
        "x": (65, 14, 16, 48),
        "w": (3, 3, 48, 48),
        "padding": [(2, 0), (-1, 3)],
    },
    "many filters, tiles, a few images": {"x": (3, 8, 12, 64), "w": (3, 3, 64, 40)},
    "a sequence of many filters": {"x": (70, 90, 32), "w": (5, 32, 48)},
    "large images, many filters": {"x": (3, 75, 75, 96), "w": (3, 3, 96, 16)},
    "large images, strided": {"x": (9, 160, 160, 17), "w": (3, 3, 17, 2), "strides": (2, 1)},
}
WHOLE = {
    "depthwise",
    "small",
    "many filters, a few images",
    "many filters, tiles, a few images",
    "a sequence of many filters",
}
"""Those that are not computed in parts."""


def gradients_of(case: dict[str, Any]) -> Any:
    """A function of the image and the kernel: how the convolution's loss falls with both."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    options = {key: value for key, value in case.items() if key not in ("x", "w")}
    options.setdefault("padding", "SAME")
    strides = options.pop("strides", (1,) * (len(case["x"]) - 2))
    letters = "DHW"[5 - len(case["x"]) :]
    order = (f"N{letters}C", f"{letters}IO", f"N{letters}C")

    def loss(x: Any, w: Any) -> Any:
        made = lax.conv_general_dilated(x, w, strides, dimension_numbers=order, **options)
        return jnp.mean(made**2)

    return jax.grad(loss, (0, 1))


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_float64(name: str) -> None:
    """To 1e-6 of the largest; XLA's own sum over whole images was seen 1.3e-5 away."""
    import jax

    from layerwise.engine._canonical import canonical

    case = CASES[name]
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=case[key]) for key in ("x", "w"))
    function = gradients_of(case)
    with jax.enable_x64(True):
        exact = [np.asarray(g) for g in jax.jit(function)(x, w)]
        assert exact[0].dtype == np.float64
    arguments = x.astype("float32"), w.astype("float32")
    ours = jax.jit(canonical(function))(*arguments)
    for got, expected in zip(ours, exact, strict=True):
        assert got.dtype == np.float32
        bound = 1e-6 * np.abs(expected).max()
        np.testing.assert_allclose(np.asarray(got), expected, rtol=0, atol=bound)
    program = str(jax.make_jaxpr(canonical(function))(*arguments))
    assert any(loop in program for loop in ("scan[", "while[")) == (name not in WHOLE)
    assert ("conv_general_dilated" not in program) == name.startswith("many filters")
    # Sixteen products each, and four that turn a gradient.
    assert "tiles" not in name or program.count("dot_general") >= 3 * 16 + 4


def inside_of(function: Any, *arguments: Any) -> Any:
    """The one program in it that is computed again on the way back."""
    import jax

    equations = jax.make_jaxpr(function)(*arguments).jaxpr.eqns
    [inside] = [e.params["jaxpr"] for e in equations if e.primitive.name == "remat2"]
    return inside


@pytest.mark.parametrize("name", ["same", "many filters", "a part left over"])
def test_what_is_computed_again_is_in_that_form_as_well(name: str) -> None:
    """Under `jax.checkpoint` gradients are those of XLA, to 2e-5 of the largest, and the rest is
    still computed again on the way back."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    from layerwise.engine._canonical import canonical

    case = CASES[name]
    rng = np.random.default_rng(0)
    x, w = (rng.normal(size=case[key]).astype("float32") for key in ("x", "w"))

    def made(x: Any, w: Any) -> Any:
        order = ("NHWC", "HWIO", "NHWC")
        found = lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=order)
        pooled = lax.reduce_window(
            jnp.sin(found), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME"
        )
        return jnp.mean(pooled**2)

    plain = jax.grad(made, (0, 1))
    again = canonical(jax.grad(jax.checkpoint(made), (0, 1)))
    assert "select_and_scatter_add" in str(inside_of(jax.grad(jax.checkpoint(made), (0, 1)), x, w))
    assert "select_and_scatter_add" not in str(inside_of(again, x, w))
    for ours, theirs in zip(jax.jit(again)(x, w), jax.jit(plain)(x, w), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * float(np.abs(theirs).max()))


def test_a_form_with_constants_inside_what_is_computed_again(monkeypatch: Any) -> None:
    """That program cannot hold them, so it is given them: before its own arguments."""
    import jax
    import jax.numpy as jnp
    from jax import lax

    from layerwise.engine import _canonical

    table = jnp.arange(3.0)

    def form(x: Any, **_: Any) -> Any:
        return lax.sin(x) + table

    monkeypatch.setitem(_canonical.FORMS, lax.cos_p, form)
    monkeypatch.setattr(_canonical, "_KNOWN", {lax.cos_p})
    x = np.array([0.1, 0.2, 0.3], "float32")
    function = jax.grad(lambda x: jax.checkpoint(lambda x: jnp.sin(2 * jnp.sin(x)))(x).sum())
    cosines = _canonical.canonical(function)
    assert len(inside_of(cosines, x).invars) == len(inside_of(function, x).invars) + 1
    outer, inner = (np.sin(v) + np.arange(3) for v in (2 * np.sin(x), x))
    np.testing.assert_allclose(cosines(x), 2 * outer * inner, rtol=1e-6)
