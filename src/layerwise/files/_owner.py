"""Who holds a lock, and whether that process still lives."""

from __future__ import annotations

import json
import os
import secrets
import socket
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from layerwise.errors import DamagedError
from layerwise.files import _system
from layerwise.files._read import read_bytes
from layerwise.files._write import TEMPORARY_PREFIX

SILENT_SECONDS = 60.0
_LIMIT = 4096


@dataclass(frozen=True)
class Owner:
    """What a lock file says; the first three are None where the system does not tell."""

    boot: str | None
    namespace: str | None
    born: int | None
    host: str
    pid: int
    token: str
    started: str

    def __post_init__(self) -> None:
        texts = (self.host, self.token, self.started, self.boot or "", self.namespace or "")
        # The host and the time are shown to people, and a stranger may have written them.
        if not all(isinstance(text, str) and text.isprintable() for text in texts):
            raise ValueError("a text is expected")
        if type(self.pid) is not int or not 0 < self.pid < 2**31:
            raise ValueError("a process id is expected")


def this_process() -> Owner:
    return Owner(
        boot=_kernel_says("/proc/sys/kernel/random/boot_id"),
        namespace=_namespace(),
        born=_born(os.getpid()),
        host=socket.gethostname(),
        pid=os.getpid(),
        token=secrets.token_hex(8),
        started=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _kernel_says(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None  # No such file on this system, or not for us.


def _namespace() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return None


def _statistics(pid: int) -> list[str] | None:
    """The fields of `/proc/<pid>/stat` from the third on; the second may hold anything."""
    text = _kernel_says(f"/proc/{pid}/stat")
    return None if text is None else text[text.rindex(")") + 1 :].split()


def _born(pid: int) -> int | None:
    fields = _statistics(pid)
    return None if fields is None else int(fields[19])


def _runs(pid: int, born: int | None) -> bool:
    """Whether this machine has the process; one that was born at another time is another one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It is there, and belongs to somebody else.
    fields = _statistics(pid)
    if fields is None:
        return True
    # A zombie's other threads may still write for a moment.
    ended = fields[0] in "ZX" and int(fields[17]) <= 1
    return not ended and born in (None, int(fields[19]))


def _silence(path: Path) -> float:
    """Seconds since the last heartbeat by the clock of the file system; 0 where nobody can tell."""
    probe = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}"
    try:
        _system.write_new(probe, [])
        # As the heartbeat does it: a network file system may stamp other changes by our clock.
        _system.touch(probe)
        now = probe.stat().st_mtime
    except FileNotFoundError:
        return 0.0  # The owner tidied up and removed the probe.
    finally:
        _system.remove(probe)
    return now - path.lstat().st_mtime


def read_owner(path: Path) -> Owner | None:
    """What a lock file says, None where it makes no sense. FileNotFoundError where it is gone."""
    try:
        return Owner(**json.loads(read_bytes(path.parent, path.name, _LIMIT)))
    except (DamagedError, ValueError, TypeError, RecursionError):
        return None


def is_dead(path: Path, owner: Owner | None) -> bool:
    """Whether a lock may be taken over. FileNotFoundError where it is gone."""
    here = this_process()
    if owner is not None and owner.host == here.host:
        if (owner.boot, owner.namespace) == (here.boot, here.namespace):
            return not _runs(owner.pid, owner.born)
        if None not in (owner.boot, here.boot) and owner.boot != here.boot:
            # Of an earlier boot of this machine, unless its heart has beaten since we booted:
            # then it is another machine of the same name.
            booted = time.clock_gettime(time.CLOCK_BOOTTIME)
            return _silence(path) > min(booted, SILENT_SECONDS)
    return _silence(path) > SILENT_SECONDS
