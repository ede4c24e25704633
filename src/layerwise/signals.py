"""Turning a request to stop into an exception that unwinds the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived. No `Exception`, so that nothing takes it for a failure.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


_asked: list[int] = []


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """Raise `Stopped` in the main thread when SIGINT or SIGTERM arrives.

    Python swallows an exception that is raised while it runs a finalizer, so the request is
    remembered as well, for `check`.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        _asked.append(number)
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        _asked.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def check() -> None:
    """Raise `Stopped` where a signal has asked to stop and nothing has yet."""
    if _asked:
        raise Stopped(_asked[0])
