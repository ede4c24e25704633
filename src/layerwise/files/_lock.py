"""One owner for a run folder, also where two machines share the folder.

The kernel's file locks do not hold on every network file system, but creating a name that must not
exist does. The lock files of a folder are `lock-000001`, `lock-000002` and so on. Who wants the
folder creates the number above the highest one, so that of several who find an owner dead exactly
one takes its place, and nobody removes a live lock but its owner. Whoever then sees another live
lock gives its own up: of any two, the one that created later sees the other.
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Self

from layerwise.errors import DiskFullError, InputError, RunLockedError
from layerwise.files import _system
from layerwise.files._owner import SILENT_SECONDS, Owner, is_dead, read_owner, this_process
from layerwise.files._write import TEMPORARY_PREFIX

_NAME = re.compile(r"lock-(\d{6,9})")
_BEAT = 5.0
# Two who collide both step back. Twenty pauses of 10 ms on average are far below a second.
_ATTEMPTS = 20
_PAUSE = 0.02
_NO_HARD_LINKS = (errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK)


def _locks(folder: Path) -> dict[int, Path]:
    """The lock files of a folder by their number; none where the folder is gone."""
    try:
        names = [match for name in os.listdir(folder) if (match := _NAME.fullmatch(name))]
    except FileNotFoundError:
        return {}
    return {int(match[1]): folder / match[0] for match in names}


def _refuse_where_alive(folder: Path, locks: Iterable[Path]) -> None:
    for path in locks:
        try:
            if is_dead(path, owner := read_owner(path)):
                continue
        except FileNotFoundError:
            continue
        if owner is None:
            raise RunLockedError(
                f"{folder} seems to be in use: {path} says nothing that can be read. Wait a "
                "minute and try again; if nothing works on the folder, remove that file."
            )
        raise RunLockedError(
            f"{folder} is in use: process {owner.pid} on {owner.host} works on it since "
            f"{owner.started}. Wait until that process ends, or stop it. If it is gone for sure, "
            f"remove {path}."
        )


def _create(path: Path, owner: Owner) -> bool:
    """Create a lock file, whole at once; False where somebody else was faster."""
    content = json.dumps(asdict(owner)).encode()
    temporary = path.parent / f"{TEMPORARY_PREFIX}{owner.token}"
    try:
        _system.write_new(temporary, [content])
        _system.link_new(temporary, path)
    except FileNotFoundError:
        if not path.parent.is_dir():
            raise
        return False  # The owner tidied up and removed our temporary file.
    except OSError as error:
        if error.errno not in (errno.EEXIST, *_NO_HARD_LINKS):
            raise
        # A network file system that sends a request twice says that our own link exists.
        return _is_ours(path, owner.token) or (
            error.errno != errno.EEXIST and _create_in_place(path, content)
        )
    finally:
        _system.remove(temporary)
    return True


def _create_in_place(path: Path, content: bytes) -> bool:
    """The same where a file cannot have two names. Who sees it empty takes it as alive."""
    try:
        _system.write_new(path, [content])
    except FileExistsError:
        return False
    return True


def _is_ours(path: Path, token: str) -> bool:
    try:
        owner = read_owner(path)
    except FileNotFoundError:
        return False
    return owner is not None and owner.token == token


def _take(folder: Path, owner: Owner) -> Path:
    """Create the highest lock of a folder in which no other lock is alive."""
    for _ in range(_ATTEMPTS):
        locks = _locks(folder)
        _refuse_where_alive(folder, locks.values())
        path = folder / f"lock-{max(locks, default=0) + 1:06d}"
        if _create(path, owner):
            try:
                _refuse_where_alive(folder, set(_locks(folder).values()) - {path})
            except RunLockedError:
                _give_up(folder, owner.token)
            else:
                return path
        time.sleep(random.uniform(0, _PAUSE))
    raise RunLockedError(
        f"Several processes want {folder} at the same time, and none got it. Try again."
    )


def _give_up(folder: Path, token: str) -> None:
    for path in _locks(folder).values():
        if _is_ours(path, token):
            _system.remove(path)


def _remove_dead(folder: Path, ours: Path) -> None:
    """Remove dead locks; only for the owner, as a number may be given again once it is free."""
    for path in _locks(folder).values():
        try:
            if path != ours and is_dead(path, read_owner(path)):
                _system.remove(path)
        except FileNotFoundError:
            continue


def _beat(path: Path, token: str) -> bool:
    """Touch our lock file. False where it is ours no more; OSError where nobody can tell."""
    try:
        owner = read_owner(path)
        if owner is not None and owner.token == token:
            _system.touch(path)
            return True
    except FileNotFoundError:
        return False
    if owner is None:
        raise OSError(errno.EIO, f"{path} cannot be read")
    return False


@contextmanager
def _telling_of_a_closed_folder(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"The disk of {folder} is full ({error.strerror}): there is no room for a lock "
                "file. Make room and try again; what was there is intact."
            ) from error
        raise InputError(
            f"A lock file cannot be written in {folder} ({error.strerror}), and without one two "
            "processes could spoil each other's work. Name a folder that exists and can be written."
        ) from error


class RunLock:
    """The right to be the only one that writes in a run folder.

    While it is held, a thread touches the lock file every 5 seconds. An owner that ended on this
    machine is replaced at once; one on another machine when it was silent for 60 seconds. The lock
    belongs to the process that took it: a forked child neither holds nor releases it.

    Args:
        folder: the run folder, which must exist.

    Attributes:
        lost: True where another process took the folder over, because this one was suspended or
            cut off from the disk for too long. Nothing may be written then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lost = False
        self._held: tuple[Path, Owner, threading.Thread] | None = None
        self._stop = threading.Event()

    def refuse_where_owned(self) -> None:
        """Raise `RunLockedError` where an owner lives, without becoming one: a cheap first look."""
        _refuse_where_alive(self.folder, _locks(self.folder).values())

    def refuse_where_lost(self) -> None:
        """Raise `RunLockedError` where this process may not write any more."""
        if self.lost:
            raise RunLockedError(
                f"{self.folder} has another owner now: this process was silent for so long that it "
                "was taken for dead. Nothing more is written from here."
            )

    def acquire(self) -> None:
        """Become the owner, or raise at once.

        Raises:
            RunLockedError: another owner lives, be it in this process; the message names it.
            InputError: the folder is missing or cannot be written.
            DiskFullError: there is no room for the lock file.
        """
        owner = this_process()
        with _telling_of_a_closed_folder(self.folder):
            try:
                path = _take(self.folder, owner)
                # Its owner may only be suspended, and is to notice that it is the owner no more.
                _remove_dead(self.folder, path)
                self._hold(path, owner)
            except BaseException:
                _give_up(self.folder, owner.token)
                raise

    def release(self) -> None:
        """Give the folder back; nothing happens where this process does not hold it."""
        if self._held is None or self._held[1].pid != os.getpid():
            return
        path, owner, thread = self._held
        self._stop.set()
        thread.join()
        if _is_ours(path, owner.token):
            _remove_dead(self.folder, path)
        _give_up(self.folder, owner.token)
        self._held = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def _hold(self, path: Path, owner: Owner) -> None:
        self.lost = False
        self._stop = threading.Event()
        arguments = (path, owner.token, self._stop)
        thread = threading.Thread(
            target=self._keep, args=arguments, name="layerwise-lock", daemon=True
        )
        thread.start()
        self._held = path, owner, thread

    def _keep(self, path: Path, token: str, stop: threading.Event) -> None:
        """Beat until told to stop, or until the lock is lost."""
        beaten = time.monotonic()
        while not self.lost and not stop.wait(_BEAT):
            try:
                self.lost = not _beat(path, token)
                beaten = time.monotonic()
            except OSError:
                # The disk may answer again; others wait as long before they take over.
                self.lost = time.monotonic() - beaten > SILENT_SECONDS
