"""A recorder of what code in a file could have made happen, by Python's own audit events."""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A hook cannot be taken out again, so there is one for the whole process, with a switch.
_heard: list[tuple[str, tuple[Any, ...]]] = []
_listening = False
_HARMFUL = (
    "open",
    "compile",
    "exec",
    "import",
    "code.",
    "ctypes.",
    "marshal.",
    "pickle.",
    "os.",
    "subprocess.",
    "shutil.",
    "socket.",
    "tempfile.",
    "urllib.",
    "http.",
    "ftplib.",
    "smtplib.",
    "webbrowser.",
    "pty.",
    "mmap.",
    "glob.",
    "winreg.",
    "syslog.",
    "function.__new__",
    "builtins.input",
    "cpython.run_",
    "sys.addaudithook",
    "sys.set",
)
_OURS = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib")]
_OURS.append(Path(__file__).resolve().parents[2] / "src")


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "sys.settrace":
        return  # What measures coverage looks into every new thread.
    if _listening and event.startswith(_HARMFUL) and not _is_reading_code(event, arguments):
        _heard.append((event, arguments))


def _is_reading_code(event: str, arguments: tuple[Any, ...]) -> bool:
    """Python reads the source of a function to show where an exception came from."""
    if event != "open" or not isinstance(arguments[0], str):
        return False
    writing = arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
    return not writing and any(Path(arguments[0]).is_relative_to(root) for root in _OURS)


sys.addaudithook(_hear)


@contextmanager
def listening() -> Iterator[list[tuple[str, tuple[Any, ...]]]]:
    """What happens in the body that code in a file could have made happen."""
    global _listening
    _heard.clear()
    _listening = True
    try:
        yield _heard
    finally:
        _listening = False
