"""The other processes of a run, as each of them sees them."""

from __future__ import annotations

import time
from collections.abc import Mapping

from layerwise.distributed._link import Kind, Link
from layerwise.distributed._star import FAREWELL, HEARD, Star
from layerwise.errors import InputError


class Peers:
    """What the processes of a run say to one another; each method is called by all at one place.

    Args:
        number: of this process.
        count: of processes.
        links: to the others, by their number.

    Attributes:
        leads: whether this is process 0: it alone writes and prints.
    """

    def __init__(self, number: int, count: int, links: Mapping[int, Link]) -> None:
        self.number, self.count, self.leads = number, count, number == 0
        self._star = Star(number, links)

    def before_an_abort(self) -> None:
        """Say who is gone, if somebody is, where JAX ends this process for it."""
        self._star.last_words()

    def begin(self) -> None:
        """From now on nobody may leave."""
        self._star.begin()

    def finish(self) -> None:
        """From now on nobody waits for another."""
        # Before: who has heard from all may leave while this one has not yet.
        self._star.working = False
        self.all(True)

    def broadcast(self, content: bytes = b"") -> bytes:
        """What process 0 gives, in all processes."""
        if not self.leads:
            return self._star.next(0)
        for peer in self._star.peers:
            self._star.send(peer, content)
        return content

    def gather(self, content: bytes) -> list[bytes]:
        """What every process gives, by number, in all processes."""
        if not self.leads:
            self._star.send(0, content)
            return [self._star.next(0) for _ in range(self.count)]
        found = [content, *(self._star.next(peer) for peer in self._star.peers)]
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
        """Tell the others that this process ends, and why; called by that one alone."""
        if self._star.over.is_set():
            return
        self._star.over.set()
        text = f"{type(why).__name__}: {why}" if str(why) else type(why).__name__
        self._star.tell_all(Kind.FAILED, f"process {self.number} stopped: {text}")
        if self.leads:
            # JAX's service ends with this process, and would abort who has not left by then.
            time.sleep(FAREWELL + HEARD)

    def close(self) -> None:
        """The work is done: from now on anybody may leave."""
        if not self._star.over.is_set():
            self._star.over.set()
            self._star.tell_all(Kind.END)
