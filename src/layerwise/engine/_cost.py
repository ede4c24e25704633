"""What a training computes, and what compiling it takes, by XLA's own account; JAX alone tells."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import keras

from layerwise._typing import Shape

_STEPS = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
    "/jax/core/compile/backend_compile_duration",
)


def like(shape: Shape, dtype: Any) -> Any:
    """What stands for an array where only shape and type matter; lengths not fixed are 1."""
    struct: Any = jax.ShapeDtypeStruct
    return struct(tuple(length or 1 for length in shape), jnp.dtype(dtype))


def count(function: Any, *arguments: Any) -> float:
    """Floating-point operations of one call, of which nothing is compiled or run.

    A loop whose length XLA does not see, such as that of a recurrent layer, counts once.

    Args:
        function: of arrays, as `jax.jit` gives it.
        arguments: arrays, of which only shapes and types matter.
    """
    struct: Any = jax.ShapeDtypeStruct
    shapes = jax.tree.map(lambda a: struct(a.shape, a.dtype), arguments)
    analysis = function.lower(*shapes).cost_analysis()
    return float((analysis or {}).get("flops", 0.0))


def count_forward(layer: keras.Layer, shape: Shape, dtype: str) -> float:
    """Operations of a layer in inference mode on one row of this shape."""

    def apply(values: list[Any], batch: Any) -> Any:
        state = list(zip(layer.variables, values, strict=True))
        with keras.StatelessScope(state_mapping=state):
            return layer(batch, training=False)

    values = [variable.value for variable in layer.variables]
    return count(jax.jit(apply), values, like((1, *shape), dtype))


class _Clock:
    """Adds up what JAX says that it spends on compiling."""

    def __init__(self) -> None:
        self.seconds = 0.0
        jax.monitoring.register_event_duration_secs_listener(self._hear)

    def _hear(self, event: str, duration_secs: float, **_: Any) -> None:
        if event in _STEPS:
            self.seconds += duration_secs


@functools.cache
def _clock() -> _Clock:
    return _Clock()


def compile_seconds() -> float:
    """Seconds that this process has spent on compiling since this was first asked."""
    return _clock().seconds
