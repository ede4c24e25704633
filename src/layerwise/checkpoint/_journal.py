"""What a run has already done: every finished training, and the one in progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from layerwise import files, signals
from layerwise.checkpoint._difference import where_they_differ
from layerwise.checkpoint._format import Checkpoint, read, write
from layerwise.checkpoint._pace import Pace
from layerwise.engine import Snapshot, UnstorableError, Watch
from layerwise.errors import DamagedError, InputError, UnknownFormatError
from layerwise.progress import EpochsDone, Listener, Noted

_GENERATIONS = ("current-a", "current-b")


class Journal:
    """Remembers nothing: a run without a folder. `KeptJournal` is the one on disk."""

    def find(self, name: str, plan: Mapping[str, Any], below: str = "") -> Snapshot | None:
        """A training that was finished in an earlier session, or None.

        Args:
            name: of the training.
            plan: what it is to be trained with.
            below: digest of the frozen blocks below.

        Raises:
            InputError: it was trained with another plan; the message names the difference.
        """
        return None

    def keep(self, name: str, plan: Mapping[str, Any], snapshot: Snapshot, below: str = "") -> None:
        """Remember a finished training."""

    def watch(
        self, name: str, plan: Mapping[str, Any], listen: Listener, below: str = ""
    ) -> RunWatch:
        """What an engine reports to; it starts where an earlier session stood."""
        return RunWatch(listen)

    def flush(self) -> None:
        """Write down the training in progress, as far as it can be gone on with."""

    def close(self) -> None:
        """Forget what is of no use once the run is finished."""


class RunWatch(Watch):
    """Passes progress on to the listeners."""

    def __init__(self, listen: Listener, seconds: float = 0.0) -> None:
        self._listen = listen
        self._begun = time.perf_counter() - seconds

    def seconds(self) -> float:
        """How long this training lasts already, earlier sessions included."""
        return time.perf_counter() - self._begun

    def epochs(self, done: int, logs: Mapping[str, float]) -> None:
        self._listen(EpochsDone(done, logs))


class KeptJournal(Journal):
    """The journal in a folder: one sub-folder a finished training, two for the one in progress.

    Args:
        folder: `checkpoints/` of the run.
        run: SHA-256 of `run.json`.
        every: seconds between two checkpoints inside one training.
        listen: told of what was found damaged.
        lock: of the run folder.
    """

    def __init__(
        self, folder: Path, run: str, every: float, listen: Listener, lock: files.RunLock
    ) -> None:
        self._folder, self._run, self._every, self._lock = folder, run, every, lock
        self._listen = listen
        self._watch: KeptWatch | None = None
        self._serial = 0
        self._left: list[Checkpoint] | None = None

    def find(self, name: str, plan: Mapping[str, Any], below: str = "") -> Snapshot | None:
        found = self._read(name)
        if found is None:
            return None
        if found.name != name:
            self._note(f"The checkpoint {name} is one of {found.name}: {name} is trained again.")
            return None
        _refuse_another_plan(name, found.plan, plan)
        if found.below != below:
            self._note(f"What {name} stands on has changed: it is trained again.")
            return None
        return found.snapshot

    def keep(self, name: str, plan: Mapping[str, Any], snapshot: Snapshot, below: str = "") -> None:
        seconds = self._watch.seconds() if self._watch is not None else 0.0
        self._write(name, name, plan, snapshot, below, seconds)
        self._watch = None

    def watch(
        self, name: str, plan: Mapping[str, Any], listen: Listener, below: str = ""
    ) -> RunWatch:
        fitting = [c for c in self._in_progress() if (c.name, c.below) == (name, below)]
        newest = max(fitting, key=lambda checkpoint: checkpoint.serial, default=None)
        if newest is not None:
            _refuse_another_plan(name, newest.plan, plan)

        def write_down(snapshot: Snapshot, seconds: float) -> None:
            self._left = []
            self._serial += 1
            folder = _GENERATIONS[self._serial % len(_GENERATIONS)]
            self._write(folder, name, plan, snapshot, below, seconds)

        self._watch = KeptWatch(listen, newest, write_down, self._every)
        return self._watch

    def flush(self) -> None:
        if self._watch is not None:
            self._watch.flush()

    def close(self) -> None:
        for folder in _GENERATIONS:
            files.remove(self._folder / folder)

    def _in_progress(self) -> list[Checkpoint]:
        """What an earlier session left unfinished, until this one writes over it."""
        if self._left is None:
            found = [self._read(folder) for folder in _GENERATIONS]
            self._left = [checkpoint for checkpoint in found if checkpoint is not None]
            self._serial = max((checkpoint.serial for checkpoint in self._left), default=0)
        return self._left

    def _write(
        self,
        folder: str,
        name: str,
        plan: Mapping[str, Any],
        snapshot: Snapshot,
        below: str,
        seconds: float,
    ) -> None:
        checkpoint = Checkpoint(name, self._run, plan, below, self._serial, seconds, snapshot)
        self._lock.refuse_where_lost()
        with signals.deferred():
            write(self._folder / folder, checkpoint)

    def _read(self, folder: str) -> Checkpoint | None:
        """A checkpoint of this run, or None; a damaged one is told of and removed."""
        path = self._folder / folder
        if not os.path.lexists(path):
            return None
        try:
            found = read(self._folder, folder)
        except UnknownFormatError:
            # It is whole, and worth more to the version that wrote it.
            raise
        except (FileNotFoundError, DamagedError) as error:
            self._note(f"{error} What {folder} held is trained again.")
            files.remove(path)
            return None
        if found.run != self._run:
            self._note(f"The checkpoint {folder} is of another run. What it held is trained again.")
            return None
        return found

    def _note(self, text: str) -> None:
        self._listen(Noted(text))


class KeptWatch(RunWatch):
    """Writes down now and then where the training stands.

    Args:
        listen: told of progress.
        start: where an earlier session stood, or None.
        write_down: writes a snapshot, with the seconds spent so far.
        every: seconds between two.
    """

    def __init__(
        self,
        listen: Listener,
        start: Checkpoint | None,
        write_down: Callable[[Snapshot, float], None],
        every: float,
    ) -> None:
        super().__init__(listen, 0.0 if start is None else start.seconds)
        self.start = None if start is None else start.snapshot
        self._write_down, self._pace = write_down, Pace(every, forgives=False)
        self._take: Callable[[], Snapshot] | None = None

    def pause(self, take: Callable[[], Snapshot]) -> None:
        self._take = take
        if signals.asked() or self._pace.due:
            self.flush()

    def moves(self) -> None:
        self._take = None

    def flush(self) -> None:
        """Write down the newest state that can be gone on with, unless that was done."""
        take, self._take = self._take, None
        if take is None:
            return
        try:
            with self._pace.taken():
                self._write_down(take(), self.seconds())
        except UnstorableError as error:
            # Without the callback's state the rest would differ: the stage starts again.
            self._pace.stop()
            self._listen(Noted(f"No checkpoint inside this stage: {error}, which no file keeps."))


def _refuse_another_plan(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key) != new.get(key):
            then, now = where_they_differ(repr(old.get(key)), repr(new.get(key)))
            raise InputError(
                f"{name}: `{key}` was {then} when the run was started, and is {now} now. Pass what "
                "the run was started with."
            )
