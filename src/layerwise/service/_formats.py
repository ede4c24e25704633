"""The formats of an export: how each is written, and how it is opened again by others."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise import files
from layerwise.checkpoint import read_network, write_network
from layerwise.errors import InputError, LayerwiseError, MissingDependencyError
from layerwise.service._parity import predicted

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Job:
    """What is exported.

    Attributes:
        network: in this process, on whichever backend.
        facts: texts to go into the file, where the format has room for them.
        layers: the user's own layer classes, by name.
    """

    network: keras.Model
    facts: Mapping[str, str]
    layers: Mapping[str, Any] | None


def _write_keras(job: Job, path: Path) -> None:
    job.network.save(path)


def _open_keras(job: Job, path: Path, x: NDArray[Any]) -> Arrays:
    custom = dict(job.layers or {})
    return predicted(keras.saving.load_model(path, custom_objects=custom, compile=False), x)


def _write_onnx(job: Job, path: Path) -> None:
    from layerwise.service._onnx import convert

    content = convert(job.network, job.facts)
    files.write_new(path, [content], len(content))


def _open_onnx(job: Job, path: Path, x: NDArray[Any]) -> Arrays:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": x}), strict=True))


def _write_safetensors(job: Job, path: Path) -> None:
    content = write_network(job.network, job.facts)
    files.write_new(path, [content], len(content))


def _open_safetensors(job: Job, path: Path, x: NDArray[Any]) -> Arrays:
    return predicted(read_network(path, job.layers), x)


def _write_torch(job: Job, path: Path) -> None:
    """By Keras' own export, which needs PyTorch as its backend: in a process of its own."""
    if job.layers:
        raise InputError(
            "A network with layers of your own cannot be exported to PyTorch from here: train with "
            'KERAS_BACKEND=torch and call `network.export(file, format="torch")`.'
        )
    content = write_network(job.network, {})
    with files.scratch_folder(path) as scratch:
        files.write_new(scratch / "network.safetensors", [content], len(content))
        worker = ("-m", "layerwise.service._torch_worker")
        _python(*worker, str(scratch / "network.safetensors"), str(path), KERAS_BACKEND="torch")


_RUN_TORCH = """
import sys, numpy, torch
module = torch.export.load(sys.argv[1]).module()
with torch.no_grad():
    outputs = module(torch.from_numpy(numpy.load(sys.argv[2])))
assert "keras" not in sys.modules
named = outputs if isinstance(outputs, dict) else {"output": outputs}
numpy.savez(sys.argv[3], **{name: array.numpy() for name, array in named.items()})
"""


def _open_torch(job: Job, path: Path, x: NDArray[Any]) -> Arrays:
    """In a process that has neither Keras nor layerwise."""
    with files.scratch_folder(path) as scratch:
        given, made = scratch / "x.npy", scratch / "outputs.npz"
        np.save(given, x)
        _python("-c", _RUN_TORCH, str(path), str(given), str(made))
        with np.load(made) as outputs:
            return {name: outputs[name] for name in outputs.files}


def _python(*arguments: str, **environment: str) -> None:
    """Run another Python like this one.

    Raises:
        LayerwiseError: it failed; the message is the last line that it said.
    """
    ended = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if ended.returncode:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        said = lines[-1] if lines else f"it ended with code {ended.returncode}"
        raise LayerwiseError(f"PyTorch cannot take this network. It says: {said}")


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        ending: of the file.
        write: the network into a file that does not exist yet.
        open: the file, by what opens it elsewhere, and what it predicts.
        needs: packages, and the extra that installs them.
        opened_by: for people.
    """

    ending: str
    write: Callable[[Job, Path], None]
    open: Callable[[Job, Path, NDArray[Any]], Arrays]
    needs: tuple[str, ...] = ()
    extra: str = ""
    opened_by: str = ""

    def require(self) -> None:
        """Raise `MissingDependencyError` where a package is missing."""
        missing = [name for name in self.needs if importlib.util.find_spec(name) is None]
        if missing:
            raise MissingDependencyError(
                f"{self.ending} files need {' and '.join(missing)}: "
                f'`pip install "layerwise[{self.extra}]"`.'
            )


FORMATS = {
    "keras": Format(".keras", _write_keras, _open_keras, opened_by="`keras.saving.load_model`"),
    "onnx": Format(
        ".onnx", _write_onnx, _open_onnx, ("onnx", "onnxruntime"), "onnx", "ONNX Runtime"
    ),
    "safetensors": Format(
        ".safetensors", _write_safetensors, _open_safetensors, opened_by="`layerwise.load`"
    ),
    "torch": Format(
        ".pt2", _write_torch, _open_torch, ("torch",), "torch", "`torch.export.load`, without Keras"
    ),
}
