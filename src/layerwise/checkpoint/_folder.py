"""The run folder: it follows the events of a run and keeps what they say on disk."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from layerwise import files
from layerwise.checkpoint._difference import compare
from layerwise.checkpoint._events import EventLog
from layerwise.checkpoint._history_file import HISTORY, HistoryFile
from layerwise.checkpoint._journal import Journal, KeptJournal
from layerwise.checkpoint._network import EXITS, keep_network
from layerwise.checkpoint._pages import DEPTH, PICTURES, REPORT, Pages
from layerwise.checkpoint._sums import is_whole, read_sums, write_sums
from layerwise.errors import DamagedError, InputError
from layerwise.progress import Event, Listener, Noted

RUN, MODEL = "run.json", "model.keras"
ARTEFACTS = (RUN, HISTORY, MODEL, DEPTH, REPORT)
PREPARATION = "preparation.json"
"""Of a run on a table or images alone: what turns them into the network's inputs."""
_RUN_LIMIT = 16 << 20


@dataclass(frozen=True)
class Room:
    """What a run will need on disk.

    Args:
        stage_bytes: about what the variables of the first stage take.
        stages: how many there may be, all replicates together.
    """

    stage_bytes: int = 0
    stages: int = 0

    def check(self, folder: Path, listen: Listener) -> None:
        """Refuse where not even one stage fits, and say so where not all may.

        While a stage trains it is kept twice, with an optimizer that may hold two more numbers
        for each weight.

        Raises:
            DiskFullError: not even one stage has room.
        """
        in_progress = 6 * self.stage_bytes
        files.check_room(folder, in_progress + self.stage_bytes)
        # At the end the chosen network stands there three times: for Keras, as data, with exits.
        whole, free = in_progress + (3 + self.stages) * self.stage_bytes, files.free_bytes(folder)
        if free < whole:
            listen(
                Noted(
                    f"The run may need {whole:,} bytes in {folder}, and {free:,} are free. What is "
                    "finished is kept in any case."
                )
            )


class NoFolder:
    """A run that leaves nothing: the face of `RunFolder`, and nothing behind it."""

    path: Path | None = None
    how_to_resume = "Nothing was kept: pass `run_dir` to be able to go on."

    @contextmanager
    def opened(
        self,
        facts: Mapping[str, Any],
        every: float,
        room: Room,
        listen: Listener,
        preparation: str | None = None,
    ) -> Iterator[Journal]:
        """A journal that remembers nothing."""
        yield Journal()

    def listen(self, event: Event) -> None:
        """Nothing is written."""

    def keep_model(self, model: keras.Model) -> None:
        """Nothing is written."""

    def keep_exits(self, model: keras.Model) -> None:
        """Nothing is written."""

    def seal(self) -> None:
        """Nothing is written."""


class RunFolder:
    """A folder with `run.json`, `history.json`, `checkpoints/`, of a table `preparation.json` and,
    at the end, `model.keras`, `depth.svg`, `report.html` and `SHA256SUMS`, which vouches for them;
    beside them `events.jsonl`, a log for which nothing vouches.

    Args:
        path: a folder that does not exist yet, or an empty one; with `resume` that of a run.
        request: what a recipe or the command line adds to `run.json`.
        resume: go on with the run that is there.
    """

    def __init__(
        self, path: Path, request: Mapping[str, Any] | None = None, *, resume: bool = False
    ) -> None:
        self.path = path
        self._request, self._resume = dict(request or {}), resume
        self._facts: Mapping[str, Any] = {}
        self._pages = Pages(path)
        self._more: tuple[str, ...] = ()
        self._log = EventLog(path)
        self._history = HistoryFile(path)

    @contextmanager
    def opened(
        self,
        facts: Mapping[str, Any],
        every: float,
        room: Room,
        listen: Listener,
        preparation: str | None = None,
    ) -> Iterator[Journal]:
        """Own the folder for a run, and give its journal.

        Args:
            facts: what is asked and on which data; with `resume` they must be those of the run.
            every: seconds between two checkpoints inside one training.
            room: what the run will need.
            listen: told of what is found.
            preparation: of a table, as text, to be kept beside the network.

        Raises:
            DiskFullError: not even one stage has room.
            InputError: the folder cannot be used, or the run was started with something else.
            RunLockedError: another process works on it.
            DamagedError: `run.json` is not what was written.
        """
        room.check(self.path, listen)
        if self._resume:
            self.started_with()
        else:
            files.claim_folder(self.path)
        with files.RunLock(self.path) as lock:
            if self._resume:
                self._facts = self.started_with()
                if (self.path / "checkpoints").is_symlink():
                    raise DamagedError(f"{self.path / 'checkpoints'} leads out of the run folder.")
                compare(self.path, self._facts, facts, listen)
            else:
                # Another process may have been quicker between the claim and the lock.
                files.claim_folder(self.path)
                self._facts = {**facts, **self._request}
                write_sums(self.path, {RUN: files.digest_json(self._facts)})
                files.write_json(self.path / RUN, self._facts)
            files.remove_leftovers(self.path)
            if preparation is not None:
                # Also in a resume: the session before may have been killed just before this.
                files.write_text(self.path / PREPARATION, preparation)
                self._more = (PREPARATION,)
            files.make_folders(self.path / "checkpoints")
            files.remove_leftovers(self.path / "checkpoints")
            self._log.open(lock)
            self._pages.facts = self._facts
            run = files.digest_json(self._facts)
            self._history.open(lock)
            try:
                yield KeptJournal(self.path / "checkpoints", run, every, listen, lock)
            finally:
                self._history.close()

    @property
    def how_to_resume(self) -> str:
        """In a sentence, for somebody who has just stopped the run."""
        if not (self.path / RUN).exists():
            return "The run had not begun: start it again."
        if {"recipe", "table", "images"} & set(self._facts):
            return f"`layerwise resume {shlex.quote(str(self.path))}` goes on from here."
        return f"`layerwise.resume({str(self.path)!r}, ...)` goes on from here."

    def started_with(self) -> dict[str, Any]:
        """What `run.json` says.

        Raises:
            InputError: there is no run.
            DamagedError: the file is not what was written.
        """
        try:
            text = files.read_bytes(self.path, RUN, _RUN_LIMIT)
        except FileNotFoundError as error:
            raise InputError(f"{self.path} holds no run: there is no {RUN} in it.") from error
        if not is_whole(self.path, RUN, read_sums(self.path).get(RUN)):
            raise DamagedError(
                f"{self.path / RUN} is damaged: its hash is not the one in SHA256SUMS. Restore "
                "both from a copy, or start the run again in another folder."
            )
        try:
            facts = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DamagedError(f"{self.path / RUN} is no JSON.") from error
        if not isinstance(facts, dict) or facts.get("schema") != 1:
            raise DamagedError(f"{self.path / RUN} is no run of schema 1.")
        return facts

    def damaged(self) -> list[str] | None:
        """The files of a finished run that are not what was written; None while unfinished."""
        sums = read_sums(self.path)
        if MODEL not in sums:
            return None
        names = (*ARTEFACTS, *(name for name in sums if name in (PREPARATION, PICTURES)))
        return [name for name in names if not is_whole(self.path, name, sums.get(name))]

    def history(self) -> dict[str, Any]:
        """`history.json` of a finished run, whose hash was checked."""
        return json.loads((self.path / HISTORY).read_text())

    def listen(self, event: Event) -> None:
        """Write what an event brings."""
        self._history.listen(event)
        self._pages.listen(event)
        self._log.listen(event)

    def keep_model(self, model: keras.Model) -> None:
        """Write the chosen network, for Keras and as data.

        Raises:
            DiskFullError: there is no room.
        """
        # A model without labels is not compiled.
        optimizer = getattr(model, "optimizer", None)
        variables = [*model.variables, *(optimizer.variables if optimizer is not None else ())]
        size = sum(4 * math.prod(variable.shape) for variable in variables)
        files.check_room(self.path, size)
        keep_network(self.path / "checkpoints", files.digest_json(self._facts), model)
        with files.replacing(self.path / MODEL, size) as temporary:
            model.save(temporary)

    def keep_exits(self, model: keras.Model) -> None:
        """Write the network that predicts at every depth, as data.

        Raises:
            DiskFullError: there is no room.
        """
        run = files.digest_json(self._facts)
        keep_network(self.path / "checkpoints", run, model, EXITS)

    def seal(self) -> None:
        """Vouch for the files of the finished run: from now on it counts as finished."""
        names = dict.fromkeys((*ARTEFACTS, *self._pages.names, *self._more))
        write_sums(self.path, {name: files.digest_file(self.path / name) for name in names})
