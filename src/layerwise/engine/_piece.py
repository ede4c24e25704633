"""The compiled program of a stage on a part of its rows, for rows that are not all on the device.

Its steps are those of `_program`, gathered in the same way, so that both end with the same bits.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from layerwise.engine._batch import Data, State, batch_of, slice_of
from layerwise.engine._step import Step


class PieceProgram:
    """Training and evaluation, piece by piece. All pieces of a split have one shape.

    Args:
        step: what one batch does.
        batch_size: rows a step.
    """

    def __init__(self, step: Step, batch_size: int) -> None:
        self._step, self._batch = step, batch_size
        self.train = jax.jit(self._train, donate_argnums=0, static_argnames="rest")
        self.look = jax.jit(self._look, static_argnames="rest")
        self.results = jax.jit(step.results)

    def _train(
        self, state: State, data: Data, order: Any, steps: Any, flags: Any, *, rest: int
    ) -> tuple[State, Any]:
        """Some steps on the rows of some batches.

        Args:
            state: as `_batch` describes it; its memory is taken.
            data: the rows, perhaps followed by others that no step takes.
            order: in which they are taken.
            steps: the first step and the one after the last, `(2,)`, counted in full batches.
            flags: whether an epoch begins here, and whether its partial batch follows, `(2,)`.
            rest: rows of the partial batch, 0 where there is none.

        Returns:
            The state, and whether it is finite.
        """
        size = self._batch
        metrics = [jnp.where(flags[0], jnp.zeros_like(value), value) for value in state["metrics"]]
        state = lax.fori_loop(
            steps[0],
            steps[1],
            lambda step, state: self._step.train(state, batch_of(data, order, step * size, size)),
            {**state, "metrics": metrics},
        )
        if rest:
            state = lax.cond(
                flags[1],
                lambda state: self._step.train(state, batch_of(data, order, steps[1] * size, rest)),
                lambda state: state,
                state,
            )
        return state, self._step.finite(state)

    def _look(self, state: State, data: Data, steps: Any, partial: Any, *, rest: int) -> list[Any]:
        """The metrics after so many full batches more, and a partial one where it follows."""
        size = self._batch
        state = lax.fori_loop(
            0,
            steps,
            lambda step, state: self._step.look(state, slice_of(data, step * size, size)),
            state,
        )
        if rest:
            state = lax.cond(
                partial,
                lambda state: self._step.look(state, slice_of(data, steps * size, rest)),
                lambda state: state,
                state,
            )
        return state["metrics"]
