"""One growing network, of one seed."""

from __future__ import annotations

import math

from layerwise._random import Stream, derive
from layerwise.datasets import Dataset
from layerwise.engine import Problem, metric_names
from layerwise.features import Store
from layerwise.growth import Frozen, Stage, path, stitch
from layerwise.objectives import has_views, predicts_targets, views_of
from layerwise.training._assemble import assembler
from layerwise.training._column import Column
from layerwise.training._meter import Meter
from layerwise.training._settings import Settings
from layerwise.training._sprout import Sprout, sprout, stage_problem
from layerwise.training._view import View


class Replica:
    """A network that grows.

    Args:
        index: of the replicate; 0 is the plain run.
        data: all splits.
        settings: of the run.
        store: where features go; None for memory.
        prefix: of the names of its trainings in the journal.
        meter: of what its stages cost; one that counts no operations by default.

    Attributes:
        stages: trained and frozen.
        diverged: whether it has ended early.
        view: the data as the next stage sees them.
        stage_bytes: about what the variables of the first stage take, once prepared.
    """

    def __init__(
        self,
        index: int,
        data: Dataset,
        settings: Settings,
        store: Store | None = None,
        prefix: str = "",
        meter: Meter | None = None,
    ) -> None:
        self.index, self.data, self.settings, self.prefix = index, data, settings, prefix
        self._store = store
        self.stages: list[Stage] = []
        self.diverged = False
        self._splits = ["train", "validation", *["test"] * settings.score_test_each_stage]
        self.meter = meter or Meter(settings.engine)
        self.view = self._first_view()
        self.stage_bytes = 0
        self._prepared: tuple[Sprout, Problem] | None = None
        self._columns: dict[float, Column] = {}

    def _first_view(self) -> View:
        """The data as they are, or as the objective wants to see them."""
        settings, objective = self.settings, self.settings.objective(1)
        plain = View(
            self.data,
            self._splits,
            settings.engine,
            self._store,
            settings.augment,
            meter=self.meter,
            cache_dtype=settings.cache_dtype,
        )
        if not has_views(objective):
            return plain
        seed, targets = self.seed(Stream.VIEWS), plain.targets()
        return View(
            self.data,
            self._splits,
            settings.engine,
            self._store,
            views=lambda split: views_of(objective, split.x, split.y, targets, seed),
            views_name=f" {objective!r} {seed}",
            meter=self.meter,
            cache_dtype=settings.cache_dtype,
        )

    def after(self, stage: Stage) -> View:
        """What the classifier beside a stage sees; the next stage may go on from there."""
        stages = [*self.stages, stage]
        blocks = path(stages)
        assemble = assembler(self.settings.objective(stage.depth), self.data)
        if assemble is not None:
            raw = View(self.data, self._splits, self.settings.engine, meter=self.meter)
            trunk = stitch(stages, None, raw.features.shape, raw.features.dtype, assemble=assemble)
            return raw.beyond([Frozen(trunk)])
        if self.settings.policy.lowest(stage.depth + 1) <= stage.depth:
            return self.view.beyond(blocks)
        self.view.features.advance(blocks)
        return self.view

    def seed(self, stream: Stream, *path: int) -> int:
        """The seed of one of this network's random streams."""
        return derive(self.settings.seed, stream, self.index, *path)

    def below(self, depth: int) -> list[Frozen]:
        """The blocks below those that the stage of this depth trains."""
        return path(self.stages)[: self.settings.policy.lowest(depth) - 1]

    def on(self, data: Dataset, prefix: str) -> Replica:
        """Another that grows in the same way, from nothing, on other rows."""
        return Replica(self.index, data, self.settings, self._store, prefix, self.meter)

    def go_by(self, settings: Settings) -> None:
        """Grow by other settings; nothing has been trained yet."""
        self.settings, self._prepared = settings, None
        self._columns.clear()

    def prepare(self) -> list[str]:
        """Grow the first stage, which proves that the shapes fit; return what it will report."""
        grown = self.sprout(1)
        problem = self.problem(grown)
        self.settings.engine.check(problem)
        self._prepared = grown, problem
        self.stage_bytes = sum(math.prod(v.shape) * 4 for v in problem.model.variables)
        names = metric_names(problem)
        if self.data.labels is None or predicts_targets(grown.objective):
            return names
        return [*names, *predictor_metrics(self.data)]

    def column(self, slower: float = 1.0) -> Column:
        """All stages, to be trained in step; always the same for a learning rate."""
        if slower not in self._columns:
            raw = self.view.beyond(())
            name = f"{self.prefix}in-step-{self.index}" + (
                f"-slower-{slower:g}" if slower < 1 else ""
            )
            self._columns[slower] = Column(self.settings, raw, self.seed, name, slower)
        return self._columns[slower]

    def sprout(self, depth: int, slower: float = 1.0) -> Sprout:
        """Grow the layers of the next stage, on the features in view."""
        if self._prepared is not None and self._prepared[0].depth == depth and slower == 1:
            return self._prepared[0]
        if self.settings.schedule == "simultaneous":
            return self.column(slower).sprouts[depth - 1]
        return sprout(self.settings, self.view, depth, self.seed, self.stages, slower)

    def problem(self, grown: Sprout) -> Problem:
        """What the stage minimises, on the features in view."""
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] is grown:
            return prepared[1]
        seed = self.seed(Stream.TRAINING, grown.depth)
        return stage_problem(
            self.settings, self.view, grown, seed, self.settings.callbacks(grown.depth)
        )


def predictor_metrics(data: Dataset) -> list[str]:
    """What a classifier or regressor beside a stage reports."""
    return [
        "predictor_loss",
        "accuracy" if data.classes is not None else "mean_squared_error",
    ]
