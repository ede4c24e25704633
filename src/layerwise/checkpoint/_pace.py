"""How often to do what may take a small share of the time alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 50
"""What is due again waits so many times as long as it took."""


class Pace:
    """Says when something is due again.

    Args:
        every: seconds between two, at the least.
        most: seconds after which it is due however long it took.
        forgives: whether the last time decides how long it takes; else the longest of all.
    """

    def __init__(self, every: float, *, most: float = math.inf, forgives: bool = True) -> None:
        self._every, self._most, self._forgives = every, most, forgives
        self._wait, self._last = every, time.perf_counter()

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return time.perf_counter() - self._last >= self._wait

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Around what was due."""
        begun = time.perf_counter()
        yield
        self._last = time.perf_counter()
        least = self._every if self._forgives else self._wait
        self._wait = max(least, min(self._most, SHARE * (self._last - begun)))

    def stop(self) -> None:
        """Nothing is due any more."""
        self._wait = math.inf
