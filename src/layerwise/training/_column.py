"""All stages of one replicate, grown at once and trained in step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import keras

from layerwise._random import Stream
from layerwise.checkpoint import Journal
from layerwise.datasets import Split
from layerwise.engine import Problem, Result
from layerwise.growth import Frozen, attach
from layerwise.objectives import InStep, Parts, in_step, needs_targets, takes
from layerwise.progress import Listener
from layerwise.training._meter import Meter
from layerwise.training._settings import Settings
from layerwise.training._sprout import Sprout, sprout
from layerwise.training._trained import Job, trained
from layerwise.training._view import View, target_of


class Column:
    """The stages of a network before and after they are trained in step.

    Args:
        settings: of the run.
        view: the raw data.
        seed: the seed of a stream at a depth.
        name: of the training in the journal.
        slower: what the learning rate is multiplied by.
    """

    def __init__(
        self,
        settings: Settings,
        view: View,
        seed: Callable[..., int],
        name: str,
        slower: float = 1.0,
    ) -> None:
        self._settings, self._seed, self._name = settings, seed, name
        self.sprouts: list[Sprout] = []
        self._views: list[View] = [view]
        blocks: list[Frozen] = []
        for depth in range(1, settings.deepest + 1):
            grown = sprout(settings, self._views[-1], depth, seed, (), slower)
            self.sprouts.append(grown)
            # Only shapes are seen here: no features are asked for.
            blocks.append(Frozen(grown.block))
            self._views.append(view.beyond(blocks))
        self._result: Result | None = None

    def train(self, depth: int, journal: Journal, listen: Listener, meter: Meter) -> Result:
        """Train all stages, the first time this is asked; give the result of one."""
        if self._result is None:
            heads = {in_step(s.depth): s.head for s in self.sprouts if s.head is not None}
            block, head = self._block, Parts(heads, ())
            job = Job(
                name=self._name,
                plan={in_step(s.depth): s.plan(self._settings) for s in self.sprouts},
                below="",
                layers={"block": block, "head": head},
                problem=lambda: self._problem(block, head),
            )
            self._result = trained(job, self._settings.engine, journal, listen, meter)
        whole, prefix = self._result, f"{in_step(depth)}_"
        curves = {
            name.replace(prefix, "", 1): values  # `val_` stays in front.
            for name, values in whole.curves.items()
            if name.removeprefix("val_").startswith(prefix)
        }
        return replace(whole, curves=curves, seconds_before=whole.seconds_before * (depth == 1))

    @cached_property
    def _block(self) -> keras.Sequential:
        block = keras.Sequential([grown.block for grown in self.sprouts])
        raw = self._views[0].features
        attach(block, raw.shape, raw.dtype, "The network")
        return block

    def _problem(self, block: keras.Layer, head: keras.Layer) -> Problem:
        settings, view = self._settings, self._views[0]
        objectives = [grown.objective for grown in self.sprouts]
        targets = [view.targets() for view in self._views[:-1]]
        seed = self._seed(Stream.TRAINING, 1)
        return Problem(
            prefix=view.prefix(seed),
            block=block,
            head=head,
            objective=InStep(objectives, targets),
            targets=targets[0],
            train=self._rows("train"),
            validation=self._rows("validation") if "validation" in view.names else None,
            optimizer=self.sprouts[0].optimizer,
            batch_size=settings.batch_size(1),
            epochs=settings.epochs(1),
            seed=seed,
            callbacks=settings.callbacks(1),
        )

    def _rows(self, name: str) -> Split:
        """The raw data, and what each objective wants to see of it as `y`."""
        view = self._views[0]
        # Where one of them needs labels, all see the rows that have some.
        one = max((grown.objective for grown in self.sprouts), key=needs_targets)
        source = view.source(name, one)
        wanted: dict[str, Any] = {}
        for grown, seen in zip(self.sprouts, self._views, strict=False):
            target = target_of(grown.objective, source, seen.targets())
            if target is not None:
                wanted[in_step(grown.depth)] = target
        weighted = any(takes(grown.objective, "sample_weight") for grown in self.sprouts)
        weight = source.sample_weight if weighted else None
        return replace(source, y=wanted, sample_weight=weight)
