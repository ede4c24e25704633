"""A stage as a Keras model whose output is its own loss, so that both engines train the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from layerwise._typing import Array, Tree
from layerwise.errors import InputError, LayerwiseError
from layerwise.growth import Decode
from layerwise.objectives import Objective, Targets, stage_metrics, takes


class StageModel(keras.Model):  # type: ignore[misc,unused-ignore]
    """Block, head and objective as one model.

    Its input is a dictionary with `x` and, where they exist, `y` and `sample_weight`. Its output
    is `{"loss": scalar, "metrics": {name: ...}}`. A callback finds the layers that are trained in
    `self.model.block` and `self.model.head`.
    """

    def __init__(
        self,
        block: keras.Layer,
        head: keras.Layer | None,
        objective: Objective,
        targets: Targets,
        seed: int,
        prefix: keras.Layer | None = None,
    ) -> None:
        # The layers inside cast their inputs by their own policies; labels must not be cast.
        super().__init__(dtype=keras.config.floatx(), autocast=False)
        self.block = block
        self.head = head
        self.prefix = prefix
        self.objective = objective
        self.noise = keras.random.SeedGenerator(seed)
        self._first_noise = keras.ops.convert_to_numpy(self.noise.state.value).copy()
        self.own_metrics = stage_metrics(objective, targets)
        self._with_arguments = frozenset(self.own_metrics)
        # As variables, and not as numbers: stages of other lengths share a compiled program.
        self._takes_again = takes(objective, "again")
        self._clock: tuple[Any, Any] | None = None
        """Training rows seen, and rows an epoch."""
        if takes(objective, "epoch"):
            self._clock = (
                self.add_weight((), "zeros", "int32", trainable=False, name="seen"),
                self.add_weight((), "ones", "int32", trainable=False, name="epoch_rows"),
            )

    def call(self, inputs: Mapping[str, Tree], training: bool = False) -> dict[str, Any]:
        optional = {key: inputs[key] for key in ("sample_weight",) if key in inputs}
        if self._clock is not None:
            optional["epoch"] = _epoch(*self._clock, inputs["x"], training)
        x = self._seen(inputs["x"], training)
        if self._takes_again and not isinstance(self.prefix, Decode | None):
            optional["again"] = self._seen(inputs["x"], training)
        noise = None if training else ops.copy(self.noise.state.value)
        loss, metrics = self.objective.loss(
            self.block,
            self.head,
            x,
            inputs.get("y"),
            seed=self.noise,
            training=training,
            **optional,
        )
        if noise is not None:
            # Validation must not move the stream that training draws from.
            self.noise.state.assign(noise)
        return {"loss": loss, "metrics": dict(metrics)}

    def _seen(self, x: Tree, training: bool) -> Tree:
        """A batch as the block sees it; each time augmented anew."""
        return x if self.prefix is None else self.prefix(x, training=training)

    def rewind(self, epochs: int = 0) -> None:
        """Make scores depend on nothing but the weights and the number of epochs trained.

        The objective's randomness begins anew; its clock stands after so many epochs.
        """
        self.noise.state.assign(self._first_noise)
        if self._clock is not None:
            seen, epoch_rows = self._clock
            seen.assign(epochs * epoch_rows)

    def measure(self, rows: Mapping[str, Tree], whole: int) -> tuple[str, ...]:
        """Find out which metrics the objective reports, by a dry run on shapes alone.

        Args:
            rows: of this process.
            whole: how many there are in all processes together.

        Returns:
            Their names.

        Raises:
            InputError: the objective's loss is not a scalar, or fails on these shapes.
        """
        count = min(2, whole)
        specs = keras.tree.map_structure(
            lambda a: keras.KerasTensor((count, *a.shape[1:]), dtype=str(a.dtype)), dict(rows)
        )
        try:
            # A dry run in training mode would be the same; Keras has a public one for `call`.
            outputs = self.compute_output_spec(specs, training=False)
        except (LayerwiseError, ValueError, TypeError) as error:
            cause = _innermost(error)
            if isinstance(cause, LayerwiseError):
                raise cause from None
            reason = next((s for s in str(cause).splitlines() if s.strip()), type(cause).__name__)
            raise InputError(
                f"The objective {type(self.objective).__name__} cannot work on block "
                f"{self.block.name} and its head: {reason}"
            ) from error
        if tuple(outputs["loss"].shape) != ():
            raise InputError(
                f"The loss of {type(self.objective).__name__} must be a scalar, the mean over the "
                f"batch. Received shape {tuple(outputs['loss'].shape)}."
            )
        self.reports(names := tuple(outputs["metrics"]), whole)
        return names

    def reports(self, metrics: Sequence[str], rows: int) -> None:
        """Make room for these metrics; an epoch is so many rows long."""
        if self._clock is not None:
            self._clock[1].assign(rows)
        for name in metrics:
            if name not in self.own_metrics:
                self.own_metrics[name] = keras.metrics.Mean(name=name)
        self.built = True

    def compute_loss(
        self,
        x: Tree = None,
        y: Tree = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Array:
        """The objective's loss plus what the layers add, such as weight penalties."""
        loss = y_pred["loss"]
        for penalty in self.losses:
            loss = loss + ops.sum(ops.cast(penalty, loss.dtype))
        return loss

    def compute_metrics(
        self, x: Tree, y: Tree, y_pred: Any, sample_weight: Any = None
    ) -> dict[str, Any]:
        """Add a batch to the metrics and return them as they stand; Keras adds the loss."""
        self.add_batch(y_pred["metrics"], ops.shape(keras.tree.flatten(x)[0])[0])
        return self.get_metrics_result()

    def add_batch(self, metrics: Mapping[str, Any], rows: Any) -> None:
        """Update every metric but the loss; a batch weighs as much as it has rows."""
        for name, value in metrics.items():
            if name in self._with_arguments:
                self.own_metrics[name].update_state(*value)
            else:
                self.own_metrics[name].update_state(value, sample_weight=rows)


def _epoch(seen: Any, epoch_rows: Any, x: Tree, training: bool) -> Array:
    """The number of the epoch, counted from 0; in scoring, of the last one trained.

    A training batch counts its rows.
    """
    if not training:
        return ops.maximum(seen - 1, 0) // epoch_rows
    epoch = seen // epoch_rows
    seen.assign_add(ops.shape(keras.tree.flatten(x)[0])[0])
    return epoch


def _innermost(error: BaseException) -> BaseException:
    """What a loss raised: Keras wraps it, with words of its own, in an error of the same class."""
    while isinstance(error.__context__, LayerwiseError | ValueError | TypeError):
        error = error.__context__
    return error
