"""Run folders from a stranger: nothing in them is run, nothing outside of them is read."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import safetensors.numpy
from hearing import listening
from hostile import HOSTILE, MARKER, NOT_JSON

import layerwise
from layerwise.checkpoint import RunFolder, load
from layerwise.checkpoint._format import MANIFEST, TENSORS, Checkpoint, _sealed, read, write
from layerwise.checkpoint._sums import write_sums
from layerwise.cli._run import resume_run
from layerwise.engine import Snapshot
from layerwise.errors import DamagedError, InputError, LayerwiseError
from layerwise.files import digest_file

SECONDS = 5.0
NETWORKS = [name for name in HOSTILE if name not in NOT_JSON][::8]
"""Some of those that test_hostile_networks has: here the way to them through the files counts."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An honest finished run, to be copied and spoiled."""
    run = tmp_path_factory.mktemp("honest") / "run"
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    layerwise.train(
        x,
        [0, 1] * 20,
        block=lambda depth: keras.layers.Dense(4, "relu"),
        epochs=1,
        max_depth=1,
        run_dir=run,
        verbose=0,
    )
    load(run)
    return run


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "run"))


def harm(heard: list[tuple[str, tuple[Any, ...]]], run: Path) -> list[tuple[str, Any]]:
    """What happened, less reading plain files of the run."""
    return [(event, told) for event, told in heard if event != "open" or not _reads(told, run)]


def _reads(told: tuple[Any, ...], run: Path) -> bool:
    if isinstance(told[0], int):
        return True  # Opened by its path before, which was heard then.
    writes = told[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    return not writes and Path(told[0]).parent.resolve().is_relative_to(run.resolve())


def network_file(run: Path, description: Any, arrays: list[Any]) -> None:
    """The network of a run, in the right form and with the right hashes."""
    values = {f"model.{i}": np.asarray(array) for i, array in enumerate(arrays)}
    snapshot = Snapshot(values, {"architecture": description})
    write(run / "checkpoints" / "model", Checkpoint("model", "", {}, "", 0, 0.0, snapshot))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_hostile_network_in_a_run_is_refused(name: str, run: Path) -> None:
    description, arrays = HOSTILE[name]()
    try:
        network_file(run, description, arrays)
    except (ValueError, TypeError, safetensors.SafetensorError):
        # What JSON or safetensors cannot hold, a file cannot say; the manifest is spoiled instead.
        (run / "checkpoints" / "model" / MANIFEST).write_bytes(b"\x80\x05cos\nsystem\n.")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    began = time.perf_counter()
    with listening() as heard, pytest.raises(DamagedError):
        load(run)
    assert time.perf_counter() - began < SECONDS
    assert harm(heard, run) == []
    assert not Path(MARKER).exists()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def _manifest(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change the network's manifest and seal it again, as a stranger can."""
    path = run / "checkpoints" / "model" / MANIFEST
    content = json.loads(path.read_bytes().partition(b"\n")[2])
    changed = change(content)
    path.write_bytes(_sealed(content if changed is None else changed))


def _tensors(run: Path, data: bytes) -> None:
    import hashlib

    (run / "checkpoints" / "model" / TENSORS).write_bytes(data)
    sums = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    _manifest(run, lambda content: content.update(tensors=sums))


def _link(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder_link(run: Path, secret: Path) -> None:
    """`checkpoints/model` leads to a good checkpoint elsewhere."""
    import shutil

    elsewhere = secret.parent / "elsewhere"
    shutil.move(run / "checkpoints" / "model", elsewhere)
    (run / "checkpoints" / "model").symlink_to(elsewhere)


def _header(length: int, text: bytes) -> bytes:
    return length.to_bytes(8, "little") + text


FILES: dict[str, Callable[[Path, Path], Any]] = {
    "manifest links to a secret": lambda run, secret: _link(
        run / "checkpoints" / "model" / MANIFEST, str(secret)
    ),
    "tensors link to a secret": lambda run, secret: _link(
        run / "checkpoints" / "model" / TENSORS, str(secret)
    ),
    "manifest links to itself": lambda run, secret: _link(
        run / "checkpoints" / "model" / MANIFEST, MANIFEST
    ),
    "manifest links to /dev/zero": lambda run, secret: _link(
        run / "checkpoints" / "model" / MANIFEST, "/dev/zero"
    ),
    "manifest is a pipe": lambda run, secret: _pipe(run / "checkpoints" / "model" / MANIFEST),
    "tensors are a pipe": lambda run, secret: _pipe(run / "checkpoints" / "model" / TENSORS),
    "the folder leads elsewhere": _folder_link,
    "manifest is a pickle": lambda run, secret: (
        run / "checkpoints" / "model" / MANIFEST
    ).write_bytes(b"\x80\x05cposix\nsystem\n(S'touch marker'\ntR."),
    "manifest of 10**5 lists": lambda run, secret: (
        run / "checkpoints" / "model" / MANIFEST
    ).write_bytes(_seal(b"[" * 10**5 + b"]" * 10**5)),
    "manifest is sparse and huge": lambda run, secret: os.truncate(
        run / "checkpoints" / "model" / MANIFEST, 1 << 36
    ),
    "tensors are sparse and huge": lambda run, secret: os.truncate(
        run / "checkpoints" / "model" / TENSORS, 1 << 36
    ),
    "manifest says huge tensors": lambda run, secret: _manifest(
        run, lambda content: content["tensors"].update(bytes=1 << 60)
    ),
    "manifest says negative tensors": lambda run, secret: _manifest(
        run, lambda content: content["tensors"].update(bytes=-1)
    ),
    "manifest says infinite tensors": lambda run, secret: (
        run / "checkpoints" / "model" / MANIFEST
    ).write_bytes(_seal(b'{"format": 1, "tensors": {"bytes": Infinity, "sha256": ""}}')),
    "manifest is a list": lambda run, secret: _manifest(run, lambda content: [content]),
    "manifest of format 99": lambda run, secret: _manifest(
        run, lambda content: content.update(format=99)
    ),
    "manifest names types that are none": lambda run, secret: _manifest(
        run, lambda content: content.update(types={"model.0": "os.system"})
    ),
    "facts are a text": lambda run, secret: _manifest(
        run, lambda content: content.update(facts="__import__('os')")
    ),
    "no architecture": lambda run, secret: _manifest(run, lambda content: content.update(facts={})),
    "tensors are a pickle": lambda run, secret: _tensors(run, b"\x80\x05cposix\nsystem\n."),
    "tensors with a header of 2**63": lambda run, secret: _tensors(run, _header(1 << 63, b"{}")),
    "tensors with a header past the end": lambda run, secret: _tensors(run, _header(99, b"{}")),
    "tensors that claim 2**60 numbers": lambda run, secret: _tensors(
        run,
        _header(
            75, b'{"model.0":{"dtype":"F32","shape":[1152921504606846976],"data_offsets":[0,4]}}'
        ),
    ),
    "tensors that overlap": lambda run, secret: _tensors(run, _overlapping()),
    "tensors that are missing": lambda run, secret: (
        run / "checkpoints" / "model" / TENSORS
    ).unlink(),
    "tensors under other names": lambda run, secret: _tensors(
        run, safetensors.numpy.save({"../../escape": np.zeros(3)})
    ),
    "objects as tensors": lambda run, secret: _tensors(run, _npy_of_objects()),
}


def _seal(body: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _overlapping() -> bytes:
    part = '"dtype":"F32","shape":[2],"data_offsets":[0,8]'
    header = f'{{"model.0":{{{part}}},"model.1":{{{part}}}}}'.encode()
    return _header(len(header), header + bytes(8))


def _npy_of_objects() -> bytes:
    import io

    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    return stream.getvalue()


def test_there_are_enough_files() -> None:
    assert len(FILES) >= 25


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_and_does_nothing(name: str, run: Path) -> None:
    secret = run.parent / "secret.txt"
    secret.write_text("not for you")
    FILES[name](run, secret)
    began = time.perf_counter()
    with listening() as heard, pytest.raises(DamagedError) as caught:
        load(run)
    assert time.perf_counter() - began < SECONDS
    assert harm(heard, run) == []
    assert "not for you" not in str(caught.value)
    assert not Path(MARKER).exists()


RUNS: dict[str, Any] = {
    "a recipe that is a path": {"recipe": "../../../bin/sh", "options": {}},
    "a recipe that is a module": {"recipe": "os.system", "options": {}},
    "a recipe that is a list": {"recipe": ["digits"], "options": {}},
    "options that are none": {"recipe": "digits", "options": {"__class__": "os"}},
    "options that are a text": {"recipe": "digits", "options": "--seed 1"},
    "a number of epochs that is a text": {"recipe": "digits", "options": {"epochs": "9" * 50}},
    "another schema": {"schema": 2, "recipe": "digits", "options": {}},
    "no recipe": {"block": "lambda depth: __import__('os').system('touch marker')"},
}


@pytest.mark.parametrize("name", RUNS)
def test_a_hostile_run_json_is_refused(name: str, run: Path) -> None:
    (run / "run.json").write_text(json.dumps({"schema": 1, **RUNS[name]}))
    write_sums(run, {"run.json": digest_file(run / "run.json")})
    resume_run_quietly(run)  # What is imported on first use is imported now.
    with listening() as heard, pytest.raises((InputError, DamagedError, TypeError)) as caught:
        resume_run(run, {}, as_json=True)
    assert isinstance(caught.value, LayerwiseError)
    assert [e for e in harm(heard, run) if e[0] not in ("import", "compile", "exec")] == []
    assert not Path(MARKER).exists()


def resume_run_quietly(run: Path) -> None:
    import contextlib

    with contextlib.suppress(LayerwiseError):
        resume_run(run, {}, as_json=True)


@pytest.mark.parametrize("target", ["run.json", "SHA256SUMS"])
def test_a_run_whose_files_lead_elsewhere_is_refused(target: str, run: Path) -> None:
    secret = run.parent / "secret.txt"
    secret.write_text("not for you")
    _link(run / target, str(secret))
    with listening() as heard, pytest.raises(DamagedError) as caught:
        RunFolder(run, resume=True).started_with()
    assert harm(heard, run) == []
    assert "not for you" not in str(caught.value)


def test_the_honest_run_is_loaded(run: Path) -> None:
    with listening() as heard:
        network = load(run)
    assert harm(heard, run) == []
    plain = keras.models.load_model(run / "model.keras")
    for ours, theirs in zip(network.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert read(run / "checkpoints", "model").name == "model"
