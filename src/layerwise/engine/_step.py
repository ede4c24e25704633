"""What one batch does to the state of a stage: a step of training, a look without training."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import keras

from layerwise.engine._batch import Data, State, rows_of
from layerwise.engine._canonical import canonical
from layerwise.engine._model import StageModel


class Step:
    """Pure functions of a state, traced on the variables of one stage.

    Args:
        model: the stage.

    Attributes:
        train: from a state and a batch to the state after one step of training.
        look: the same without training: the batch is added to the metrics, in inference mode.
        written: both as Keras writes them, of which operations are counted: what a device computes
            in their place may take fewer, or stand in loops that XLA counts once.
    """

    def __init__(self, model: StageModel) -> None:
        self._model = model
        # Programs of their own, so that what was traced for one shape of batch is known wherever
        # such a batch comes again: in another program, in the count of operations.
        self.written: Any = [jax.jit(step, inline=True) for step in (self._train, self._look)]
        self.train, self.look = map(_for_device, self.written)

    def _train(self, state: State, batch: Data) -> State:
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

    def _look(self, state: State, batch: Data) -> State:
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

    def results(self, metrics: list[Any]) -> Any:
        """The numbers that metrics have come to: `(metrics,)`."""
        with self._scope(self._model.metrics_variables, metrics):
            results = [metric.result() for metric in self._model.metrics]
        return jnp.stack([jnp.asarray(value, keras.config.floatx()) for value in results])

    @staticmethod
    def _scope(variables: Any, values: Any) -> keras.StatelessScope:
        return keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True)))

    @staticmethod
    def finite(state: State) -> Any:
        """Whether weights, statistics and the running loss are."""
        values = (*state["trainable"], *state["frozen"], state["metrics"][0])
        floats = [value for value in values if jnp.issubdtype(value.dtype, jnp.floating)]
        return jnp.stack([jnp.isfinite(value).all() for value in floats]).all()


def _for_device(step: Any) -> Any:
    """A step that other programs take up as if it stood in them, in forms that are fast here."""
    if jax.default_backend() != "cpu":
        return step
    made: Any = jax.jit(canonical(step), inline=True)
    return made
