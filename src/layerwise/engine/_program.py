"""The compiled program of a stage: any number of steps, over any number of epochs, in one call.

Everything here is pure: a state and data go in, a state and the metrics of finished epochs come
out. The program is traced on the variables of one stage and serves every stage that is alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
from jax import lax

from layerwise.engine._batch import Data, State, batch_of, rows_of, slice_of
from layerwise.engine._canonical import canonical
from layerwise.engine._cost import count
from layerwise.engine._model import StageModel
from layerwise.engine._piece import PieceProgram
from layerwise.engine._problem import Operations

WINDOW_BYTES = 1 << 20
"""How much of batch order is handed to one call: it bounds the epochs that a call may span."""


def window_of(rows: int) -> int:
    """How many epochs a call may span."""
    return max(1, min(64, WINDOW_BYTES // (4 * rows)))


def _moving(model: StageModel) -> list[bool]:
    """Which variables are trained."""
    return [bool(variable.trainable) for variable in model.variables]


def _traced_once(step: Callable[[State, Data], State]) -> Any:
    """A step that other programs take up as if it stood in them."""
    made: Any = jax.jit(step, inline=True)
    if jax.default_backend() == "cpu":
        made = jax.jit(canonical(made), inline=True)
    return made


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
        # Programs of their own, so that what was traced for one shape of batch is known wherever
        # such a batch comes again: in another program, in the count of operations.
        self._step = _traced_once(self._train_step)
        self._look = _traced_once(self._test_step)
        self._counted: dict[Any, Operations] = {}
        self.train = jax.jit(self._train, donate_argnums=0)
        self.evaluate = jax.jit(self._evaluate)
        self.piece = PieceProgram(self._step, self._look, self._finite, self._results, batch_size)

    @property
    def intact(self) -> bool:
        """Whether the stage's layers move as they did: data of another shape are traced on them.

        They belong to a run, which may free a head or hand its blocks to the user.
        """
        return _moving(self._model) == self._moves

    def operations(self, state: State, batch: Data) -> Operations:
        """What a training step and a look at a batch compute.

        Args:
            state, batch: arrays, of which only shapes and types matter.
        """
        key = tuple((a.shape, str(a.dtype)) for a in jax.tree.leaves(batch))
        if key not in self._counted:
            counted = (count(step, state, batch) for step in (self._step, self._look))
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
        full, rest = divmod(rows, self._batch)
        steps = full + bool(rest)

        def one_step(order: Any, step: Any, size: int, state: State) -> State:
            return self._step(state, batch_of(data, order, step * self._batch, size))

        def finish_epoch(state: State) -> Any:
            results = self._results(state["metrics"])
            if validation is not None:
                results = jnp.concatenate([results, self._evaluate(state, validation)])
            return results

        def epoch(index: Any, carry: tuple[State, Any]) -> tuple[State, Any]:
            state, logs = carry
            begin = jnp.where(index == 0, first, 0)
            end = jnp.minimum(stop - index * steps, steps)
            fresh = [jnp.zeros_like(value) for value in state["metrics"]]
            metrics = jax.tree.map(
                lambda new, old: jnp.where(begin == 0, new, old), fresh, state["metrics"]
            )
            state = {**state, "metrics": metrics}
            order = orders[index]
            if full:
                state = lax.fori_loop(
                    begin,
                    jnp.minimum(end, full),
                    lambda step, state: one_step(order, step, self._batch, state),
                    state,
                )
            if rest:
                state = lax.cond(
                    end == steps,
                    lambda state: one_step(order, full, rest, state),
                    lambda state: state,
                    state,
                )
            logs = lax.cond(
                end == steps,
                lambda logs: logs.at[index].set(finish_epoch(state)),
                lambda logs: logs,
                logs,
            )
            return state, logs

        count = len(self.names) * (1 if validation is None else 2)
        logs = jnp.full((orders.shape[0], count), jnp.nan, keras.config.floatx())
        state, logs = lax.fori_loop(0, (stop + steps - 1) // steps, epoch, (state, logs))
        return state, logs, self._finite(state)

    @staticmethod
    def _finite(state: State) -> Any:
        values = (*state["trainable"], *state["frozen"], state["metrics"][0])
        floats = [value for value in values if jnp.issubdtype(value.dtype, jnp.floating)]
        return jnp.stack([jnp.isfinite(value).all() for value in floats]).all()

    def _train_step(self, state: State, batch: Data) -> State:
        """One batch: gradients, the optimizer's update, the metrics."""
        model = self._model

        def loss_of(trainable: list[Any], frozen: list[Any]) -> tuple[Any, Any]:
            loss, outputs, frozen = self._forward(trainable, frozen, batch, training=True)
            with self._scope(model.optimizer.variables, state["optimizer"]):
                scaled = model.optimizer.scale_loss(loss)
            return scaled, (loss, outputs, frozen)

        gradients, (loss, outputs, frozen) = jax.grad(loss_of, has_aux=True)(
            state["trainable"], state["frozen"]
        )
        trainable, optimizer = model.optimizer.stateless_apply(
            state["optimizer"], gradients, state["trainable"]
        )
        metrics = self._measure(state["metrics"], loss, outputs, rows_of(batch))
        return {
            "trainable": trainable,
            "frozen": frozen,
            "optimizer": optimizer,
            "metrics": metrics,
        }

    def _evaluate(self, state: State, data: Data) -> Any:
        """The metrics over all rows in their own order, in inference mode: `(metrics,)`."""
        full, rest = divmod(rows_of(data), self._batch)
        metrics = [jnp.zeros_like(value) for value in state["metrics"]]
        carry = {**state, "metrics": metrics}
        if full:
            carry = lax.fori_loop(
                0,
                full,
                lambda step, carry: self._look(
                    carry, slice_of(data, step * self._batch, self._batch)
                ),
                carry,
            )
        if rest:
            carry = self._look(carry, slice_of(data, full * self._batch, rest))
        return self._results(carry["metrics"])

    def _test_step(self, state: State, batch: Data) -> State:
        loss, outputs, _ = self._forward(state["trainable"], state["frozen"], batch, training=False)
        metrics = self._measure(state["metrics"], loss, outputs, rows_of(batch))
        return {**state, "metrics": metrics}

    def _forward(
        self, trainable: list[Any], frozen: list[Any], batch: Data, *, training: bool
    ) -> tuple[Any, Any, list[Any]]:
        """The loss, penalties of the layers included, as Keras' own trainer adds them."""
        outputs, frozen, penalties = self._model.stateless_call(
            trainable, frozen, batch, return_losses=True, training=training
        )
        loss = outputs["loss"]
        for penalty in penalties:
            loss = loss + jnp.sum(jnp.asarray(penalty, loss.dtype))
        return loss, outputs["metrics"], frozen

    def _measure(self, metrics: list[Any], loss: Any, outputs: Any, rows: int) -> list[Any]:
        """Add a batch to the metrics."""
        model = self._model
        with self._scope(model.metrics_variables, metrics) as scope:
            model.metrics[0].update_state(loss, sample_weight=rows)
            model.add_batch(outputs, rows)
        return [
            old if (new := scope.get_current_value(variable)) is None else new
            for variable, old in zip(model.metrics_variables, metrics, strict=True)
        ]

    def _results(self, metrics: list[Any]) -> Any:
        with self._scope(self._model.metrics_variables, metrics):
            results = [metric.result() for metric in self._model.metrics]
        return jnp.stack([jnp.asarray(value, keras.config.floatx()) for value in results])

    @staticmethod
    def _scope(variables: Any, values: Any) -> keras.StatelessScope:
        return keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True)))
