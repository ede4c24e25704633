"""A star of connections: process 0 to all others, every other one to process 0; and who is gone."""

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
from layerwise.errors import visible

_BEAT = 1.0
SILENCE = 20.0
"""Seconds after which a process that says nothing counts as gone."""
FAREWELL = 1.0
"""Seconds for a process to end by itself, where another has told that the run failed."""
HEARD = 0.5
"""Seconds in which a word of process 0 is heard."""
_KNOWN = 3.0
"""Seconds in which a closed connection is noticed, also where other threads are busy."""


class Star:
    """Listens to every connection in a thread of its own, and beats.

    Where a process is gone or silent while they work, this one ends at once, with a sentence that
    names it: it could only wait for ever. On disk that is as safe as being killed.

    Args:
        number: of this process.
        links: to the others, by their number.
    """

    def __init__(self, number: int, links: Mapping[int, Link]) -> None:
        self.peers = sorted(links)
        self.over = threading.Event()
        """Set where this process has no more work with the others."""
        self.working = False
        """Whether nobody may leave; see `begin`."""
        self._leads, self._links = number == 0, dict(links)
        self._came: dict[int, queue.Queue[bytes]] = {n: queue.Queue() for n in links}
        self._heard = dict.fromkeys(links, time.monotonic())
        self._gone: dict[int, str] = {}
        self._leaving = threading.Lock()
        for peer in links:
            threading.Thread(target=self._listen, args=(peer,), daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()

    def begin(self) -> None:
        """From now on nobody may leave."""
        self.working = True
        for sentence in list(self._gone.values()):
            self._leave(sentence)

    def send(self, peer: int, content: bytes) -> None:
        """Send bytes that the peer waits for."""
        try:
            self._links[peer].send(Kind.DATA, content)
        except OSError:
            self._leave(f"process {peer} is gone")

    def next(self, peer: int) -> bytes:
        """The next bytes of a peer; where it is gone, this process leaves."""
        while True:
            with suppress(queue.Empty):
                return self._came[peer].get(timeout=_BEAT)
            if peer in self._gone and self._came[peer].empty():
                self._leave(self._gone[peer])

    def tell_all(self, kind: Kind, sentence: str = "") -> None:
        """Say something to everybody who is still there."""
        for link in self._links.values():
            with suppress(OSError):  # Who is gone needs no word.
                link.send(kind, sentence.encode())

    def last_words(self) -> None:
        """JAX is about to end this process, as somebody is gone: leave with a sentence instead.

        Nothing happens where nobody is.
        """
        end = time.monotonic() + _KNOWN
        while time.monotonic() < end and not self.over.is_set():
            for sentence in list(self._gone.values()):
                self._leave(sentence)
            time.sleep(_KNOWN / 100)
        # Another thread may be leaving, with a sentence that is under way.
        time.sleep(FAREWELL + HEARD if self.over.is_set() else 0.0)

    def _listen(self, peer: int) -> None:
        """Take what a peer sends, until it ends or is gone."""
        try:
            while True:
                kind, content = self._links[peer].receive()
                self._heard[peer] = time.monotonic()
                if kind == Kind.DATA:
                    self._came[peer].put(content)
                elif kind == Kind.FAILED:
                    if self.over.wait(FAREWELL):
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
        if self.working and not self.over.is_set():
            self._leave(sentence)

    def _beat(self) -> None:
        while not self.over.wait(_BEAT):
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
            self.over.set()
            if self._leads:
                self.tell_all(Kind.GONE, sentence)
            text = f"Error: {sentence}. Start all processes again to go on from the last checkpoint"
            sys.stderr.write(visible(text) + ".\n")
            sys.stderr.flush()
            if self._leads:
                time.sleep(HEARD)
            os._exit(1)
