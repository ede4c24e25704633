"""How often to do what may take a small share of the time alone."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

SHARE = 50
"""What is due again waits at least so many times as long as it has ever taken."""


class Pace:
    """Says when something is due again.

    Args:
        every: seconds between two.
        at_once: due from the start; else after the first wait.
    """

    def __init__(self, every: float, *, at_once: bool = False) -> None:
        self._every = every
        self._last = -math.inf if at_once else time.perf_counter()

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return time.perf_counter() - self._last >= self._every

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Around what was due; how long it takes decides when it is due again."""
        begun = time.perf_counter()
        yield
        self._last = time.perf_counter()
        self._every = max(self._every, SHARE * (self._last - begun))

    def stop(self) -> None:
        """Nothing is due any more."""
        self._every = math.inf
