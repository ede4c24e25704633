"""The most memory that this process has held over a span of time."""

from __future__ import annotations

from pathlib import Path

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


def forget_peak() -> bool:
    """Let the peak begin anew at what is held now; False where the system cannot do that."""
    try:
        _RESET.write_text("5")
    except OSError:
        return False
    return True


def peak_bytes() -> int | None:
    """The most resident memory since the peak was forgotten; None where the system does not say.

    It is that of the whole process, of libraries and of other threads too.
    """
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("VmHWM:")), None)
    return None if found is None else int(found.split()[1]) * 1024
