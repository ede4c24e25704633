"""The greedy loop."""

from __future__ import annotations

import gc
import itertools
from collections.abc import Iterator, Sequence

from layerwise.checkpoint import Journal
from layerwise.history import History, RunStopReason, StopReason
from layerwise.progress import Listener, StageFinished, StageStarted
from layerwise.training._outcome import Outcome
from layerwise.training._records import stage_record
from layerwise.training._replica import Replica
from layerwise.training._settings import Settings
from layerwise.training._stage import train_stage


def grow(
    replicas: Sequence[Replica],
    settings: Settings,
    history: History,
    journal: Journal,
    listen: Listener,
) -> Iterator[StageFinished]:
    """Grow all replicates by one stage at a time until a reason to stop is found.

    For each stage: grow a block and a head, train them on the features of the frozen trunk,
    freeze; then `history` gains the record, and the depth rule is asked. What the journal holds
    of an earlier session is not trained again.
    """
    left = 0
    for depth in itertools.count(1):
        outcomes = [_train(replica, depth, journal, listen) for replica in replicas]
        left += _left_behind(outcomes)
        if left > _GARBAGE:
            gc.collect()
            left = 0
        history.stages.append(stage_record(depth, outcomes))
        history.stop_reason = _reason_to_stop(settings, history)
        restored = all(outcome is None or outcome.restored for outcome in outcomes)
        yield StageFinished(history.snapshot(), restored)
        if history.stop_reason is not None:
            return


_GARBAGE = 16 << 20
"""Bytes. Layers and models refer to themselves, and models hold optimizers: Python frees them when
it looks for such things, which it does by their number, and a few may hold gigabytes."""


def _left_behind(outcomes: Sequence[Outcome | None]) -> int:
    """About how many bytes the stages of a depth need no more: weights and two moments of each."""
    return sum(12 * outcome.parameters for outcome in outcomes if outcome is not None)


def _train(replica: Replica, depth: int, journal: Journal, listen: Listener) -> Outcome | None:
    """One stage of one replicate; None where it has diverged before."""
    if replica.diverged:
        return None
    listen(StageStarted(depth, replica.index, replica.settings.epochs(depth)))
    return train_stage(replica, depth, journal, listen)


def _reason_to_stop(settings: Settings, history: History) -> RunStopReason | None:
    newest = history.stages[-1]
    if newest.stop_reason == StopReason.DIVERGED:
        return RunStopReason.DIVERGED
    # In step, all stages are trained by now.
    if settings.schedule == "sequential" and settings.depth_rule.stop(history):
        return RunStopReason.DEPTH_PLATEAU
    if newest.depth == settings.blocks.count:
        return RunStopReason.BLOCKS_EXHAUSTED
    if newest.depth >= settings.max_depth:
        return RunStopReason.MAX_DEPTH
    return None
