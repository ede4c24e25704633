"""Turning a request to stop into an exception that unwinds the run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(KeyboardInterrupt):
    """SIGTERM arrived. A `KeyboardInterrupt`, so that whatever survives Ctrl-C survives this."""


@contextmanager
def stop_on_sigterm() -> Iterator[None]:
    """Raise `Stopped` in the main thread when SIGTERM arrives; elsewhere change nothing."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
