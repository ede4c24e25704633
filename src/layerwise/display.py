"""Showing the events of a run: a live display on a terminal, a line a stage elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from layerwise.errors import InputError, complaint, visible
from layerwise.progress import (
    EpochsDone,
    Event,
    Listener,
    Noted,
    PhaseStarted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)


@contextmanager
def display(verbose: str | int) -> Iterator[Listener]:
    """A listener that shows progress on standard error for as long as the context lasts.

    Args:
        verbose: `"auto"`: live on a terminal, lines elsewhere; 1: lines; 0: nothing.
    """
    if verbose not in ("auto", 0, 1):
        raise InputError(complaint("verbose", 'be "auto", 0 or 1', verbose))
    if verbose == 0:
        yield lambda event: None
    elif verbose == "auto" and sys.stderr.isatty():
        with _live() as listener:
            yield listener
    else:
        yield _print_line


def stage_line(stage: Mapping[str, Any], monitor: str) -> str:
    """One stage in one line of plain text."""
    split, _, name = monitor.partition(".")
    parts = [f"stage {stage['depth']}"]
    for shown in dict.fromkeys(("train", split)):
        parts.append(f"{shown} {name.replace('_', ' ')} {_short((stage[shown] or {}).get(name))}")
    parts.append(f"{stage['epochs']} epochs")
    parts.append(f"{stage['seconds']:.1f} s")
    if stage["stop_reason"] != "completed":
        parts.append(stage["stop_reason"].replace("_", " "))
    if stage.get("diverged"):
        parts.append(f"{stage['diverged']} diverged")
    if stage.get("retries"):
        parts.append(f"retried {stage['retries']} times at half the learning rate")
    if stage.get("message"):
        parts.append(stage["message"])
    return ", ".join(parts)


def _short(metric: Any) -> str:
    if isinstance(metric, Mapping):
        mean, std = metric["mean"], metric["std"]
        return "-" if mean is None else f"{mean:.4f} ± {std:.4f}"
    return "-" if metric is None else f"{metric:.4f}"


def _line(event: Event) -> str | None:
    """What stays on the screen of an event."""
    if isinstance(event, StageFinished):
        line = stage_line(event.history["stages"][-1], event.history["monitor"])
        return f"{line}, from its checkpoint" if event.restored else line
    return event.text if isinstance(event, Noted) else None


def _print_line(event: Event) -> None:
    line = event.name if isinstance(event, PhaseStarted) else _line(event)
    if line is not None:
        print(visible(line), file=sys.stderr, flush=True)  # noqa: T201 - a display is for this


@contextmanager
def _live() -> Iterator[Listener]:
    """A bar for the current stage; finished stages scroll up as lines."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[state]}"),
        console=console,
        transient=True,
    )
    with bar:
        yield _Live(bar).listen


class _Live:
    """Keeps one bar in step with the events."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task = bar.add_task("starting", total=None, state="")
        self._run: RunStarted | None = None
        self._started = time.monotonic()
        self._total = 0

    def listen(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._run = event
        elif isinstance(event, StageStarted):
            self._start(self._title(event), event.epochs)
        elif isinstance(event, PhaseStarted):
            self._start(event.name, event.epochs)
        elif isinstance(event, EpochsDone):
            self._bar.update(self._task, completed=event.epoch, state=self._state(event))
        elif isinstance(event, RunFinished):
            self._bar.update(self._task, visible=False)
        line = _line(event)
        if line is not None:
            # A note is a sentence that must be read whole; a stage is one line of a table.
            whole = isinstance(event, Noted)
            self._bar.console.print(
                visible(line),
                highlight=False,
                markup=False,
                no_wrap=not whole,
                overflow="fold" if whole else "ellipsis",
            )

    def _title(self, event: StageStarted) -> str:
        if self._run is None or self._run.replicates == 1:
            return f"stage {event.depth}"
        return f"stage {event.depth}, replicate {event.replicate + 1}/{self._run.replicates}"

    def _start(self, title: str, epochs: int) -> None:
        self._started, self._total = time.monotonic(), epochs
        # A task cannot forget its total, so every stage gets one of its own.
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task(title, total=epochs or None, state="")

    def _state(self, event: EpochsDone) -> str:
        """Epoch, loss, validation metric and the time that this stage still needs."""
        total = max(self._total, event.epoch)
        left = (time.monotonic() - self._started) / max(event.epoch, 1) * (total - event.epoch)
        parts = [f"epoch {event.epoch}/{total}", f"loss {event.logs.get('loss', 0):.4f}"]
        metric = self._run.monitor.partition(".")[2] if self._run else "loss"
        value = event.logs.get(f"val_{metric}")
        if value is not None:
            parts.append(f"val {value:.4f}")
        parts.append(f"{left:.0f} s left")
        return " ".join(parts)
