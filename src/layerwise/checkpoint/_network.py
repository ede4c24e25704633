"""The chosen network as data: loading it runs nothing that a file names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np

from layerwise.architecture import describe, rebuild
from layerwise.checkpoint._format import Checkpoint, read, write
from layerwise.checkpoint._network_file import ENDING, read_network
from layerwise.engine import Snapshot
from layerwise.errors import DamagedError, InputError

MODEL, EXITS = "model", "exits"


def keep_network(folder: Path, run: str, model: keras.Model, name: str = MODEL) -> None:
    """Write a network beside the checkpoints of its run.

    Args:
        folder: `checkpoints/` of the run.
        run: SHA-256 of `run.json`.
        model: any that Keras can describe; layers of the user's own stand in it by name alone.
        name: `MODEL` for the chosen network, `EXITS` for what predicts at every depth.

    Raises:
        DiskFullError: there is no room.
    """
    arrays = {
        f"model.{i}": np.array(keras.ops.convert_to_numpy(variable.value))
        for i, variable in enumerate(model.variables)
    }
    snapshot = Snapshot(arrays, {"architecture": describe(model)})
    write(folder / name, Checkpoint(name, run, {}, "", 0, 0.0, snapshot))


def load(
    run_dir: str | Path, layers: Mapping[str, Callable[..., keras.Layer]] | None = None
) -> keras.Model:
    """The chosen network of a finished run, also of a stranger's: no code in it is run.

    `keras.models.load_model` on `model.keras` gives the same network, compiled; but a `.keras`
    file from a stranger can name code to run. This reads a closed list of Keras' own layers and
    plain arrays, all bytes checked before they are used.

    Args:
        run_dir: the run folder, or a `.safetensors` file that `layerwise.export` wrote.
        layers: your own layer classes by name, where the network has some; nothing is ever looked
            up by a name in the file.

    Returns:
        The network, not compiled.

    Raises:
        InputError: there is no finished run, or a layer is not Keras' and not in `layers`.
        DamagedError: the files are not what was written, or hold what no network may hold.

    Example:
        >>> import keras, layerwise
        >>> data = layerwise.load_dataset("wine")
        >>> result = layerwise.train(
        ...     data, block=lambda depth: keras.layers.Dense(8, "relu"), epochs=2, max_depth=2,
        ...     run_dir="wine-net", verbose=0)
        >>> network = layerwise.load("wine-net")
        >>> bool((network.predict(data.test.x, verbose=0)
        ...       == result.model.predict(data.test.x, verbose=0)).all())
        True
    """
    path = Path(run_dir)
    if path.suffix == ENDING and not path.is_dir():
        return read_network(path, layers)
    try:
        return _read(path, MODEL, layers)
    except FileNotFoundError as error:
        raise InputError(
            f"{path} holds no finished run. `layerwise resume {path}` finishes one."
        ) from error


def load_exits(
    folder: Path, layers: Mapping[str, Callable[..., keras.Layer]] | None = None
) -> keras.Model:
    """The network of a finished run that predicts at every depth, as `TrainResult.early_exits`.

    Raises:
        InputError: the run has none; else as `load`.
        DamagedError: as `load`.
    """
    try:
        return _read(folder, EXITS, layers)
    except FileNotFoundError as error:
        raise InputError(
            f"The run in {folder} kept no early exits. They need labels, blocks in a chain, "
            '`window=1` and `freeze="all"`; and a run of this version of layerwise.'
        ) from error


def _read(
    folder: Path, name: str, layers: Mapping[str, Callable[..., keras.Layer]] | None
) -> keras.Model:
    kept = read(folder, f"checkpoints/{name}")
    count = len(kept.snapshot.arrays)
    arrays = [kept.snapshot.arrays.get(f"model.{i}") for i in range(count)]
    whole = [array for array in arrays if array is not None]
    if len(whole) < count:
        raise DamagedError(f"The arrays of the network in {folder} are not numbered in a row.")
    return rebuild(kept.snapshot.facts.get("architecture"), whole, layers)
