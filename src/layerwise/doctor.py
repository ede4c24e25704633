"""What this machine offers: versions, backend, devices, their rate, room on disk; and whether a
small training does what it should."""

from __future__ import annotations

import importlib.metadata
import platform
import time
from pathlib import Path

import keras

import layerwise
from layerwise import files
from layerwise.datasets import load_dataset
from layerwise.engine import cores, devices, matrix_rate
from layerwise.history import score_of
from layerwise.training import train

_EXTRAS = {"tensorflow": "Keras' own fit on TensorFlow", "torch": "Keras' own fit on PyTorch"}
"""Extra to what it adds."""
_PACKAGES = ("keras", "jax", "tensorflow", "torch", "numpy", "scikit-learn", "safetensors")
_BYTES_A_WEIGHT = 7 * 4
"""A stage in progress is kept twice with its optimizer, and once when it is done."""


def examine(out: Path) -> dict[str, str]:
    """What was found, by name.

    Args:
        out: the folder where runs are to be written, or one that does not exist yet.

    Example:
        >>> "backend" in examine(Path("runs"))
        True
    """
    free = files.free_bytes(out)
    return {
        "layerwise": layerwise.__version__,
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "backend": keras.backend.backend(),
        "devices": ", ".join(devices()),
        "cores": str(cores()),
        "matrix products": f"{matrix_rate() / 1e9:,.0f} GFLOP/s in float32",
        "self-test": _self_test(),
        **{f"extra {name}": _extra(name, adds) for name, adds in _EXTRAS.items()},
        f"room at {out}": f"{free / 2**30:.1f} GB: stages of up to "
        f"{free // _BYTES_A_WEIGHT / 1e6:,.0f} million weights can be kept",
    }


_GOOD = 0.85
"""Accuracy that the self-test must pass; it reaches 0.98 and more."""


def _self_test() -> str:
    """Two stages on a table that ships: what came of it, and how long it took."""
    started = time.perf_counter()
    result = train(
        load_dataset("wine"),
        block=lambda depth: keras.layers.Dense(32, "relu"),
        optimizer=keras.optimizers.Adam(0.01),
        epochs=20,
        max_depth=2,
        verbose=0,
    )
    score = score_of((result.test or {})["accuracy"])
    accuracy, seconds = score.mean if score else 0.0, time.perf_counter() - started
    told = f"two stages on wine in {seconds:.1f} s, test accuracy {accuracy:.2f}"
    return told if accuracy > _GOOD else f"FAILED: {told}, expected more than {_GOOD}"


def _extra(name: str, adds: str) -> str:
    if _version(name) != "not installed":
        return f"installed: {adds}"
    return f'{adds}; pip install "layerwise[{name}]"'


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
