"""What the engines compute on."""

from __future__ import annotations

import os

import keras


def cores() -> int:
    """How many cores this process may use: sums are split over them, which moves the last bits."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices() -> list[str]:
    """The devices of the backend, such as `"cpu:0"`."""
    return [str(device) for device in keras.distribution.list_devices()]
