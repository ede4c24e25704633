"""Starting JAX in all processes of a run, and finding the others where it is running already."""

from __future__ import annotations

import atexit
import ctypes
import json
import os
import secrets
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from layerwise.distributed._meeting import come_to, wait_for
from layerwise.distributed._peers import Peers
from layerwise.errors import InputError, complaint

TIMEOUT = 300.0
"""Seconds that the processes wait for one another at the start."""
_the: list[Peers] = []
"""The peers of this process, once they have met."""
_handlers: list[Any] = []
"""What C calls must not be collected."""


@dataclass(frozen=True)
class Place:
    """Where a process stands among the others, as told on the command line.

    Attributes:
        coordinator: `HOST:PORT` of process 0.
        processes: how many there are.
        process_id: number of this one.
    """

    coordinator: str
    processes: int
    process_id: int

    @property
    def address(self) -> tuple[str, int]:
        """Host and port.

        Raises:
            InputError: it is not `HOST:PORT`.
        """
        host, _, port = self.coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            advice = "Such as `--coordinator 10.0.0.1:1234`."
            raise InputError(complaint("coordinator", "be HOST:PORT", self.coordinator, advice))
        return host.strip("[]"), int(port)

    def check(self) -> None:
        """Raise `InputError` where this is no place."""
        _ = self.address
        if not 0 <= self.process_id < self.processes:
            raise InputError(
                f"`--process-id` must lie in 0 to {self.processes - 1} with `--processes "
                f"{self.processes}`. Received: {self.process_id}."
            )


def join(place: Place | None, timeout: float = TIMEOUT) -> Peers | None:
    """Meet the other processes and start JAX in all of them, before anything is computed.

    Args:
        place: of this process; None where JAX finds the cluster itself (SLURM, Open MPI, TPU).
        timeout: seconds to wait.

    Returns:
        The others; None where this is the only process.

    Raises:
        InputError: the processes did not meet in time, or were not started alike.
    """
    if place is None:
        _detect(timeout)
        return peers(timeout)
    place.check()
    if place.processes == 1:
        return None
    host, port = place.address
    found = _meet(place, host, port, timeout)
    _speak_before_an_abort(found)
    # JAX has a meeting of its own, which ends the process where somebody is missing.
    with _quiet():
        theirs = json.dumps(f"{host}:{_free_port()}").encode() if found.leads else b""
        _initialize(json.loads(found.broadcast(theirs)), place.processes, place.process_id, timeout)
        _first_words()
    return _remember(found)


def peers(timeout: float = TIMEOUT) -> Peers | None:
    """The other processes, where JAX runs in several; None in the only one.

    All processes must call it at the same place: the first time, they meet here.
    """
    jax: Any = sys.modules.get("jax")
    if _the or jax is None or not jax.distributed.is_initialized():
        return _the[0] if _the else None
    if jax.process_count() == 1:
        return None
    with _quiet():
        _first_words()
    return _remember(_meet_by_jax(jax, timeout))


def several() -> bool:
    """Whether this process is one of several; asked of this one alone."""
    jax: Any = sys.modules.get("jax")
    return jax is not None and jax.distributed.is_initialized() and jax.process_count() > 1


def leads() -> bool:
    """Whether this process writes and prints: process 0 of several, or the only one."""
    found = peers()
    return found is None or found.leads


def agreed(here: Any) -> Any:
    """What process 0 gives, plain values that JSON can hold, in all processes."""
    found = peers()
    if found is None:
        return here
    return json.loads(found.broadcast(json.dumps(here).encode()))


def _meet(place: Place, host: str, port: int, timeout: float) -> Peers:
    facts = {"`--processes`": place.processes, **_versions()}
    if place.process_id:
        link = come_to((host, port), place.process_id, facts, timeout)
        return Peers(place.process_id, place.processes, {0: link})
    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise InputError(
            f"Process 0 cannot wait at {place.coordinator} ({error.strerror}). Name an address of "
            "this machine and a free port."
        ) from error
    with listener:
        return Peers(0, place.processes, wait_for(listener, facts, place.processes, timeout))


def _meet_by_jax(jax: Any, timeout: float) -> Peers:
    """Meet where JAX has brought the processes together: it tells where process 0 waits."""
    import numpy as np
    from jax.experimental import multihost_utils

    number, count = jax.process_index(), jax.process_count()
    listener = socket.create_server(("", 0)) if number == 0 else None
    told = np.zeros(512, np.uint8)
    if listener is not None:
        names = sorted({"127.0.0.1", socket.gethostname(), *_addresses()})
        words = json.dumps([names, listener.getsockname()[1], secrets.token_hex(16)]).encode()
        told[: len(words)] = np.frombuffer(words[:512], np.uint8)
    told = np.asarray(multihost_utils.broadcast_one_to_all(told))
    names, port, token = json.loads(bytes(told).rstrip(b"\0"))
    facts = {"run": token, **_versions()}
    if listener is None:
        return Peers(
            number, count, {0: come_to((_reachable(names, port), port), number, facts, timeout)}
        )
    with listener:
        return Peers(0, count, wait_for(listener, facts, count, timeout))


def _addresses() -> list[str]:
    """Those of this machine that its own name stands for."""
    try:
        return list(socket.gethostbyname_ex(socket.gethostname())[2])
    except OSError:
        return []


def _reachable(names: list[str], port: int) -> str:
    """The first of these names of process 0 at which somebody waits."""
    for name in sorted(names, key=lambda name: name.startswith("127.")):
        try:
            socket.create_connection((name, port), timeout=3).close()
        except OSError:
            continue
        return name
    raise InputError(f"Process 0 cannot be reached at {', '.join(names)} on port {port}.")


def _detect(timeout: float) -> None:
    """Let JAX find the cluster that this process was started in."""
    try:
        with _quiet():
            _initialize(None, None, None, timeout)
    except (ValueError, RuntimeError) as error:
        raise InputError(
            f"No cluster was found ({str(error).splitlines()[0].rstrip('.')}). Start the processes "
            "with SLURM or Open MPI, or name their places with `--coordinator HOST:PORT "
            "--processes N --process-id I`."
        ) from error


def _initialize(address: str | None, count: int | None, number: int | None, timeout: float) -> None:
    import jax

    config: Any = jax.config
    # It would take SIGTERM, which is ours.
    config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(address, count, number, initialization_timeout=int(timeout) + 1)


def _first_words() -> None:
    """Let the devices meet now: their libraries print when they do."""
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices("layerwise")


def _speak_before_an_abort(found: Peers) -> None:
    """Where a process is gone, JAX aborts the others, perhaps before they have noticed by
    themselves; Python's own handlers run too late to say a word, and JAX's callback for this
    ends in a `std::bad_cast` (0.10.2)."""

    def handle(_: int) -> None:
        found.before_an_abort()

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(handle)
    _handlers.append(handler)
    # The aborting thread is inside this call: it waits here, the others go on.
    ctypes.CDLL(None).signal(int(signal.SIGABRT), handler)


def _remember(found: Peers) -> Peers:
    if not _handlers:
        _speak_before_an_abort(found)
    _the.append(found)
    atexit.register(found.close)
    return found


def _versions() -> dict[str, str]:
    import importlib.metadata

    return {f"version of {name}": importlib.metadata.version(name) for name in ("jax", "layerwise")}


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("", 0))
        return int(sock.getsockname()[1])


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what C++ libraries say of their connections off the standard output."""
    sys.stdout.flush()
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)
