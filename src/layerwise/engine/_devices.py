"""What the engines compute on."""

from __future__ import annotations

import importlib
import os

import keras


def cores() -> int:
    """How many cores this process may use: sums are split over them, which moves the last bits."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def devices() -> list[str]:
    """The devices of the backend, such as `"cpu:0"`."""
    if keras.backend.backend() == "torch":
        # Keras has no list of PyTorch's.
        torch = importlib.import_module("torch")
        return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu:0"]
    return [str(device) for device in keras.distribution.list_devices()]
