"""The compiled program of a stage: any number of steps, over any number of epochs, in one call.

Everything here is pure: a state and data go in, a state and the metrics of finished epochs come
out. The program is traced on the variables of one stage and serves every stage that is alike.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax import lax

from layerwise.engine._batch import Data, State, batch_of, rows_of, slice_of
from layerwise.engine._cost import count, like
from layerwise.engine._model import StageModel
from layerwise.engine._piece import PieceProgram
from layerwise.engine._problem import Operations, Problem
from layerwise.engine._state import read_state
from layerwise.engine._step import Step

WINDOW_BYTES = 1 << 20
"""How much of batch order is handed to one call: it bounds the epochs that a call may span."""


def window_of(rows: int) -> int:
    """How many epochs a call may span."""
    return max(1, min(64, WINDOW_BYTES // (4 * rows)))


def _moving(model: StageModel) -> list[bool]:
    """Which variables are trained."""
    return [bool(variable.trainable) for variable in model.variables]


class Program:
    """Training and evaluation of one shape of stage.

    Args:
        model: the stage on whose variables the programs are traced.
        batch_size: rows a step.
    """

    def __init__(self, model: StageModel, batch_size: int) -> None:
        self._model = model
        self._batch = batch_size
        self._moves = _moving(model)
        self.names = [metric.name for metric in model.metrics]
        self.step = Step(model)
        self._counted: dict[Any, Operations] = {}
        self.train = jax.jit(self._train, donate_argnums=0)
        self.evaluate = jax.jit(self._evaluate)
        self.piece = PieceProgram(self.step, batch_size)

    @property
    def intact(self) -> bool:
        """Whether the stage's layers move as they did: data of another shape are traced on them.

        They belong to a run, which may free a head or hand its blocks to the user.
        """
        return _moving(self._model) == self._moves

    def operations(self, problem: Problem) -> Operations:
        """What a training step and a look at a full batch of such a problem compute."""
        rows = min(self._batch, problem.train.rows)
        batch = jax.tree.map(lambda a: like((rows, *a.shape[1:]), a.dtype), problem.train.tree())
        state = read_state(problem)
        key = tuple((a.shape, str(a.dtype)) for a in jax.tree.leaves(batch))
        if key not in self._counted:
            counted = (count(step, state, batch) for step in self.step.written)
            self._counted[key] = Operations(*counted)
        return self._counted[key]

    def _train(
        self, state: State, data: Data, validation: Data | None, orders: Any, first: Any, stop: Any
    ) -> tuple[State, Any, Any]:
        """Run steps `first` to `stop`, counted from the start of the first epoch of `orders`.

        Returns the state, an array `(window, metrics)` with a row for each epoch that ended, and
        whether the weights, the statistics and the running loss are finite.
        """
        rows = rows_of(data)
        steps = -(-rows // self._batch)

        def epoch(index: Any, carry: tuple[State, Any]) -> tuple[State, Any]:
            state, logs = carry
            begin = jnp.where(index == 0, first, 0)
            end = jnp.minimum(stop - index * steps, steps)
            state = self._within_an_epoch(state, data, orders[index], begin, end)
            logs = lax.cond(
                end == steps,
                lambda logs: logs.at[index].set(self._epoch_results(state, validation)),
                lambda logs: logs,
                logs,
            )
            return state, logs

        count = len(self.names) * (1 if validation is None else 2)
        logs = jnp.full((orders.shape[0], count), jnp.nan, keras.config.floatx())
        state, logs = lax.fori_loop(0, (stop + steps - 1) // steps, epoch, (state, logs))
        return state, logs, self.step.finite(state)

    def _within_an_epoch(self, state: State, data: Data, order: Any, begin: Any, end: Any) -> State:
        """The steps from `begin` to `end`; metrics begin anew where the epoch does."""
        full, rest = divmod(rows_of(data), self._batch)

        def take(step: Any, size: int, state: State) -> State:
            return self.step.train(state, batch_of(data, order, step * self._batch, size))

        metrics = [jnp.where(begin == 0, 0, value) for value in state["metrics"]]
        state = {**state, "metrics": metrics}
        if full:
            state = lax.fori_loop(
                begin,
                jnp.minimum(end, full),
                lambda step, state: take(step, self._batch, state),
                state,
            )
        if rest:
            state = lax.cond(
                end == full + 1,
                lambda state: take(full, rest, state),
                lambda state: state,
                state,
            )
        return state

    def _epoch_results(self, state: State, validation: Data | None) -> Any:
        """The metrics over the epoch, and those of the validation rows after it."""
        results = self.step.results(state["metrics"])
        if validation is None:
            return results
        return jnp.concatenate([results, self._evaluate(state, validation)])

    def _evaluate(self, state: State, data: Data) -> Any:
        """The metrics over all rows in their own order, in inference mode: `(metrics,)`."""
        full, rest = divmod(rows_of(data), self._batch)
        metrics = [jnp.zeros_like(value) for value in state["metrics"]]
        carry = {**state, "metrics": metrics}
        if full:
            carry = lax.fori_loop(
                0,
                full,
                lambda step, carry: self.step.look(
                    carry, slice_of(data, step * self._batch, self._batch)
                ),
                carry,
            )
        if rest:
            carry = self.step.look(carry, slice_of(data, full * self._batch, rest))
        return self.step.results(carry["metrics"])
