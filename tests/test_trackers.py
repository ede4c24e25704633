"""What a tracker is told is what the history says."""

from __future__ import annotations

import struct
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import layerwise
from layerwise.errors import InputTypeError, MissingDependencyError
from layerwise.history import score_of
from layerwise.progress import Event, StageFinished

Scalars = dict[str, list[tuple[int, float]]]


def scalars_in(folder: Path) -> Scalars:
    """Step and value of every scalar by tag: records of length, check, bytes and check."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2")
    found: Scalars = defaultdict(list)
    for path in sorted(folder.glob("events.out.tfevents.*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = proto.Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found[value.tag].append((event.step, value.simple_value))
            data = data[16 + length :]
    return dict(found)


def expected_from(history: layerwise.History) -> Scalars:
    """What the history says, in its own words."""
    found: Scalars = defaultdict(list)
    epoch = 0
    for stage in history.stages:
        for split in ("train", "validation", "test"):
            for name, metric in (getattr(stage, split) or {}).items():
                score = score_of(metric)
                if score is not None:
                    found[f"stage/{split}/{name}"].append((stage.depth, score.mean))
        found["stage/seconds"].append((stage.depth, stage.seconds))
        for name, values in stage.curves.items():
            found[f"epoch/{name}"] += [(epoch + i, v) for i, v in enumerate(values, 1)]
        epoch += len(stage.curves["loss"])
    for name, metric in (history.test or {}).items():
        score = score_of(metric)
        assert score is not None
        found[f"test/{name}"].append((history.selected_depth or 0, score.mean))
    return dict(found)


def assert_same(ours: Scalars, theirs: Scalars) -> None:
    assert ours.keys() == theirs.keys()
    for tag, points in ours.items():
        steps, values = zip(*points, strict=True)
        assert steps == tuple(step for step, _ in theirs[tag]), tag
        np.testing.assert_allclose(values, [value for _, value in theirs[tag]], rtol=1e-6)


def how(**changes: Any) -> dict[str, Any]:
    return {
        "block": lambda depth: keras.layers.Dense(4, activation="relu"),
        "epochs": lambda depth: 1 + depth,
        "max_depth": 2,
        "depth_rule": layerwise.FixedDepth(),
        "verbose": 0,
    } | changes


@pytest.fixture
def wine() -> layerwise.Dataset:
    pytest.importorskip("tensorboardX")
    return layerwise.load_dataset("wine")


@pytest.mark.parametrize("replicates", [1, 2])
def test_tensorboard_gets_every_number(
    tmp_path: Path, wine: layerwise.Dataset, replicates: int
) -> None:
    board = layerwise.TensorBoard(tmp_path / "logs")
    result = layerwise.train(wine, listeners=board, **how(replicates=replicates))
    assert_same(scalars_in(tmp_path / "logs"), expected_from(result.history))


def test_tensorboard_itself_reads_it(tmp_path: Path, wine: layerwise.Dataset) -> None:
    module = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result = layerwise.train(wine, listeners=layerwise.TensorBoard("logs"), **how())
    read = module.EventAccumulator("logs").Reload()
    theirs = {tag: [(e.step, e.value) for e in read.Scalars(tag)] for tag in read.Tags()["scalars"]}
    assert_same(theirs, expected_from(result.history))
    assert read.Tags()["tensors"] == ["explanation/text_summary"]


class Kill(BaseException):
    """Unwinds as nothing that the library catches."""


def stop_after_two(event: Event) -> None:
    if isinstance(event, StageFinished) and len(event.history["stages"]) == 2:
        raise Kill


@pytest.mark.parametrize("same", [True, False], ids=["the same folder", "a new folder"])
def test_a_run_that_goes_on_has_each_stage_once(
    tmp_path: Path, wine: layerwise.Dataset, same: bool
) -> None:
    first, second = tmp_path / "logs", tmp_path / ("logs" if same else "others")
    listeners = [layerwise.TensorBoard(first), stop_after_two]
    with pytest.raises(Kill):
        layerwise.train(wine, run_dir="run", listeners=listeners, **how(max_depth=3))
    time.sleep(1.1)  # A file is named after the second, and would be written over.
    board = layerwise.TensorBoard(second)
    result = layerwise.resume("run", wine, listeners=board, **how(max_depth=3))
    assert_same(scalars_in(second), expected_from(result.history))


def test_what_is_not_finite_is_left_out(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    record = {
        "depth": 1, "seconds": 0.5, "train": {"loss": None, "accuracy": 0.5},
        "validation": None, "test": None, "curves": {"loss": [0.5, None, 0.25], "val_loss": []},
    }  # fmt: skip
    board = layerwise.TensorBoard(tmp_path)
    board(StageFinished({"stages": [record]}))
    assert scalars_in(tmp_path) == {
        "stage/train/accuracy": [(1, 0.5)],
        "stage/seconds": [(1, 0.5)],
        "epoch/loss": [(1, 0.5), (3, 0.25)],
    }


def test_another_run_in_the_same_folder_is_written(tmp_path: Path) -> None:
    """Beside the first: only what comes from a checkpoint stands there already."""
    pytest.importorskip("tensorboardX")
    record = {"depth": 1, "seconds": 0.5, "train": {}, "validation": None, "test": None}
    event = StageFinished({"stages": [record | {"curves": {}}]})
    layerwise.TensorBoard(tmp_path)(event)
    time.sleep(1.1)  # A file is named after the second.
    layerwise.TensorBoard(tmp_path)(event)
    assert scalars_in(tmp_path) == {"stage/seconds": [(1, 0.5), (1, 0.5)]}


def test_arguments_that_do_not_fit_leave_no_folder(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    board = layerwise.TensorBoard(tmp_path / "logs")
    with pytest.raises(layerwise.LayerwiseError):
        layerwise.train(np.zeros((4, 2)), None, listeners=board, **how())
    assert not (tmp_path / "logs").exists()


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tensorboardX", raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None)
    with pytest.raises(MissingDependencyError, match=r'pip install "layerwise\[tensorboard\]"'):
        layerwise.TensorBoard("logs")


@pytest.mark.parametrize("wrong", [None, 3, ["logs"]])
def test_what_is_no_folder_is_refused(wrong: Any) -> None:
    with pytest.raises(InputTypeError, match="`log_dir` must be a folder"):
        layerwise.TensorBoard(wrong)
