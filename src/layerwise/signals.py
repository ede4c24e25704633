"""Turning a request to stop into an exception that unwinds the run."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_UNTOUCHED = (signal.SIG_DFL, signal.default_int_handler)
_MOMENT = 0.05
"""Seconds until a request that could not be heard is raised again."""
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

    Python drops an exception that is raised while it runs a finalizer or a callback of the garbage
    collector, and one raised while a compiled module is imported may abort the process. There the
    request waits for a moment, and is remembered for `check`.
    """
    ours: dict[int, object] = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) in _UNTOUCHED:
                ours[number] = signal.signal(number, _stop)
        if ours and signal.getsignal(signal.SIGALRM) in _UNTOUCHED:
            ours[signal.SIGALRM] = signal.signal(signal.SIGALRM, _try_again)
    try:
        yield bool(ours)
    finally:
        if signal.SIGALRM in ours:
            signal.setitimer(signal.ITIMER_REAL, 0)
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
    _try_again(number, frame)


def _try_again(number: int, frame: FrameType | None) -> None:
    """Raise `Stopped` if it can be heard here; else come back in a moment."""
    if not _asked or _deferred:
        return
    if not _would_be_lost(frame):
        raise Stopped(_asked[0])
    if signal.getsignal(signal.SIGALRM) is _try_again:
        signal.setitimer(signal.ITIMER_REAL, _MOMENT)


def _would_be_lost(frame: FrameType | None) -> bool:
    """Whether this is inside a finalizer, a callback of the garbage collector or an import."""
    collecting = [getattr(callback, "__code__", None) for callback in gc.callbacks]
    while frame is not None:
        code = frame.f_code
        importing = code.co_filename.startswith("<frozen importlib")
        if importing or code.co_name == "__del__" or code in collecting:
            return True
        frame = frame.f_back
    return False


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


def number() -> int:
    """Of the signal that has asked to stop; 0 for none."""
    return _asked[0] if _asked else 0


def ask(number: int) -> None:
    """Let it be as if this signal had come: another process has received it."""
    if not _asked:
        _asked.append(number)


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
