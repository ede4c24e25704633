"""Products with narrow matrices in the order in which XLA multiplies them fast, against float64."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="about JAX")

NARROW = {
    "ten classes": (250, 10, 256),
    "the narrow one on the right": (250, 256, 10),
    "one column": (32, 1, 4),
    "as many columns as rows": (20, 20, 80),
}
OTHERS = {
    "of about one width": (250, 65, 256),
    "more columns than rows": (20, 21, 100),
}


def product(left: Any, right: Any) -> Any:
    """The sum over the rows of both, as the gradient of a kernel has it."""
    from jax import lax

    return lax.dot_general(left, right, (((0,), (0,)), ((), ())))


@pytest.mark.parametrize("name", [*NARROW, *OTHERS])
def test_products_are_those_of_float64(name: str) -> None:
    """To 1e-6 of the largest; and only the narrow ones are held back from being turned round."""
    import jax

    from layerwise.engine._canonical import canonical

    rows, left, right = (NARROW | OTHERS)[name]
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(rows, left)), rng.normal(size=(rows, right))
    arguments = a.astype("float32"), b.astype("float32")
    got = jax.jit(canonical(product))(*arguments)
    exact = arguments[0].astype("float64").T @ arguments[1].astype("float64")
    assert got.dtype == np.float32
    np.testing.assert_allclose(np.asarray(got), exact, rtol=0, atol=1e-6 * np.abs(exact).max())
    program = str(jax.make_jaxpr(canonical(product))(*arguments))
    assert ("optimization_barrier" in program) == (name in NARROW)


def test_what_is_asked_of_a_product_stays_asked() -> None:
    """Half precision in, single precision out, through a loop and a gradient."""
    import jax
    import jax.numpy as jnp

    from layerwise.engine._canonical import canonical

    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(5, 40, 32)), "bfloat16")
    kernel = jnp.asarray(rng.normal(size=(32, 3)), "bfloat16")

    def loss(kernel: Any) -> Any:
        def add(total: Any, rows: Any) -> Any:
            made = jnp.matmul(rows, kernel, preferred_element_type="float32")
            return total + jnp.sum(made**2), None

        return jax.lax.scan(add, jnp.float32(0), x)[0]

    plain, ours = (jax.jit(f)(kernel) for f in (jax.grad(loss), canonical(jax.grad(loss))))
    assert "optimization_barrier" in str(jax.make_jaxpr(canonical(jax.grad(loss)))(kernel))
    assert ours.dtype == plain.dtype == jnp.bfloat16
    wide, exact = np.asarray(x, "float64").reshape(-1, 32), np.asarray(kernel, "float64")
    expected = 2 * wide.T @ (wide @ exact)
    # The sum over five blocks is kept in bfloat16, whose steps are 1/256.
    np.testing.assert_allclose(
        np.asarray(ours, "float64"), expected, rtol=0, atol=np.abs(expected).max() / 64
    )
    np.testing.assert_array_equal(np.asarray(ours, "float64"), np.asarray(plain, "float64"))
