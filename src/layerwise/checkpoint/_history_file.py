"""`history.json`, kept up with a run that goes on."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from layerwise import files
from layerwise.checkpoint._pace import Pace
from layerwise.errors import DiskFullError
from layerwise.progress import EpochsDone, Event, PhaseStarted, RunFinished, StageFinished

HISTORY = "history.json"
_MOST = 60.0


class HistoryFile:
    """Writes what the stages so far have in numbers.

    The history of a thousand stages takes longer to write than one more takes to train: so it is
    written a small share of the time, and what waits is told at any event that follows.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: files.RunLock | None = None
        self._untold: Mapping[str, Any] | None = None
        self._pace = Pace(0.0, most=_MOST)

    def open(self, lock: files.RunLock) -> None:
        """From now on the folder is ours.

        Args:
            lock: of it.
        """
        self._lock = lock

    def listen(self, event: Event) -> None:
        """Write what an event brings, or what waits since another, where it is time."""
        if isinstance(event, StageFinished | RunFinished):
            self._untold = event.history
        # Stages taken from their checkpoints one after the other are in the file already.
        again = isinstance(event, StageFinished) and event.restored
        news = isinstance(event, StageFinished | EpochsDone | PhaseStarted) and not again
        if isinstance(event, RunFinished) or (news and self._pace.due):
            self._write()

    def close(self) -> None:
        """Write what waits: the run has ended, perhaps by an error, which this may not hide."""
        if self._lock is not None and not self._lock.lost:
            with suppress(DiskFullError, OSError):
                self._write()

    def _write(self) -> None:
        if self._untold is None or self._lock is None:
            return
        self._lock.refuse_where_lost()
        with self._pace.taken():
            files.write_json(self._folder / HISTORY, self._untold)
        self._untold = None
