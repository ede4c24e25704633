"""What this machine offers: versions, backend, devices, cores, room on disk."""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

import keras

import layerwise
from layerwise import files
from layerwise.engine import cores, devices

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
        f"room at {out}": f"{free / 2**30:.1f} GB: stages of up to "
        f"{free // _BYTES_A_WEIGHT / 1e6:,.0f} million weights can be kept",
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
