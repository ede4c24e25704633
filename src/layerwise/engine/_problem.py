"""What an engine gets and gives."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import keras
import numpy as np

from layerwise._typing import Array, Shape
from layerwise.datasets import Split
from layerwise.engine._key import stage_key
from layerwise.engine._model import StageModel
from layerwise.engine._watch import Watch
from layerwise.history import StopReason
from layerwise.objectives import Objective, Targets

_REPORTED: dict[Hashable, tuple[str, ...]] = {}
"""The metrics of problems seen before: a dry run takes as long as many a short training."""
_MOST_REPORTED = 256


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One stage: what moves, what it minimises, on which rows.

    The variables of `block` and `head` that are trainable move; nothing else is in the optimizer.
    """

    block: keras.Layer
    head: keras.Layer | None
    objective: Objective
    targets: Targets
    train: Split
    validation: Split | None
    optimizer: keras.Optimizer
    """Fresh: not yet built."""
    batch_size: int
    epochs: int
    seed: int
    """Of the batch order and of the objective's own randomness."""
    callbacks: Sequence[keras.callbacks.Callback] = ()
    prefix: keras.Layer | None = None
    """What every batch passes first and nothing trains: augmentation and frozen blocks."""
    model: StageModel = field(init=False)
    _told: tuple[list[bool], Hashable | None] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        model = StageModel(
            self.block, self.head, self.objective, self.targets, self.seed, self.prefix
        )
        self._measure(model)
        model.compile(optimizer=self.optimizer)
        object.__setattr__(self, "model", model)

    def key(self) -> Hashable | None:
        """What another problem must share to compute alike; None where that cannot be told.

        Layers may be freed and frozen between two calls; nothing else of them changes.
        """
        layers = (self.block, self.head, self.prefix)
        may_move = [v.trainable for layer in layers if layer is not None for v in layer.variables]
        if self._told is None or self._told[0] != may_move:
            key = stage_key(layers, self.objective, self.targets)
            object.__setattr__(self, "_told", (may_move, key))
        assert self._told is not None
        return self._told[1]

    def _measure(self, model: StageModel) -> None:
        """Find out what the objective reports, or remember it of a problem like this one."""
        rows = self.train.tree()
        key = self.key()
        if key is None:
            model.measure(rows, self.train.rows)
            return
        shapes = [(a.shape[1:], str(a.dtype)) for a in keras.tree.flatten(rows)]
        alike = (key, tuple(rows), tuple(shapes), min(2, self.train.rows))
        known = _REPORTED.get(alike)
        if known is None:
            known = model.measure(rows, self.train.rows)
            if len(_REPORTED) >= _MOST_REPORTED:
                _REPORTED.clear()
            _REPORTED[alike] = known
        else:
            model.reports(known, self.train.rows)


@dataclass(frozen=True)
class Result:
    """How training went. The weights are in the problem's block and head."""

    curves: Mapping[str, list[float]]
    """Metric to one value an epoch; validation metrics are named `val_...`."""
    epochs: int
    """How many were run."""
    stop_reason: StopReason
    message: str = ""
    """Of a divergence: where, and at which learning rate."""
    seconds_before: float = 0.0
    """What an earlier session of a resumed run has spent on this."""


class Operations(NamedTuple):
    """Floating-point operations of one full batch."""

    train: float
    """Forward, backward and the optimizer's update."""
    look: float
    """Forward alone, with the loss."""


class Engine(Protocol):
    """What trains one stage."""

    name: str

    def check(self, problem: Problem) -> None:
        """Raise `InputError` where the problem asks for what this engine cannot give."""
        ...

    def train(self, problem: Problem, watch: Watch) -> Result:
        """Minimise the problem's loss in place, from `watch.start` on where there is one."""
        ...

    def evaluate(self, problem: Problem, split: Split) -> dict[str, float]:
        """The loss and metrics over all rows, in inference mode."""
        ...

    def operations(self, problem: Problem) -> Operations | None:
        """What a full batch costs; None where the backend does not tell."""
        ...

    def forward_operations(self, layer: keras.Layer, shape: Shape, dtype: str) -> float | None:
        """What one row of this shape costs in inference mode; None as above."""
        ...

    def forward(self, layer: keras.Layer) -> Callable[[Array], Array]:
        """A function from a batch to the layer's output in inference mode.

        Every batch must have the same number of rows; the output may still be on its way.
        """
        ...


def metric_names(problem: Problem) -> list[str]:
    """The metrics that this problem reports, the loss first."""
    return [metric.name for metric in problem.model.metrics]


def divergence(what: str, epoch: int, optimizer: keras.Optimizer) -> str:
    """The message of a divergence, with the learning rate as it stands, schedules included.

    Args:
        what: `"the loss was"` or the like.
        epoch: counted from 0.
        optimizer: of the stage.
    """
    rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    return f"{what} not finite in epoch {epoch + 1} at a learning rate of {rate:.3g}"


def finite_weights(model: keras.Model) -> bool:
    """Whether every weight and statistic is finite."""
    return all(
        np.isfinite(keras.ops.convert_to_numpy(weight.value)).all() for weight in model.weights
    )
