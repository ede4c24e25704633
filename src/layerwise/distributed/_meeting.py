"""How the processes of a run meet: process 0 waits at an address, the others come to it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from typing import Any

from layerwise.distributed._link import Kind, Link
from layerwise.errors import InputError

_MOST_HELLO = 1 << 16
"""Bytes with which a process says who it is."""
_AGAIN = 0.2
"""Seconds until a process that nobody waits for knocks again."""


def wait_for(
    listener: socket.socket, facts: Mapping[str, Any], count: int, seconds: float
) -> dict[int, Link]:
    """Process 0: wait until all others have come; their links by number.

    Args:
        listener: bound and listening.
        facts: what must be the same in all processes, by name.
        count: of processes.
        seconds: to wait.

    Raises:
        InputError: somebody did not come in time, or came with other facts.
    """
    links: dict[int, Link] = {}
    end = time.monotonic() + seconds
    while len(links) < count - 1:
        left = end - time.monotonic()
        missing = [str(n) for n in range(1, count) if n not in links]
        late = InputError(
            f"Of {count} processes {len(links) + 1} came within {seconds:g} s; missing: "
            f"{', '.join(missing)}. Start one with each `--process-id`, all with the same "
            "`--coordinator`, or allow more time with `--timeout`."
        )
        if left <= 0:
            _send_away(links.values(), str(late))
            raise late
        listener.settimeout(left)
        try:
            link = Link(listener.accept()[0])
        except TimeoutError:
            continue
        try:
            _admit(link, links, facts, count)
        except InputError as error:
            _send_away(links.values(), str(error))
            raise
    for link in links.values():
        link.wait(None)
        link.send(Kind.WELCOME)
    return links


def _admit(link: Link, links: dict[int, Link], facts: Mapping[str, Any], count: int) -> None:
    """Take in who has come, unless it is nobody of ours.

    Raises:
        InputError: it is one of ours, and does not fit.
    """
    link.wait(5.0)
    try:
        kind, content = link.receive(_MOST_HELLO)
        told = json.loads(content)
        number, theirs = int(told["number"]), dict(told["facts"])
    except (OSError, EOFError, ValueError, KeyError, TypeError):
        link.close()
        return
    complaint = ""
    if kind != Kind.HELLO:
        link.close()
        return
    for name, ours in facts.items():
        if theirs.get(name) != ours:
            complaint = (
                f"Process {number} was started with another {name}: {theirs.get(name)} there, "
                f"{ours} in process 0. Start all processes alike."
            )
    if not complaint and not 0 < number < count:
        complaint = f"Process {number} is none of 0 to {count - 1}. Start all processes alike."
    if not complaint and number in links:
        complaint = f"Two processes were started with the number {number}: give each its own."
    if complaint:
        _send_away([link], complaint)
        raise InputError(complaint)
    links[number] = link


def _send_away(links: Any, why: str) -> None:
    for link in links:
        try:
            link.send(Kind.REFUSED, why.encode())
        except OSError:
            continue  # It is gone already.
        finally:
            link.close()


def come_to(
    address: tuple[str, int], number: int, facts: Mapping[str, Any], seconds: float
) -> Link:
    """Another process: come to process 0 and be taken in.

    Args:
        address: where it waits.
        number: of this process.
        facts: as for `wait_for`.
        seconds: to wait, for process 0 and for all others.

    Raises:
        InputError: nobody waits there, or this process is not taken in.
    """
    end = time.monotonic() + seconds
    where = f"{address[0]}:{address[1]}"
    while True:
        left = end - time.monotonic()
        try:
            link = Link(socket.create_connection(address, timeout=max(left, _AGAIN)))
            break
        except socket.gaierror as error:
            raise InputError(
                f"The coordinator {where} is not known ({error.strerror}). Give the name or "
                "address of the machine of process 0, as HOST:PORT."
            ) from error
        except OSError as error:
            if left <= 0:
                raise InputError(
                    f"Nobody waited at the coordinator {where} within {seconds:g} s "
                    f"({error.strerror or error}). Start process 0 there, with the same "
                    "`--coordinator`, or allow more time with `--timeout`."
                ) from error
            time.sleep(_AGAIN)
    hello = {"number": number, "facts": dict(facts)}
    try:
        link.send(Kind.HELLO, json.dumps(hello).encode())
        # Process 0 says by itself when its time is over.
        link.wait(max(end - time.monotonic(), 0.0) + 5.0)
        kind, content = link.receive()
    except (OSError, EOFError) as error:
        link.close()
        raise InputError(
            f"Who waits at the coordinator {where} is no process of this run, or has left within "
            f"{seconds:g} s. Look at what process 0 says."
        ) from error
    if kind == Kind.WELCOME:
        link.wait(None)
        return link
    link.close()
    if kind == Kind.REFUSED:
        raise InputError(content.decode())
    raise InputError(f"Who waits at the coordinator {where} is no process of this run.")
