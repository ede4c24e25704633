"""What a display knows of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from layerwise.display._clock import Growth, Pace, duration
from layerwise.history import higher_is_better, score_of
from layerwise.progress import (
    EpochsDone,
    Event,
    PhaseStarted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)


class RunState:
    """Follows the events of a run, and says in words where it stands.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._run = RunStarted({}, ".loss", 1, 1)
        self._growth = Growth(1, 1)
        self._stage: StageStarted | None = None
        self._searching = False
        self.pace = Pace(0, clock)
        self.title = "starting"
        self.epoch = 0
        self.logs: Mapping[str, float] = {}
        self.scores: Sequence[float | None] = ()
        """The monitored metric of each finished stage, from depth 1."""
        self.over = False

    def listen(self, event: Event) -> None:
        """Take in what has happened."""
        if isinstance(event, RunStarted):
            self._run = event
            self._growth = Growth(event.max_depth, event.replicates)
        elif isinstance(event, StageStarted):
            self._begin_stage(event)
        elif isinstance(event, PhaseStarted):
            # A search of the depth is the only phase that has stages.
            self._searching = not self.scores and self._stage is None
            self._stage = None
            self._begin(event.name, event.epochs)
        elif isinstance(event, EpochsDone):
            self.pace.report(event.epoch)
            self.epoch, self.logs = event.epoch, event.logs
        elif isinstance(event, StageFinished):
            self._searching = False
            self._growth.finished(event.history["stages"][-1]["seconds"])
            self.scores = _scores(event.history)
        elif isinstance(event, RunFinished):
            self.over = True

    def _begin_stage(self, event: StageStarted) -> None:
        again = self._stage is not None and event.depth < self._stage.depth
        self._searching = self._searching and not again
        self._stage = event
        title = f"stage {event.depth}"
        if self._run.replicates > 1:
            title += f", replicate {event.replicate + 1}/{self._run.replicates}"
        self._begin(f"search, {title}" if self._searching else title, event.epochs)

    def _begin(self, title: str, epochs: int) -> None:
        self.title, self.epoch, self.logs = title, 0, {}
        self.pace = Pace(epochs, self._clock)

    @property
    def total(self) -> int:
        """Epochs of the training at hand."""
        return max(self.pace.epochs, self.epoch)

    def current(self) -> str:
        """Epoch, loss and validation metric of the training at hand."""
        if not self.total:
            return ""
        parts = [f"epoch {self.epoch}/{self.total}"]
        if "loss" in self.logs:
            parts.append(f"loss {self.logs['loss']:.4f}")
        value = self.logs.get(f"val_{self._metric}")
        if value is not None:
            parts.append(f"val {value:.4f}")
        return " ".join(parts)

    def best(self) -> str:
        """The best depth so far and its score."""
        known = {i: score for i, score in enumerate(self.scores, 1) if score is not None}
        if not known:
            return ""
        pick = max if higher_is_better(self._run.monitor) else min
        depth = pick(known, key=lambda depth: known[depth])
        name = self._run.monitor.replace(".", " ").replace("_", " ")
        return f"best so far: depth {depth}, {name} {known[depth]:.4f}"

    def left(self) -> str:
        """How long the run may still take."""
        if self._stage is None or self._searching:
            seconds = self.pace.left()
            return "" if seconds is None else f"{self.title}: about {duration(seconds)} left"
        stage = self._stage
        seconds = self._growth.left(stage.depth, stage.replicate, self.pace)
        if seconds is None:
            return ""
        # A depth rule may end growth earlier, so more is never promised.
        how = "at most" if stage.depth < self._run.max_depth else "about"
        follow = "".join(f", then {name}" for name in self._run.phases)
        return f"{how} {duration(seconds)} left{follow}"

    @property
    def _metric(self) -> str:
        return self._run.monitor.partition(".")[2]


def _scores(history: Mapping[str, Any]) -> list[float | None]:
    split, _, name = history["monitor"].partition(".")
    found = [score_of((stage[split] or {}).get(name)) for stage in history["stages"]]
    return [None if score is None else score.mean for score in found]
