"""The devices of a training and what lies where on them: rows are split, everything else is whole.

One process with one device has no mesh; nothing here is used then.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh as Devices
from jax.sharding import NamedSharding, PartitionSpec

from layerwise._typing import Array, Tree
from layerwise.errors import InputError
from layerwise.memory import aligned

AXIS = "rows"
"""The one axis of the mesh, along which batches are split."""


def spec(*axes: str | None) -> PartitionSpec:
    """Along which axes of an array something is split."""
    return PartitionSpec(*axes)  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class Mesh:
    """All devices of all processes in a row, those of a process side by side."""

    devices: Devices

    @property
    def size(self) -> int:
        """How many devices there are."""
        return int(self.devices.size)

    @property
    def here(self) -> list[jax.Device]:
        """Those of this process, in their order."""
        return list(self.devices.local_devices)

    @property
    def whole(self) -> NamedSharding:
        """Of what every device holds whole."""
        return NamedSharding(self.devices, spec())

    def split(self, axis: int = 0) -> NamedSharding:
        """Of what is split along an axis."""
        return NamedSharding(self.devices, spec(*[None] * axis, AXIS))

    def each(self, rows: int) -> int:
        """How many of so many rows a device holds; the last ones may hold fewer."""
        return math.ceil(rows / self.size)

    def bounds(self, rows: int) -> tuple[int, int]:
        """From which of so many rows to before which this process holds them."""
        each, count = self.each(rows), len(self.here)
        start = min(jax.process_index() * count * each, rows)
        return start, min(start + count * each, rows)

    def everywhere(self, value: Any) -> jax.Array:
        """A value that all processes have alike, on every device."""
        copies = [jax.device_put(value, device, may_alias=False) for device in self.here]
        return jax.make_array_from_single_device_arrays(copies[0].shape, self.whole, copies)

    def rows(self, array: Array, rows: int) -> jax.Array:
        """Rows split over all devices, and filled up so that each holds as many.

        Args:
            array: what this process holds of them, by `bounds`.
            rows: how many there are in all processes together.
        """
        each = self.each(rows)
        blocks = []
        for i, device in enumerate(self.here):
            block = array[i * each : (i + 1) * each]
            # Rows in memory or in a mapped file are read where they are, if the device's memory is
            # this machine's.
            if len(block) < each:
                filled = aligned((each, *array.shape[1:]), array.dtype)
                filled[: len(block)] = block
                filled[len(block) :] = 0
                block = filled
            blocks.append(jax.device_put(block, device))
        shape = (each * self.size, *array.shape[1:])
        return jax.make_array_from_single_device_arrays(shape, self.split(), blocks)

    def picked(self, array: Array, send: Array, each: int) -> jax.Array:
        """`(devices, devices, slots, ...)`: what each device sends, picked by its process.

        Args:
            array: what this process holds, by `bounds`.
            send: `(devices, devices, slots)`, for each device the rows that it sends, counted on
                itself.
            each: rows that a device keeps.
        """
        blocks = []
        for i, device in enumerate(self.here):
            rows = send[list(self.devices.devices.flat).index(device)]
            block = aligned((1, *rows.shape, *array.shape[1:]), array.dtype)
            if len(array):  # The last ones may have no rows: then nobody asks for any.
                # With a mode NumPy writes where it is told; without, it makes a copy first.
                np.take(array, rows + i * each, axis=0, out=block[0], mode="clip")
            blocks.append(jax.device_put(block, device))
        shape = (self.size, *blocks[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, self.split(), blocks)

    def by_device(self, array: Any) -> jax.Array:
        """`(devices, ...)` of which all processes have the whole: each device gets its entry."""
        blocks = []
        for place, device in enumerate(self.devices.devices.flat):
            if device.process_index == jax.process_index():
                blocks.append(jax.device_put(array[place : place + 1], device))
        return jax.make_array_from_single_device_arrays(array.shape, self.split(), blocks)


def own(value: Tree) -> Tree:
    """This process's copy of what every device holds whole: arrays on one device of it."""
    return jax.tree.map(lambda array: array.addressable_data(0), value)


@functools.cache
def the_mesh() -> Mesh | None:
    """All devices that JAX has; None where that is one.

    Raises:
        InputError: processes have different numbers of devices.
    """
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    if len(devices) == 1:
        return None
    counts = {device.process_index: 0 for device in devices}
    for device in devices:
        counts[device.process_index] += 1
    if len(set(counts.values())) > 1:
        raise InputError(
            "Every process must have as many devices as the others. Received: "
            + ", ".join(f"{count} in process {process}" for process, count in counts.items())
            + ". Hide some with CUDA_VISIBLE_DEVICES or `XLA_FLAGS`."
        )
    return Mesh(Devices(np.array(devices), (AXIS,)))
