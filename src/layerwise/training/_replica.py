"""One growing network, of one seed, and how it takes a step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np

from layerwise._random import Stream, derive
from layerwise.datasets import Dataset
from layerwise.engine import OnEpochs, Problem, Result, metric_names
from layerwise.growth import Stage, attach, audit, digest
from layerwise.history import StopReason
from layerwise.objectives import finish, name_of, predicts_targets
from layerwise.training._settings import Settings
from layerwise.training._sprout import Sprout, attach_head, grow_head, sprout
from layerwise.training._view import View


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one replicate reports of one stage."""

    objective: str
    head: str
    parameters: int
    epochs: int
    stop_reason: StopReason
    message: str
    metrics: Mapping[str, Mapping[str, float]]
    """Split to metric to value; NaN where the stage diverged."""
    curves: Mapping[str, Sequence[float]]


class Replica:
    """A network that grows.

    Args:
        index: of the replicate; 0 is the plain run.
        data: all splits.
        settings: of the run.
    """

    def __init__(self, index: int, data: Dataset, settings: Settings) -> None:
        self.index, self.data, self.settings = index, data, settings
        self.stages: list[Stage] = []
        self.diverged = False
        splits = ["train", "validation", *["test"] * settings.score_test_each_stage]
        self._view = View(data, splits)
        self._next: Sprout | None = None

    def seed(self, stream: Stream, *path: int) -> int:
        """The seed of one of this network's random streams."""
        return derive(self.settings.seed, stream, self.index, *path)

    def prepare(self) -> list[str]:
        """Grow the first stage, which proves that the shapes fit; return what it will report."""
        self._next = self._sprout(1)
        self.settings.engine.check(self._next.problem)
        return self._reported(self._next.problem)

    def train_stage(self, depth: int, on_epochs: OnEpochs) -> Outcome:
        """Grow a block and a head, train them on the features of the trunk, freeze them."""
        engine = self.settings.engine
        if self.stages:
            self._view.advance(engine, self.stages[-1])
        grown = self._next or self._sprout(depth)
        self._next = None
        problem = grown.problem
        result = engine.train(problem, on_epochs)
        if problem.head is not None:
            problem.head.trainable = True
        if result.stop_reason == StopReason.DIVERGED or not _finite(problem.model):
            return self._failed(grown, result)
        view = self._view
        metrics = {
            name: engine.evaluate(problem, view.rows(name, problem.objective))
            for name in view.names
        }
        curves = dict(result.curves)
        block = finish(problem.objective, problem.block)
        stage = Stage(
            depth=depth, block=block, head=problem.head, predictor=None, digest=digest(block)
        )
        if predicts_targets(problem.objective):
            stage = replace(stage, predictor=problem.head)
        elif self.data.labels is not None:
            view.advance(engine, stage)
            predictor = self._train_predictor(depth, metrics, curves, on_epochs)
            stage = replace(stage, predictor=predictor)
        self.stages.append(stage)
        audit(self.stages[-2:-1])
        return self._outcome(grown, result, metrics, curves)

    def _sprout(self, depth: int) -> Sprout:
        below = self.stages[-1].head if self.stages else None
        return sprout(self.settings, self._view, depth, self.seed, below)

    def _train_predictor(
        self,
        depth: int,
        metrics: dict[str, dict[str, float]],
        curves: dict[str, list[float]],
        on_epochs: OnEpochs,
    ) -> keras.Layer:
        """Train a classifier or regressor on the frozen features, and add its scores.

        The block is behind the features, out of reach: this cannot disturb the stage.
        """
        settings, view = self.settings, self._view
        objective = settings.predictor
        targets, seed = view.targets(), self.seed(Stream.CLASSIFIER, depth)
        head = grow_head(settings, objective, targets, depth, view.shape, seed)
        assert head is not None
        attach_head(head, view.shape, view.dtype, targets, objective, seed)
        nothing = keras.layers.Identity()
        attach(nothing, view.shape, view.dtype, "The features")
        problem = Problem(
            block=nothing,
            head=head,
            objective=objective,
            targets=targets,
            train=view.rows("train", objective),
            validation=view.rows("validation", objective) if "validation" in view.names else None,
            optimizer=settings.optimizer(depth),
            batch_size=settings.batch_size(depth),
            epochs=settings.epochs(depth),
            seed=seed,
        )
        result = settings.engine.train(problem, on_epochs)
        for name in view.names:
            scores = settings.engine.evaluate(problem, view.rows(name, objective))
            metrics[name] |= {_renamed(key): value for key, value in scores.items()}
        curves |= {_renamed(key): list(values) for key, values in result.curves.items()}
        return head

    def _reported(self, problem: Problem) -> list[str]:
        """The metrics of a stage's record."""
        names = metric_names(problem)
        if self.data.labels is None or predicts_targets(problem.objective):
            return names
        classes = self.data.classes is not None
        return [*names, _renamed("loss"), "accuracy" if classes else "mean_squared_error"]

    def _failed(self, grown: Sprout, result: Result) -> Outcome:
        self.diverged = True
        names = self._reported(grown.problem)
        metrics = {split: dict.fromkeys(names, np.nan) for split in self._view.names}
        message = result.message or "the weights were not finite at the end"
        result = replace(result, stop_reason=StopReason.DIVERGED, message=message)
        return self._outcome(grown, result, metrics, result.curves)

    def _outcome(
        self,
        grown: Sprout,
        result: Result,
        metrics: Mapping[str, Mapping[str, float]],
        curves: Mapping[str, Sequence[float]],
    ) -> Outcome:
        return Outcome(
            objective=name_of(grown.problem.objective),
            head=grown.head_policy,
            parameters=grown.parameters,
            epochs=result.epochs,
            stop_reason=result.stop_reason,
            message=result.message,
            metrics=metrics,
            curves=curves,
        )


def _renamed(name: str) -> str:
    """The predictor's loss stands beside the objective's own: `predictor_loss`."""
    return name.replace("loss", "predictor_loss") if name in ("loss", "val_loss") else name


def _finite(model: keras.Model) -> bool:
    return all(
        np.isfinite(keras.ops.convert_to_numpy(weight.value)).all() for weight in model.weights
    )
