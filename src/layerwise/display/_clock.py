"""The time that a run still needs, from what was measured so far."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """How long the training at hand takes, from the epochs that were seen.

    The time from its start to the first report says little: a program was compiled, or the
    training goes on in the middle. So the pace is that between reports, once there are two.

    Args:
        epochs: how many there will be; 0 where nobody knows.
        clock: in seconds.
    """

    def __init__(self, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.epochs, self._clock = epochs, clock
        self._begun = clock()
        self._first: tuple[int, float] | None = None
        self._last = (0, self._begun)

    def report(self, epoch: int) -> None:
        """So many epochs are done; fewer than before where another training has begun."""
        now = self._clock()
        if epoch < self._last[0]:
            self._first = None
        self._last = (epoch, now)
        if self._first is None:
            self._first = self._last

    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._begun

    def left(self) -> float | None:
        """Seconds until the last epoch; None where nothing is known yet."""
        epoch, at = self._last
        if self._first is None or not self.epochs or not epoch:
            return None
        first, begun = self._first
        each = (at - begun) / (epoch - first) if epoch > first else (at - self._begun) / epoch
        return max(each * (self.epochs - epoch) - (self._clock() - at), 0.0)


class Growth:
    """The seconds until the last stage that may come.

    Args:
        max_depth: the most stages.
        replicates: how many networks grow.
    """

    def __init__(self, max_depth: int, replicates: int) -> None:
        self.max_depth, self.replicates = max_depth, replicates
        self._newest: float | None = None

    def finished(self, seconds: float) -> None:
        """A stage took so long, all replicates together."""
        self._newest = seconds

    def left(self, depth: int, replicate: int, pace: Pace) -> float | None:
        """Seconds that growth may still take; None where nothing is known yet.

        A stage to come is taken to need what the newest finished one did, and before there is one
        what the stage at hand seems to need.

        Args:
            depth: of the stage at hand.
            replicate: that trains, counted from 0.
            pace: of it.
        """
        now = pace.left()
        before = None if self._newest is None else self._newest / self.replicates
        if now is None and before is not None:
            now = max(before - pace.elapsed(), 0.0)
        if now is None:
            return None
        one = pace.elapsed() + now if before is None else before
        others = self.replicates - 1 - replicate + (self.max_depth - depth) * self.replicates
        return now + others * one


def duration(seconds: float) -> str:
    """Seconds as people say them.

    >>> duration(4.2), duration(94), duration(7500)
    ('4 s', '1 min 34 s', '2 h 05 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
