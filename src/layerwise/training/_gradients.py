"""The gradient in each block, end to end and greedily, at the start and after an epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import keras

from layerwise._random import Stream
from layerwise.datasets import Dataset
from layerwise.diagnostics import RATE, gradient_norms, with_activation
from layerwise.engine import Problem, Watch
from layerwise.growth import path
from layerwise.objectives import has_views
from layerwise.training._network import untrained
from layerwise.training._replica import Replica
from layerwise.training._settings import Settings
from layerwise.training._sprout import Sprout, sprout, stage_problem
from layerwise.training._view import View
from layerwise.training._whole import whole_problem

_ROWS = 2000
"""Of an epoch; and of the batch that shows the gradient an eighth."""


def gradients_by_layer(replica: Replica, depth: int) -> dict[str, Any]:
    """Norms by block from the lowest up, before and after an epoch on up to 2,000 rows.

    Of the chosen network from fresh weights end to end, of the same with sigmoid and with relu in
    place of its own activation, and of each stage of growing by itself.
    """
    data = _training_rows(replica.data, _ROWS)
    few = _training_rows(replica.data, _ROWS // 8)
    seed = replica.seed(Stream.BASELINE, depth)
    curves: dict[str, Any] = {}
    for name in ("end to end", "end to end, sigmoid", "end to end, relu"):
        model: keras.Model | None = untrained(replica, depth, seed)
        activation = name.partition(", ")[2]
        if activation:
            model = with_activation(model, activation)
        if model is not None:
            curves[name] = _end_to_end(replica, model, depth, data, few)
    if not has_views(replica.settings.objective(1)):
        curves["greedy"] = _greedy(replica, depth, data, few)
    return {"curves": curves, "rows": data.train.rows}


def _training_rows(data: Dataset, rows: int) -> Dataset:
    """The first of them, and nothing else."""
    return replace(data.first(rows), validation=None, test=None, unlabeled=None)


def _quiet(settings: Settings, rows: int) -> Settings:
    """One plain step over all rows as one batch."""
    return replace(
        settings,
        optimizer=lambda depth: keras.optimizers.SGD(RATE),
        epochs=lambda depth: 1,
        batch_size=lambda depth: rows,
        callbacks=lambda depth: (),
    )


def _end_to_end(
    replica: Replica, model: keras.Model, depth: int, data: Dataset, few: Dataset
) -> dict[str, list[float]]:
    settings = replica.settings
    blocks = model.layers[:-1]

    def norms() -> list[float]:
        shown = replica.on(few, "")
        shown.settings = _quiet(settings, few.train.rows)
        problem = whole_problem(shown, model, depth, 1, keras.optimizers.SGD(RATE))
        return gradient_norms(settings.engine, problem, blocks)

    start = norms()
    training = replica.on(data, "")
    problem = whole_problem(training, model, depth, 1, settings.optimizer(depth))
    settings.engine.train(problem, Watch())
    return {"start": start, "after": norms()}


def _greedy(replica: Replica, depth: int, data: Dataset, few: Dataset) -> dict[str, list[float]]:
    """Of the newest block of each stage, on the trunk that it was grown on."""
    found: dict[str, list[float]] = {"start": [], "after": []}
    for number in range(1, depth + 1):
        grown, problem_on = _stage(replica, number)
        norms = _norms(replica, problem_on, few, grown)
        found["start"].append(norms)
        one = replace(replica.settings, epochs=lambda depth: 1, callbacks=lambda depth: ())
        replica.settings.engine.train(problem_on(data, one, grown), Watch())
        found["after"].append(_norms(replica, problem_on, few, grown))
    return found


On = Callable[[Dataset, Settings, Sprout], Problem]


def _stage(replica: Replica, number: int) -> tuple[Sprout, On]:
    """The stage of this depth as it began, and what makes a problem of it on other rows."""
    stages = replica.stages[: number - 1]

    def view_of(data: Dataset, settings: Settings) -> View:
        view = View(data, ["train"], settings.engine, augment=settings.augment)
        view.features.advance(path(stages)[: settings.policy.lowest(number) - 1])
        return view

    def problem_on(data: Dataset, settings: Settings, grown: Sprout) -> Problem:
        again = replace(grown, optimizer=settings.optimizer(number))
        seed = replica.seed(Stream.TRAINING, number)
        return stage_problem(settings, view_of(data, settings), again, seed)

    settings = replica.settings
    grown = sprout(settings, view_of(replica.data, settings), number, replica.seed, stages)
    return grown, problem_on


def _norms(replica: Replica, problem_on: On, few: Dataset, grown: Sprout) -> float:
    quiet = _quiet(replica.settings, few.train.rows)
    problem = problem_on(few, quiet, grown)
    return gradient_norms(replica.settings.engine, problem, [grown.newest])[0]
