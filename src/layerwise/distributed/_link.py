"""One connection between two processes: whole messages, each with a kind."""

from __future__ import annotations

import enum
import socket
import struct
import threading

_HEADER = struct.Struct("!BQ")
_MOST = 1 << 36
"""Bytes of a message; more is not one of ours."""


class Kind(enum.IntEnum):
    """What a message is."""

    HELLO = 1
    WELCOME = 2
    REFUSED = 3
    BEAT = 4
    DATA = 5
    FAILED = 6
    GONE = 7
    END = 8


class Link:
    """Sends from any thread, receives in one.

    Args:
        sock: connected.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._sending = threading.Lock()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def wait(self, seconds: float | None) -> None:
        """How long `receive` may take; None for as long as it wants."""
        self._socket.settimeout(seconds)

    def send(self, kind: Kind, content: bytes = b"") -> None:
        """Send one message.

        Raises:
            OSError: the other side is gone.
        """
        with self._sending:
            self._socket.sendall(_HEADER.pack(kind, len(content)) + content)

    def receive(self, most: int = _MOST) -> tuple[Kind, bytes]:
        """The next message.

        Args:
            most: bytes that it may have; who is not known yet must not fill the memory.

        Raises:
            EOFError: the other side is gone, or does not speak as we do.
            OSError: the connection is lost, or nothing came in time.
        """
        number, length = _HEADER.unpack(self._exactly(_HEADER.size))
        if number not in list(Kind) or length > most:
            raise EOFError
        return Kind(number), self._exactly(length)

    def close(self) -> None:
        """Nothing more is sent or received."""
        self._socket.close()

    def _exactly(self, length: int) -> bytes:
        parts = bytearray()
        while len(parts) < length:
            part = self._socket.recv(min(length - len(parts), 1 << 20))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)
