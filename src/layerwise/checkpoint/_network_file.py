"""A network as one safetensors file: readable names, and its architecture in the header."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import safetensors
from safetensors.numpy import save

from layerwise.architecture import describe, rebuild
from layerwise.checkpoint._format import restored, storable
from layerwise.errors import DamagedError, InputError, UnknownFormatError

ENDING = ".safetensors"
_FORMAT = "layerwise network 1"


def write_network(model: keras.Model, facts: Mapping[str, str]) -> bytes:
    """A network as the content of a safetensors file.

    The header's `__metadata__` holds `format`; `architecture`, JSON as `architecture.describe`
    gives it; `variables`, a JSON list of the tensors' names in the order of the network's
    variables; `types`, of those that safetensors has no NumPy type for; and the facts. A tensor has
    the path of its variable, such as `block_1/kernel`.
    """
    names: list[str] = []
    for variable in model.variables:
        count = sum(name.partition("#")[0] == variable.path for name in names)
        names.append(f"{variable.path}#{count + 1}" if count else variable.path)
    arrays = [np.array(keras.ops.convert_to_numpy(v.value)) for v in model.variables]
    stored, types = storable(dict(zip(names, arrays, strict=True)))
    header = {
        "format": _FORMAT,
        "architecture": json.dumps(describe(model), allow_nan=False),
        "variables": json.dumps(names),
        "types": json.dumps(types),
        **facts,
    }
    return save(stored, header)


def read_network(
    file: Path, layers: Mapping[str, Callable[..., keras.Layer]] | None = None
) -> keras.Model:
    """The network of a file that `write_network` made; nothing that it names is run.

    Raises:
        InputError: there is no such file, or a layer is not Keras' and not in `layers`.
        DamagedError: it is not what was written, or is no file of ours.
    """
    if not file.is_file():
        raise InputError(f"There is no file {file}.")
    try:
        with safetensors.safe_open(file, framework="numpy") as opened:
            header: dict[str, str] = opened.metadata() or {}
            if header.get("format") != _FORMAT:
                raise UnknownFormatError(
                    f"{file} holds no network that `layerwise export` wrote: its header has the "
                    f"format {header.get('format')!r}, not {_FORMAT!r}."
                )
            names, types, architecture = (
                json.loads(header[key]) for key in ("variables", "types", "architecture")
            )
            if sorted(names) != sorted(opened.keys()) or not isinstance(types, dict):
                raise DamagedError(f"{file} is damaged: its header names other tensors.")
            arrays: dict[str, Any] = {name: opened.get_tensor(name) for name in names}
            arrays = restored(arrays, types)
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(
            f"{file} is damaged, or no safetensors file. Restore it from a copy."
        ) from error
    return rebuild(architecture, [arrays[name] for name in names], layers)
