"""The greedy loop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

from layerwise.history import History, RunStopReason, StageRecord, StopReason
from layerwise.progress import EpochsDone, Listener, StageStarted
from layerwise.training._records import stage_record
from layerwise.training._replica import Outcome, Replica
from layerwise.training._settings import Settings


def grow(
    replicas: Sequence[Replica], settings: Settings, history: History, listen: Listener
) -> Iterator[StageRecord]:
    """Grow all replicates by one stage at a time until a reason to stop is found.

    For each stage: grow a block and a head, train them on the features of the frozen trunk,
    freeze; then `history` gains the record, and the depth rule is asked.
    """
    for depth in itertools.count(1):
        started = time.perf_counter()
        outcomes = [_train(replica, depth, listen) for replica in replicas]
        record = stage_record(depth, outcomes, time.perf_counter() - started)
        history.stages.append(record)
        history.stop_reason = _reason_to_stop(settings, history)
        yield record
        if history.stop_reason is not None:
            return


def _train(replica: Replica, depth: int, listen: Listener) -> Outcome | None:
    """One stage of one replicate; None where it has diverged before."""
    if replica.diverged:
        return None
    listen(StageStarted(depth, replica.index, replica.settings.epochs(depth)))
    return replica.train_stage(depth, lambda epoch, logs: listen(EpochsDone(epoch, logs)))


def _reason_to_stop(settings: Settings, history: History) -> RunStopReason | None:
    newest = history.stages[-1]
    if newest.stop_reason == StopReason.DIVERGED:
        return RunStopReason.DIVERGED
    if settings.depth_rule.stop(history):
        return RunStopReason.DEPTH_PLATEAU
    if newest.depth == settings.blocks.count:
        return RunStopReason.BLOCKS_EXHAUSTED
    if newest.depth >= settings.max_depth:
        return RunStopReason.MAX_DEPTH
    return None
