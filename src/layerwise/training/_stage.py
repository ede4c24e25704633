"""Training one stage of one replicate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from layerwise._random import Stream
from layerwise.checkpoint import Journal
from layerwise.engine import Problem, Result
from layerwise.growth import Frozen, Stage, audit, digest_of
from layerwise.history import StopReason
from layerwise.objectives import compared, finish, name_of, predicts_targets
from layerwise.progress import Listener
from layerwise.training._collapse import MESSAGE, has_collapsed
from layerwise.training._lazy_features import UnusableFeaturesError
from layerwise.training._outcome import Outcome
from layerwise.training._replica import Replica, predictor_metrics
from layerwise.training._sprout import Sprout, sprout_predictor, stage_problem
from layerwise.training._trained import Job, trained
from layerwise.training._view import View

_RETRIES = 3


def train_stage(replica: Replica, depth: int, journal: Journal, listen: Listener) -> Outcome:
    """Grow a block and a head, train them on the features of the trunk, freeze them.

    What an earlier session has done already is taken from the journal. A stage that diverges
    ends the replicate, unless it is to be tried again at half the learning rate.
    """
    replica.view.features.advance(replica.below(depth))
    tries = 1 + _RETRIES * (replica.settings.on_divergence == "retry")
    for number in range(tries):
        outcome = _Attempt(replica, depth, number, journal, listen).outcome()
        if outcome.stop_reason != StopReason.DIVERGED:
            return outcome
    replica.diverged = True
    return outcome


class _Attempt:
    """One try at a stage; where it does not diverge, the stage joins the trunk.

    Args:
        replica: that grows.
        depth: of the stage.
        number: of the try; each halves the learning rate of the one before.
        journal: of the run.
        listen: told of progress.
    """

    def __init__(
        self, replica: Replica, depth: int, number: int, journal: Journal, listen: Listener
    ) -> None:
        self.replica, self.depth, self.number = replica, depth, number
        self.journal, self.listen = journal, listen
        self.name = f"{replica.prefix}stage-{depth:04d}-{replica.index}" + (
            f"-retry-{number}" if number else ""
        )
        self.grown = replica.sprout(depth, 0.5**number)
        self.plan = self.grown.plan(replica.settings)
        self._started = time.perf_counter()
        replica.meter.start()
        self._seconds_before = 0.0

    def outcome(self) -> Outcome:
        """Train, freeze and score."""
        grown, replica = self.grown, self.replica
        problem = cache(lambda: replica.problem(grown))
        result = self._trained(problem)
        if result.stop_reason == StopReason.DIVERGED:
            return self._failed(result)
        newest = finish(grown.objective, grown.newest)
        ends = predicts_targets(grown.objective)
        head = None if grown.head is None else Frozen(grown.head)
        stage = Stage(
            depth=self.depth,
            blocks=tuple(Frozen(layer) for layer in (*grown.moved, newest)),
            head=head,
            predictor=head if ends else None,
        )
        kept = self.journal.find(f"{self.name}-scores", self.plan, stage.digest)
        metrics = {} if kept else self._scores(problem(), replica.view, result.epochs)
        curves = {name: list(values) for name, values in result.curves.items()}
        if not ends and replica.data.labels is not None:
            stage, predicted, scores = self._predict(stage, scored=kept is not None)
            if predicted.stop_reason == StopReason.DIVERGED:
                return self._failed(predicted)
            metrics = {split: {**metrics[split], **scores[split]} for split in metrics}
            curves |= {_renamed(name): list(v) for name, v in predicted.curves.items()}
        replica.stages.append(stage)
        _leave(replica)
        if kept is not None:
            return Outcome.restored_from(kept)
        if has_collapsed(problem()):
            result = replace(result, message=MESSAGE)
        outcome = self._outcome(result, metrics, curves)
        self.journal.keep(f"{self.name}-scores", self.plan, outcome.snapshot(), stage.digest)
        return outcome

    def _trained(self, problem: Callable[[], Problem]) -> Result:
        """The stage by itself, or its share of all that train in step."""
        if self.replica.settings.schedule == "sequential":
            return self._train(self.name, self.grown, self.plan, problem)
        column = self.replica.column(0.5**self.number)
        result = column.train(self.depth, self.journal, self.listen, self.replica.meter)
        self._seconds_before += result.seconds_before
        return result

    def _train(
        self, name: str, grown: Sprout, plan: dict[str, Any], problem: Callable[[], Problem]
    ) -> Result:
        job = Job(
            name=name,
            plan=plan,
            below=digest_of(self.replica.stages[: self.depth - 1]),
            layers={"block": grown.block, "head": grown.head},
            problem=problem,
        )
        engine = self.replica.settings.engine
        try:
            result = trained(job, engine, self.journal, self.listen, self.replica.meter)
        except UnusableFeaturesError as error:
            return Result({}, 0, StopReason.DIVERGED, str(error))
        self._seconds_before += result.seconds_before
        return result

    def _scores(self, problem: Problem, view: View, epochs: int) -> dict[str, dict[str, float]]:
        """Metrics of every split, in inference mode."""
        problem.model.rewind(epochs)
        engine = self.replica.settings.engine
        with self.replica.meter.spent_on("scoring"):
            scores = {
                name: engine.evaluate(problem, view.rows(name, problem.objective))
                for name in view.names
            }
        if "validation" in scores:
            said = compared(problem.objective, scores["train"], scores["validation"])
            scores["validation"] |= said
        return scores

    def _predict(
        self, stage: Stage, *, scored: bool
    ) -> tuple[Stage, Result, dict[str, dict[str, float]]]:
        """Train a classifier or regressor on the frozen features; give its result and scores.

        The block is behind the features, out of reach: this cannot disturb the stage.
        """
        replica, settings = self.replica, self.replica.settings
        view = replica.after(stage)
        seed = replica.seed(Stream.CLASSIFIER, self.depth)
        grown = sprout_predictor(settings, view, self.depth, seed, 0.5**self.number)
        problem = cache(lambda: stage_problem(settings, view, grown, seed))
        result = self._train(f"{self.name}-predictor", grown, grown.plan(settings), problem)
        assert grown.head is not None
        stage = replace(stage, predictor=Frozen(grown.head))
        broken = result.stop_reason == StopReason.DIVERGED
        scores = {} if broken or scored else self._scores(problem(), view, result.epochs)
        if view is not replica.view:
            view.features.close()
        renamed = {
            split: {_renamed(name): value for name, value in values.items()}
            for split, values in scores.items()
        }
        return stage, result, renamed

    def _failed(self, result: Result) -> Outcome:
        replica = self.replica
        names = [name for name in result.curves if not name.startswith("val_")] or ["loss"]
        if not predicts_targets(self.grown.objective) and replica.data.labels is not None:
            names += predictor_metrics(replica.data)
        metrics = {split: dict.fromkeys(names, np.nan) for split in replica.view.names}
        return self._outcome(result, metrics, dict(result.curves))

    def _outcome(
        self,
        result: Result,
        metrics: dict[str, dict[str, float]],
        curves: dict[str, list[float]],
    ) -> Outcome:
        return Outcome(
            objective=name_of(self.grown.objective),
            head=self.grown.head_policy,
            parameters=self.grown.parameters,
            epochs=result.epochs,
            stop_reason=result.stop_reason,
            message=result.message,
            seconds=time.perf_counter() - self._started + self._seconds_before,
            metrics=metrics,
            curves=curves,
            retries=self.number,
            ledger=self.replica.meter.read(),
        )


def _leave(replica: Replica) -> None:
    """Audit the stage below the newest, which nothing needs as layers from now on.

    But where every stage looks at all blocks below it, making them again would cost more than they
    take.
    """
    below = replica.stages[-2:-1]
    audit(below)
    settings = replica.settings
    if settings.augment is None and settings.init != "identity":
        for stage in below:
            stage.let_go()


def _renamed(name: str) -> str:
    """The predictor's loss stands beside the objective's own: `predictor_loss`."""
    return name.replace("loss", "predictor_loss") if name in ("loss", "val_loss") else name
