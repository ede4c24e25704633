"""`events.jsonl`: what happened in a run, one JSON object a line, as it comes."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from layerwise import files
from layerwise.history import finite
from layerwise.progress import (
    EpochsDone,
    Event,
    Noted,
    PhaseStarted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)

NAME = "events.jsonl"


class EventLog:
    """Appends a line for each event; docs/history.md describes the fields.

    A later session of the run goes on below. What it only takes from checkpoints is not told
    again: a stage stands in the log once, however often the run was stopped.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: files.RunLock | None = None
        self._early: list[Event] = []
        self._session = 1
        self._known: set[str] = set()
        self._held: dict[str, Any] | None = None
        self._where: dict[str, Any] = {}

    def open(self, lock: files.RunLock) -> None:
        """Mend what a killed process left, and write down what happened so far.

        Args:
            lock: of the run folder, which is ours.
        """
        self._lock = lock
        for line in files.mend_lines(self._folder, NAME):
            self._remember(line)
        for event in self._early:
            self.listen(event)
        self._early = []

    def listen(self, event: Event) -> None:
        """Append what an event says, or keep it until the folder is ours."""
        if self._lock is None:
            self._early.append(event)
            return
        told = _told(event)
        key = _key(told)
        if isinstance(event, StageStarted | PhaseStarted):
            self._where = {name: v for name, v in told.items() if name not in ("event", "epochs")}
            # An earlier session did this: it is news only if it trains.
            self._held = told if key in self._known else None
            if self._held is not None:
                return
        elif isinstance(event, EpochsDone):
            told |= self._where
            if self._held is not None:
                self._write(self._held)
            self._held = None
        elif isinstance(event, StageFinished):
            self._held = None
            if event.restored and key in self._known:
                return
        self._write(told)

    def _remember(self, line: str) -> None:
        """Note what a line of an earlier session tells; one that cannot be read tells nothing."""
        if '"epochs_done"' in line:
            return
        try:
            told = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(told, dict):
            return
        self._known.add(_key(told))
        session = told.get("session")
        if type(session) is int:
            self._session = max(self._session, session + 1)

    def _write(self, told: Mapping[str, Any]) -> None:
        assert self._lock is not None
        self._lock.refuse_where_lost()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        head = {"event": told["event"], "time": now, "session": self._session}
        line = json.dumps(finite({**head, **told}), allow_nan=False)
        files.append_line(self._folder / NAME, line)


def _key(told: Mapping[str, Any]) -> str:
    """What makes two lines tell the same."""
    return repr([told.get(name) for name in ("event", "depth", "replicate", "name")])


def _told(event: Event) -> dict[str, Any]:
    """An event as plain values; curves and pictures are in files of their own."""
    match event:
        case RunStarted():
            return {
                "event": "run_started",
                "monitor": event.monitor,
                "max_depth": event.max_depth,
                "replicates": event.replicates,
            }
        case StageStarted():
            return {
                "event": "stage_started",
                "depth": event.depth,
                "replicate": event.replicate,
                "epochs": event.epochs,
            }
        case EpochsDone():
            logs = {name: float(value) for name, value in event.logs.items()}
            return {"event": "epochs_done", "epoch": event.epoch, "logs": logs}
        case StageFinished():
            record = {k: v for k, v in event.history["stages"][-1].items() if k != "curves"}
            return {"event": "stage_finished", **record, "restored": event.restored}
        case PhaseStarted():
            return {"event": "phase_started", "name": event.name, "epochs": event.epochs}
        case Noted():
            return {"event": "noted", "text": event.text}
        case RunFinished():
            names = ("selected_depth", "stop_reason", "fine_tune", "baseline", "test")
            record = {name: event.history.get(name) for name in names}
            return {"event": "run_finished", **record, "explanation": event.explanation}
