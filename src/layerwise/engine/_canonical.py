"""Convolutions that stay fast inside a loop on a CPU.

XLA's pass that brings convolutions into the form of the fast CPU kernel visits only the entry
computation of a program. Inside a loop body, the gradients of Keras' convolutions, which have
unusual dimension orders, take a naive path that is 60 to 70 times slower (jax issue 12868). So
this module brings them into that form itself, when the step is traced: transpose to NHWC and
HWIO, convolve, transpose back. The transposes change no number.

That kernel unrolls each patch into a row of a matrix. In the gradient of a convolution's weights
the patch is a whole image of every row of the batch, and the matrix far larger than any cache;
summed over a few images at a time, it takes a quarter of the time. The sum is then in another
order, and nearer to the exact one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend import core


def canonical(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, its convolutions in the order that XLA's CPU kernel wants."""

    def traced(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        flat = jax.tree.leaves(arguments)
        if not _has_convolution(closed.jaxpr):
            return function(*arguments)
        results = _replay(closed.jaxpr, closed.consts, flat)
        return jax.tree.unflatten(jax.tree.structure(shape), results)

    return traced


def _inner(parameters: dict[str, Any]) -> list[tuple[str, int | None, core.ClosedJaxpr]]:
    """The programs nested in an equation: (parameter, position in it, program)."""
    found: list[tuple[str, int | None, core.ClosedJaxpr]] = []
    for name, value in parameters.items():
        if isinstance(value, core.ClosedJaxpr):
            found.append((name, None, value))
        elif isinstance(value, (tuple, list)):
            found.extend(
                (name, i, item)
                for i, item in enumerate(value)
                if isinstance(item, core.ClosedJaxpr)
            )
    return found


def _has_convolution(jaxpr: core.Jaxpr) -> bool:
    return any(
        equation.primitive is lax.conv_general_dilated_p
        or any(_has_convolution(inner.jaxpr) for _, _, inner in _inner(equation.params))
        for equation in jaxpr.eqns
    )


def _replay(jaxpr: core.Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Run a program's equations one by one, convolutions by `_convolve`."""
    values: dict[core.Var, Any] = {}

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for variables, given in ((jaxpr.constvars, constants), (jaxpr.invars, arguments)):
        values.update(zip(variables, given, strict=True))
    for equation in jaxpr.eqns:
        inputs = [read(atom) for atom in equation.invars]
        primitive: Any = equation.primitive
        if primitive is lax.conv_general_dilated_p:
            outputs = [_convolve(*inputs, **equation.params)]
        else:
            parameters = equation.params
            if any(_has_convolution(inner.jaxpr) for _, _, inner in _inner(parameters)):
                parameters = _rewritten(parameters)
            with equation.ctx.manager:
                outputs = primitive.bind(*inputs, **primitive.get_bind_params(parameters))
            if not primitive.multiple_results:
                outputs = [outputs]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _rewritten(parameters: dict[str, Any]) -> dict[str, Any]:
    """The parameters of a loop, branch or call with the programs inside made canonical."""
    new = dict(parameters)
    for name, position, inner in _inner(parameters):

        def run(*arguments: Any, inner: core.ClosedJaxpr = inner) -> list[Any]:
            return _replay(inner.jaxpr, inner.consts, arguments)

        replaced = jax.make_jaxpr(run)(*(v.aval for v in inner.jaxpr.invars))
        if position is None:
            new[name] = replaced
        else:
            items = list(new[name])
            items[position] = replaced
            new[name] = type(parameters[name])(items)
    return new


PATCH = 4096
"""Numbers of a patch that the kernel unrolls fast."""


def _convolve(lhs: Any, rhs: Any, *, dimension_numbers: Any, **parameters: Any) -> Any:
    """The same convolution; of patches that are too large, a sum over parts of their channels."""
    spec = dimension_numbers
    across, down = spec.lhs_spec[1], spec.rhs_spec[1]
    channels = rhs.shape[down]
    window = math.prod(rhs.shape[i] for i in spec.rhs_spec[2:])
    grouped = parameters["feature_group_count"] > 1 or parameters["batch_group_count"] > 1
    some = max(1, PATCH // max(window, 1))
    if grouped or window * channels < 4 * PATCH or some >= channels:
        return _transposed(lhs, rhs, dimension_numbers, parameters)

    def part(start: Any, size: int) -> Any:
        of_lhs = lax.dynamic_slice_in_dim(lhs, start, size, across)
        of_rhs = lax.dynamic_slice_in_dim(rhs, start, size, down)
        return _transposed(of_lhs, of_rhs, dimension_numbers, parameters)

    full, rest = divmod(channels, some)
    total = lax.fori_loop(1, full, lambda i, sum_: sum_ + part(i * some, some), part(0, some))
    return total + part(full * some, rest) if rest else total


def _transposed(lhs: Any, rhs: Any, spec: Any, parameters: dict[str, Any]) -> Any:
    """The same convolution on operands transposed to NHWC and HWIO, transposed back."""
    spatial = range(2, lhs.ndim)
    # Each spec lists where batch, feature, spatial axes stand; for the kernel: out, in, spatial.
    channels_last = [0, *spatial, 1]
    canonical_lhs = [spec.lhs_spec[i] for i in channels_last]
    canonical_rhs = [*(spec.rhs_spec[i] for i in spatial), spec.rhs_spec[1], spec.rhs_spec[0]]
    canonical_out = [spec.out_spec[i] for i in channels_last]
    last = lhs.ndim - 1
    order = lax.ConvDimensionNumbers(
        lhs_spec=(0, last, *range(1, last)),
        rhs_spec=(last, last - 1, *range(last - 1)),
        out_spec=(0, last, *range(1, last)),
    )
    result = lax.conv_general_dilated_p.bind(
        lax.transpose(lhs, canonical_lhs),
        lax.transpose(rhs, canonical_rhs),
        dimension_numbers=order,
        **parameters,
    )
    back = [0] * lhs.ndim
    for here, there in enumerate(canonical_out):
        back[there] = here
    return lax.transpose(result, back)
