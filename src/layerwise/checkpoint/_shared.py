"""The journal of a run of several processes: process 0 has it, and tells the others."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from layerwise.checkpoint._format import restored, storable
from layerwise.checkpoint._journal import Journal, RunWatch
from layerwise.distributed import Peers
from layerwise.engine import Snapshot
from layerwise.progress import Listener


class SharedJournal(Journal):
    """What process 0 finds in its journal, in all processes; it alone writes.

    Args:
        own: of this process; where it is not process 0, one that remembers nothing.
        peers: the others.
    """

    def __init__(self, own: Journal, peers: Peers) -> None:
        self._own, self._peers = own, peers

    def find(self, name: str, plan: Mapping[str, Any], below: str = "") -> Snapshot | None:
        found = self._own.find(name, plan, below) if self._peers.leads else None
        return from_bytes(self._peers.broadcast(to_bytes(found)))

    def keep(self, name: str, plan: Mapping[str, Any], snapshot: Snapshot, below: str = "") -> None:
        self._own.keep(name, plan, snapshot, below)

    def watch(
        self, name: str, plan: Mapping[str, Any], listen: Listener, below: str = ""
    ) -> RunWatch:
        watch = self._own.watch(name, plan, listen, below)
        watch.start = from_bytes(self._peers.broadcast(to_bytes(watch.start)))
        return watch

    def flush(self) -> None:
        self._own.flush()

    def close(self) -> None:
        self._own.close()


def to_bytes(snapshot: Snapshot | None) -> bytes:
    """A snapshot, or that there is none."""
    if snapshot is None:
        return b""
    arrays, types = storable(snapshot.arrays)
    told = json.dumps({"types": types, "facts": snapshot.facts}).encode()
    return len(told).to_bytes(8, "big") + told + save_tensors(arrays)


def from_bytes(content: bytes) -> Snapshot | None:
    """What `to_bytes` was given."""
    if not content:
        return None
    end = 8 + int.from_bytes(content[:8], "big")
    told = json.loads(content[8:end])
    return Snapshot(restored(load_tensors(content[end:]), told["types"]), told["facts"])
