"""The other processes of a run, as each of them sees them."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

from layerwise.distributed._link import Kind, Link
from layerwise.errors import InputError, visible

_BEAT = 1.0
SILENCE = 20.0
"""Seconds after which a process that says nothing counts as gone."""
_FAREWELL = 1.0
"""Seconds for a process to end by itself, where another has told that the run failed."""
_HEARD = 0.5
"""Seconds in which a word of process 0 is heard."""


class Peers:
    """A star of connections: process 0 talks to all, every other one to process 0.

    Where a process is gone or silent while they work, this one ends at once, with a sentence that
    names it: it could only wait for ever. On disk that is as safe as being killed.

    Args:
        number: of this process.
        count: of processes.
        links: to the others, by their number.
    """

    def __init__(self, number: int, count: int, links: Mapping[int, Link]) -> None:
        self.number, self.count = number, count
        self._links = dict(links)
        self._came: dict[int, queue.Queue[bytes]] = {n: queue.Queue() for n in links}
        self._heard = dict.fromkeys(links, time.monotonic())
        self._gone: dict[int, str] = {}
        self._working = False
        self._over = threading.Event()
        self._leaving = threading.Lock()
        for peer in links:
            threading.Thread(target=self._listen, args=(peer,), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    @property
    def leads(self) -> bool:
        """Whether this is process 0: it alone writes and prints."""
        return self.number == 0

    def begin(self) -> None:
        """From now on nobody may leave."""
        self._working = True
        for sentence in list(self._gone.values()):
            self._leave(sentence)

    def finish(self) -> None:
        """Nobody waits for another any more: called by all at the same place."""
        # Before: who has heard from all may leave while this one has not yet.
        self._working = False
        self.all(True)

    def broadcast(self, content: bytes = b"") -> bytes:
        """What process 0 gives, in all processes; called by all at the same place."""
        if not self.leads:
            return self._next(0)
        for peer in self._links:
            self._send(peer, Kind.DATA, content)
        return content

    def gather(self, content: bytes) -> list[bytes]:
        """What every process gives, by number, in all processes; called by all at one place."""
        if not self.leads:
            self._send(0, Kind.DATA, content)
            return [self._next(0) for _ in range(self.count)]
        found = [content, *(self._next(peer) for peer in sorted(self._links))]
        for part in found:
            self.broadcast(part)
        return found

    def all(self, here: bool) -> bool:
        """Whether something holds in every process."""
        return all(part == b"1" for part in self.gather(b"1" if here else b"0"))

    def same(self, what: str, here: str) -> None:
        """Make sure that a text is the same in all processes.

        Raises:
            InputError: it is not; raised in all of them.
        """
        first, *others = self.gather(here.encode())
        for peer, found in enumerate(others, start=1):
            if found != first:
                raise InputError(
                    f"Process {peer} has {what} other than process 0. Start all processes with the "
                    "same arguments, data and versions."
                )

    def failed(self, why: BaseException) -> None:
        """Tell the others that this process ends, and why, before it does."""
        self._over.set()
        text = f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
        self._tell_all(Kind.FAILED, f"process {self.number} stopped: {text}")
        if self.leads:
            # JAX's service ends with this process, and would abort who has not left by then.
            time.sleep(_FAREWELL + _HEARD)

    def close(self) -> None:
        """The work is done: from now on anybody may leave."""
        if self._over.is_set():
            return
        self._over.set()
        for link in self._links.values():
            with suppress(OSError):  # It may have left already.
                link.send(Kind.END)

    def _tell_all(self, kind: Kind, sentence: str) -> None:
        for link in self._links.values():
            with suppress(OSError):  # Who is gone needs no word.
                link.send(kind, sentence.encode())

    def _send(self, peer: int, kind: Kind, content: bytes) -> None:
        try:
            self._links[peer].send(kind, content)
        except OSError:
            self._leave(f"process {peer} is gone")

    def _next(self, peer: int) -> bytes:
        """The next that a peer sends; where it is gone, this process leaves meanwhile."""
        while True:
            with suppress(queue.Empty):
                return self._came[peer].get(timeout=_BEAT)
            if peer in self._gone and self._came[peer].empty():
                self._leave(self._gone[peer])

    def _listen(self, peer: int) -> None:
        """Take what a peer sends, until it ends or is gone."""
        try:
            while True:
                kind, content = self._links[peer].receive()
                self._heard[peer] = time.monotonic()
                if kind == Kind.DATA:
                    self._came[peer].put(content)
                elif kind == Kind.FAILED:
                    if self._over.wait(_FAREWELL):
                        return
                    self._leave(content.decode(errors="replace"))
                elif kind == Kind.GONE:
                    self._leave(content.decode(errors="replace"))
                elif kind == Kind.END:
                    self._misses(peer, f"process {peer} has ended before the others")
                    return
        except (OSError, EOFError):
            self._misses(peer, f"process {peer} is gone: it died, or its machine is out of reach")

    def _misses(self, peer: int, sentence: str) -> None:
        """A process is gone, which matters while there is work to do together."""
        self._gone[peer] = sentence
        if self._working and not self._over.is_set():
            self._leave(sentence)

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            now = time.monotonic()
            for peer, link in self._links.items():
                if peer in self._gone:
                    continue
                with suppress(OSError):  # The one who listens notices.
                    link.send(Kind.BEAT)
                if now - self._heard[peer] > SILENCE:
                    self._misses(peer, f"process {peer} has been silent for {SILENCE:g} s")

    def _leave(self, sentence: str) -> NoReturn:
        """End this process at once: what it computes waits for one that is gone."""
        with self._leaving:
            self._over.set()
            if self.leads:
                self._tell_all(Kind.GONE, sentence)
            text = f"Error: {sentence}. Start all processes again to go on from the last checkpoint"
            sys.stderr.write(visible(text) + ".\n")
            sys.stderr.flush()
            if self.leads:
                time.sleep(_HEARD)
            os._exit(1)
