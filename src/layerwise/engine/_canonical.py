"""Operations that XLA compiles badly for a CPU, put in forms that it compiles well.

A step of training is traced, and its operations are replayed one by one, some of them in another
form of the same meaning: convolutions, pooling and its gradient, products with narrow matrices.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax.extend import core

from layerwise.engine._convolution import convolve
from layerwise.engine._narrow import is_narrow, narrow_product
from layerwise.engine._pooling import is_spread, max_gradient, max_pooled, sum_of_spread

FORMS: dict[Any, Callable[..., Any]] = {
    lax.conv_general_dilated_p: convolve,
    lax.select_and_scatter_add_p: max_gradient,
    lax.reduce_window_max_p: max_pooled,
}
"""By operation, what takes its operands and parameters and puts it in another form."""
_KNOWN = {*FORMS, lax.reduce_window_sum_p}


def canonical(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, its operations in the forms that XLA's CPU compiler wants."""

    def traced(*arguments: Any) -> Any:
        closed, shape = jax.make_jaxpr(function, return_shape=True)(*arguments)
        flat = jax.tree.leaves(arguments)
        if not _has_any(closed.jaxpr):
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
        elif isinstance(value, core.Jaxpr):
            # What is computed again on the way back: `keras.remat`, `jax.checkpoint`.
            found.append((name, None, core.ClosedJaxpr(value, ())))
        elif isinstance(value, (tuple, list)):
            found.extend(
                (name, i, item)
                for i, item in enumerate(value)
                if isinstance(item, core.ClosedJaxpr)
            )
    return found


def _has_any(jaxpr: core.Jaxpr) -> bool:
    return any(
        equation.primitive in _KNOWN
        or is_narrow(equation)
        or any(_has_any(inner.jaxpr) for _, _, inner in _inner(equation.params))
        for equation in jaxpr.eqns
    )


def _replay(jaxpr: core.Jaxpr, constants: Sequence[Any], arguments: Sequence[Any]) -> list[Any]:
    """Run a program's equations one by one, those that have another form by it."""
    values: dict[core.Var, Any] = {}

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for variables, given in ((jaxpr.constvars, constants), (jaxpr.invars, arguments)):
        values.update(zip(variables, given, strict=True))
    makers: dict[Any, core.JaxprEqn] = {}
    for equation in jaxpr.eqns:
        makers.update(dict.fromkeys(equation.outvars, equation))
        inputs = [read(atom) for atom in equation.invars]
        primitive: Any = equation.primitive
        if primitive in FORMS:
            outputs = [FORMS[primitive](*inputs, **equation.params)]
        elif is_narrow(equation):
            outputs = [narrow_product(*inputs, **equation.params)]
        elif primitive is lax.reduce_window_sum_p and is_spread(
            makers.get(equation.invars[0]), equation.params
        ):
            outputs = [sum_of_spread(*inputs, **equation.params)]
        else:
            parameters = equation.params
            if any(_has_any(inner.jaxpr) for _, _, inner in _inner(parameters)):
                parameters, more = _rewritten(parameters)
                inputs = [*more, *inputs]
            with equation.ctx.manager:
                outputs = primitive.bind(*inputs, **primitive.get_bind_params(parameters))
            if not primitive.multiple_results:
                outputs = [outputs]
        values.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _rewritten(parameters: dict[str, Any]) -> tuple[dict[str, Any], Sequence[Any]]:
    """The parameters of a loop, branch or call with the programs inside made canonical; and what a
    program that cannot hold constants is to be given before all else."""
    new, more = dict(parameters), []
    for name, position, inner in _inner(parameters):

        def run(*arguments: Any, inner: core.ClosedJaxpr = inner) -> list[Any]:
            return _replay(inner.jaxpr, inner.consts, arguments)

        replaced = jax.make_jaxpr(run)(*(v.aval for v in inner.jaxpr.invars))
        if isinstance(parameters[name], core.Jaxpr):
            new[name], more = _open(replaced), replaced.consts
        elif position is None:
            new[name] = replaced
        else:
            items = list(new[name])
            items[position] = replaced
            new[name] = type(parameters[name])(items)
    return new, more


def _open(program: core.ClosedJaxpr) -> core.Jaxpr:
    """A program that is given its constants before its arguments."""
    inside: Any = program.jaxpr
    return inside.replace(constvars=[], invars=[*inside.constvars, *inside.invars])
