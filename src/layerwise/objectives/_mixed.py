"""A weighted sum of objectives on one block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import keras
import numpy as np
from keras import ops

from layerwise._typing import Array, Shape, Tree
from layerwise.errors import InputError, InputTypeError, complaint
from layerwise.objectives._described import Described
from layerwise.objectives._names import by_name, name_of
from layerwise.objectives._parts import Parts
from layerwise.objectives._protocol import (
    Objective,
    Targets,
    check_values,
    compared,
    has_views,
    loss_of,
    needs_targets,
    one_layer,
    stage_metrics,
    stage_target,
)

Weight = float | Sequence[float]


class Mixed(Described, name="mixed"):
    """A weighted sum of objectives, each with a head of its own on the same block.

    Args:
        objectives: from a name or an objective to its weight: a number, or a sequence with one
            for each epoch, whose last holds from then on. At every epoch the weights are 0 or
            more and sum to 1.

    Raises:
        InputError, InputTypeError: an objective is unknown, or the weights do not fit.

    Example:
        >>> from layerwise import Mixed
        >>> Mixed({"supervised": 0.5, "rbm": 0.5})
        Mixed({'supervised': 0.5, 'rbm': 0.5})

    Reference: Bengio, Lamblin, Popovici, Larochelle, Greedy Layer-Wise Training of Deep Networks,
    2007, section 3: a partially supervised first layer. There the two gradients are taken in turn,
    each with its own learning rate; here their weighted sum is.
    """

    def __init__(self, objectives: Mapping[Any, Weight]) -> None:
        if not isinstance(objectives, Mapping):
            raise InputTypeError(complaint("objectives", "map objectives to weights", objectives))
        if not objectives:
            raise InputError("Mixed needs at least one objective.")
        self._parts: dict[str, Objective] = {}
        shown = {}
        for number, (given, weight) in enumerate(objectives.items()):
            objective = by_name(given)
            name = name_of(objective)
            self._parts[name if name not in self._parts else f"{name}_{number}"] = objective
            shown[given] = weight
        self._weights = _schedules(shown.values())
        told = {
            given: weights if len(weights) > 1 else weights[0]
            for given, weights in zip(shown, self._weights, strict=True)
        }
        super().__init__(objectives=tuple(told.items()))
        for objective in self._parts.values():
            if has_views(objective) or hasattr(objective, "finish"):
                raise InputError(
                    f"{name_of(objective)} changes what a stage sees or leaves, and cannot be "
                    "mixed."
                )
        self.needs_targets = any(needs_targets(part) for part in self._parts.values())
        self.one_layer = any(one_layer(part) for part in self._parts.values())

    def __repr__(self) -> str:
        return f"Mixed({dict(self._arguments['objectives'])!r})"

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        heads = {name: part.head(feature_shape, targets) for name, part in self._parts.items()}
        return Parts({name: h for name, h in heads.items() if h is not None}, feature_shape)

    def target(self, inputs: Tree, y: Tree, targets: Targets) -> Mapping[str, Tree]:
        """What each of them wants, by name."""
        wanted = {
            name: stage_target(part, inputs, y, targets) for name, part in self._parts.items()
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def metrics(self, targets: Targets) -> dict[str, keras.metrics.Metric]:
        """Those that keep state, under the name of their objective."""
        return {
            f"{name}_{metric}": kind
            for name, part in self._parts.items()
            for metric, kind in stage_metrics(part, targets).items()
        }

    def check(self, x: Array, y: Mapping[str, Tree]) -> None:
        """Raise `InputError` where one of them cannot use the values."""
        for name, part in self._parts.items():
            check_values(part, x, y.get(name))

    def compare(
        self, train: Mapping[str, float], validation: Mapping[str, float]
    ) -> dict[str, float]:
        """What each says of its metrics."""
        said: dict[str, float] = {}
        for name, part in self._parts.items():
            ours = [
                {
                    key.removeprefix(f"{name}_"): value
                    for key, value in metrics.items()
                    if key.startswith(f"{name}_")
                }
                for metrics in (train, validation)
            ]
            said |= {f"{name}_{key}": value for key, value in compared(part, *ours).items()}
        return said

    def loss(
        self,
        block: keras.Layer,
        head: Parts,
        x: Array,
        y: Mapping[str, Tree],
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
        epoch: Array,
        again: Array | None = None,
        sample_weight: Array | None = None,
    ) -> tuple[Array, Mapping[str, Any]]:
        total, metrics = 0.0, {}
        for (name, part), schedule in zip(self._parts.items(), self._weights, strict=True):
            loss, said = loss_of(
                part,
                block,
                head.parts.get(name),
                x,
                y.get(name),
                seed=seed,
                training=training,
                epoch=epoch,
                again=again,
                sample_weight=sample_weight,
            )
            weight = schedule[0]
            if len(schedule) > 1:
                weights = ops.convert_to_tensor(np.array(schedule), dtype=loss.dtype)
                weight = ops.take(weights, ops.minimum(epoch, len(schedule) - 1))
            total = total + weight * loss
            metrics[f"{name}_loss"] = loss
            metrics |= {f"{name}_{key}": value for key, value in said.items()}
        return total, metrics


def _schedules(weights: Any) -> list[tuple[float, ...]]:
    """Each weight as one number for each epoch.

    Raises:
        InputError, InputTypeError: they are no numbers, below 0, or do not sum to 1.
    """
    schedules = []
    for weight in weights:
        given = (weight,) if isinstance(weight, Real) else weight
        numbers = isinstance(given, Sequence) and all(isinstance(v, Real) for v in given)
        if not numbers or not given:
            raise InputTypeError(complaint("A weight", "be a number or one for each epoch", weight))
        schedules.append(tuple(float(value) for value in given))
    epochs = max(len(schedule) for schedule in schedules)
    for epoch in range(epochs):
        now = [schedule[min(epoch, len(schedule) - 1)] for schedule in schedules]
        if not all(value >= 0 for value in now) or abs(sum(now) - 1) > 1e-6:
            when = f" in epoch {epoch}" if epochs > 1 else ""
            raise InputError(
                f"The weights of a mixture must be 0 or more and sum to 1. Received{when}: "
                f"{', '.join(f'{value:g}' for value in now)}."
            )
    return schedules
