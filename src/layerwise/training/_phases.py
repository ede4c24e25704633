"""Training several blocks together as a `FineTune` says: which move, when, how fast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import keras

from layerwise.checkpoint import Journal
from layerwise.engine import Problem, Result
from layerwise.finetune import FineTune
from layerwise.growth import digest_of
from layerwise.history import StopReason
from layerwise.optimizers import at_rate, fresh, slowed_by_variable
from layerwise.progress import Listener
from layerwise.training._replica import Replica
from layerwise.training._settings import described_tuning
from layerwise.training._trained import Job, ready, trained

Make = Callable[[keras.Optimizer, int], Problem]
"""From an optimizer and a number of epochs to the problem."""


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Blocks on one another, and what stands on them.

    Attributes:
        name: of its training in the journal.
        blocks: from the lowest up.
        layers: all that moves, by name; their variables in the order of the problem's.
        make: the problem of them.
        plan: what tells it from others, to be compared by a resume.
    """

    name: str
    blocks: Sequence[keras.Layer]
    layers: Mapping[str, keras.Layer | None]
    make: Make
    plan: Mapping[str, Any]

    def problem(self, replica: Replica, spec: FineTune, epochs: int) -> Problem:
        """With an optimizer of its own, as far as the layers may move now."""
        depth = len(self.blocks)
        stages = replica.settings.optimizer(depth)
        optimizer = at_rate(fresh(spec.optimizer) if spec.optimizer else stages, spec.learning_rate)
        if spec.layer_decay < 1:
            of_block = {
                id(variable): spec.layer_decay ** (depth - number)
                for number, block in enumerate(self.blocks)
                for variable in block.variables
            }
            moving = [
                variable
                for layer in self.layers.values()
                if layer is not None
                for variable in layer.trainable_variables
            ]
            factors = [of_block.get(id(variable), 1.0) for variable in moving]
            optimizer = slowed_by_variable(optimizer, factors)
        return self.make(optimizer, epochs)


def train_in_phases(
    replica: Replica,
    whole: Whole,
    spec: FineTune,
    journal: Journal,
    listen: Listener,
    at_first: Problem | None = None,
) -> Result:
    """Train in place, phase after phase; the result of the last, or of one that diverged.

    Args:
        replica: whose network it is.
        whole: what moves.
        spec: of the fine-tuning.
        journal: of the run.
        listen: told of progress.
        at_first: the problem in which everything moves, where it is there already.
    """
    depth, before = len(whole.blocks), 0.0
    for number, (top, epochs) in enumerate(spec.phases(depth), start=1):
        with _still(whole.blocks[: depth - top]):
            # With other blocks at rest the layers make another problem.
            if at_first is not None and (top, epochs) == (depth, spec.epochs):
                problem = at_first
            else:
                problem = whole.problem(replica, spec, epochs)
            job = Job(
                name=whole.name + (f"-{number}" if number > 1 else ""),
                plan={
                    "depth": depth,
                    "phase": [top, epochs],
                    **described_tuning(spec),
                    **whole.plan,
                },
                below=digest_of(replica.stages[:depth]),
                layers=whole.layers,
                problem=ready(problem),
            )
            result = trained(job, replica.settings.engine, journal, listen, replica.meter)
        before += result.seconds_before
        if result.stop_reason == StopReason.DIVERGED:
            break
    return replace(result, seconds_before=before)


@contextmanager
def _still(blocks: Sequence[keras.Layer]) -> Iterator[None]:
    """Let blocks rest, their statistics too, and then be as they were."""
    before = [(layer, layer.trainable) for block in blocks for layer in block._flatten_layers()]
    for block in blocks:
        block.trainable = False
    try:
        yield
    finally:
        for layer, moved in before:
            layer.trainable = moved
