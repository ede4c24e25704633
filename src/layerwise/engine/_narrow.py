"""Products of a transposed matrix with one that has far fewer columns: the gradient of a head.

The gradient of a kernel is `x.T @ g`. XLA's CPU compiler multiplies it in that order even where it
is written as `(g.T @ x).T`, and packs the whole of `x` transposed, which for ten classes takes
several times as long as the product itself. A barrier before the transposition makes it pack `g`.
"""

from __future__ import annotations

from typing import Any

from jax import lax
from jax.extend import core

_ROWS = (((0,), (0,)), ((), ()))
"""The dimension numbers of a product that sums over the rows of both."""
_FEWER = 4
"""So many times fewer columns are far fewer: below, what is gained is lost in the transposition."""


def is_narrow(equation: core.JaxprEqn) -> bool:
    """Whether an operation is such a product."""
    if equation.primitive is not lax.dot_general_p:
        return False
    operands: list[Any] = [atom.aval for atom in equation.invars]
    left, right = (operand.shape for operand in operands)
    if equation.params["dimension_numbers"] != _ROWS or len(left) != 2 or len(right) != 2:
        return False
    if equation.params["out_sharding"] is not None:
        return False
    few, many = sorted((left[1], right[1]))
    return bool(few * _FEWER <= many and few <= left[0])


def narrow_product(left: Any, right: Any, **parameters: Any) -> Any:
    """The sum over the rows of both, with the narrow one packed."""
    barrier: Any = lax.optimization_barrier
    if left.shape[1] <= right.shape[1]:
        return barrier(lax.dot_general_p.bind(left, right, **parameters))
    if isinstance(parameters["precision"], tuple):
        parameters["precision"] = parameters["precision"][::-1]
    return lax.transpose(barrier(lax.dot_general_p.bind(right, left, **parameters)), (1, 0))
