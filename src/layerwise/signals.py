"""Turning a request to stop into an exception that unwinds the run."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_UNTOUCHED = (signal.SIG_DFL, signal.default_int_handler)
_SHOW_CURSOR = "\x1b[?25h"


class Stopped(BaseException):
    """SIGINT or SIGTERM arrived. No `Exception`, so that nothing takes it for a failure.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number
        self.leaves = number != signal.SIGINT
        """Whether the process is to end, not only what it is doing."""


_asked: list[int] = []
_deferred: list[bool] = []
"""One entry for each `deferred` that is open."""


@contextmanager
def stop_on_signals() -> Iterator[bool]:
    """Raise `Stopped` in the main thread when SIGINT or SIGTERM arrives.

    Gives whether this call took the signals: handlers that somebody else has set are left alone,
    and so are all of them outside the main thread. A second SIGINT ends the process at once.

    Python swallows an exception that is raised while it runs a finalizer, so the request is
    remembered as well, for `check`.
    """
    ours: dict[int, object] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) in _UNTOUCHED:
                ours[number] = signal.signal(number, _stop)
    try:
        yield bool(ours)
    finally:
        if ours:
            _asked.clear()
        for taken, handler in ours.items():
            signal.signal(taken, handler)  # type: ignore[arg-type]


def _stop(number: int, frame: FrameType | None) -> None:
    if _asked and number == signal.SIGINT:
        if sys.stderr.isatty():
            sys.stderr.write(_SHOW_CURSOR)
        os._exit(128 + number)
    _asked.append(number)
    if not _deferred:
        raise Stopped(number)


@contextmanager
def deferred() -> Iterator[None]:
    """Let a signal wait for the next `check`, so that no step is torn apart."""
    _deferred.append(True)
    try:
        yield
    finally:
        _deferred.pop()


def asked() -> bool:
    """Whether a signal has asked to stop."""
    return bool(_asked)


@contextmanager
def as_python_does() -> Iterator[None]:
    """Take the signals for a call of the library, and leave it as Python itself would.

    So SIGINT ends in `KeyboardInterrupt` and SIGTERM in `SystemExit`, unless a caller has taken
    the signals already and waits for `Stopped`.
    """
    with stop_on_signals() as ours:
        try:
            yield
        except Stopped as stop:
            if not ours:
                raise
            notes = getattr(stop, "__notes__", ())
            if stop.leaves:
                # Of a SystemExit Python says nothing.
                print(f"Stopped by {stop}.", *notes, file=sys.stderr)  # noqa: T201
                raise SystemExit(stop.exit_code) from stop
            python = KeyboardInterrupt()
            for note in notes:
                python.add_note(note)
            raise python from stop


def forget() -> None:
    """The request to stop was served."""
    _asked.clear()


def check() -> None:
    """Raise `Stopped` where a signal has asked to stop and nothing has yet."""
    if _asked:
        raise Stopped(_asked[0])
