"""Names are data: none leaves the run folder, runs in the page or reaches the terminal raw."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hostile_names import HOSTILE

import layerwise
from layerwise.checkpoint import Room, RunFolder
from layerwise.datasets import Dataset
from layerwise.errors import InputError, LayerwiseError, visible


class Page(HTMLParser):
    """The elements and attributes that a browser would make of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.targets: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.targets += [value or "" for name, value in attrs if name in ("href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def assert_harmless(page: str) -> None:
    seen = Page(page)
    assert not seen.tags & {"script", "img", "iframe", "object", "embed", "link", "form"}
    assert all(target.startswith("#") for target in seen.targets)
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert "default-src 'none'" in page


def classes(name: str = "arrays") -> Dataset:
    """Three rows of each hostile class, two columns, so that the page shows a picture."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.array(HOSTILE, dtype=object), 5)
    return Dataset.from_arrays(rng.normal(size=(len(labels), 2)), labels, name=name)


def test_there_are_sixty() -> None:
    assert len(HOSTILE) == len(set(HOSTILE)) == 60


def test_hostile_classes_are_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    result = layerwise.train(
        classes(),
        block=lambda depth: keras.layers.Dense(4, "relu"),
        epochs=1,
        max_depth=1,
        run_dir=run,
        verbose=1,
    )
    assert sorted(map(str, result.classes)) == sorted(HOSTILE)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert_harmless((run / "report.html").read_text())
    page = Page((run / "report.html").read_text())
    named = [label for label in map(visible, map(str, result.classes[:11])) if len(label) < 25]
    assert len(named) > 5
    for label in named:
        assert label in page.text
    kept = json.loads((run / "run.json").read_text())["data"]["classes"]
    assert kept == sorted(HOSTILE)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", capsys.readouterr().err)
    assert RunFolder(run, resume=True).damaged() == []


STAGE = {
    "depth": 1,
    "objective": "supervised",
    "head": "carry",
    "epochs": 1,
    "stop_reason": "completed",
    "seconds": 1.0,
    "parameters": 1,
    "train": {"loss": 1.0, "accuracy": 0.5},
    "validation": {"loss": 1.0, "accuracy": 0.5},
    "test": None,
    "curves": {"loss": [1.0], "val_loss": [1.0]},
}


DATA = {"rows": {"train": 2}, "shape": [2], "dtype": "float32", "fingerprint": "0"}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_in_the_page(name: str) -> None:
    """The data set's name stands in the title and in the facts, the labels in a picture."""
    from layerwise import plots, report

    history = {
        "schema": 1,
        "stages": [{**STAGE, "objective": name}],
        "selected_depth": None,
        "depth_rule": name,
        "monitor": "validation.accuracy",
        "stop_reason": None,
        "fine_tune": None,
        "baseline": None,
        "test": None,
    }
    points = {"train": (np.zeros((2, 2)), np.array([0, 1]))}
    picture = plots.scatter(points, [name, "other"])
    texts = ("recipe", "command", "engine", "backend", "head")
    facts = dict.fromkeys(texts, name) | {"seed": 0, "replicates": 1}
    facts |= {"data": DATA | {"name": name}, "versions": {name: name}, "stages": {name: name}}
    page = report.render(history, facts, name, picture, {name: picture})
    assert_harmless(page)


def test_hostile_layer_names_stay_inside_the_model(tmp_path: Path) -> None:
    """Keras refuses some names by itself; all others end as a name in the model's file."""
    names = []
    for name in HOSTILE:
        if "\x00" in name:
            continue  # Refused, see below.
        try:
            keras.layers.Dense(2, name=name)
        except ValueError:
            continue
        names.append(name)
    assert len(names) > 30

    def block(depth: int) -> keras.Layer:
        return keras.Sequential([keras.layers.Dense(2, name=name) for name in names])

    x = np.random.default_rng(0).normal(size=(40, 2))
    y = [0, 1] * 20
    how: dict[str, Any] = {"block": block, "epochs": 1, "max_depth": 1, "verbose": 0}
    run = tmp_path / "run"
    before = layerwise.train(x, y, run_dir=run, **how)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert_harmless((run / "report.html").read_text())
    after = layerwise.resume(run, x, y, **how)
    for ours, theirs in zip(before.model.weights, after.model.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_layer_name_that_no_file_can_hold_is_refused_at_once(tmp_path: Path) -> None:
    """HDF5 would refuse it after the whole training."""
    with pytest.raises(InputError, match=r"layer.*nul.*Rename"):
        layerwise.train(
            np.eye(10),
            [0, 1] * 5,
            block=lambda depth: keras.layers.Dense(2, name="nul\x00byte"),
            run_dir=tmp_path / "run",
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_run_folder_is_a_folder(name: str, tmp_path: Path) -> None:
    """What the user gives as `--out` is a path; everything is written below it or nothing is."""
    parent = tmp_path / "runs" / "below"
    parent.mkdir(parents=True)
    folder = parent / name.lstrip("/~")
    try:
        with RunFolder(folder).opened({"schema": 1}, 30.0, Room(), lambda event: None):
            pass
    except (LayerwiseError, ValueError):
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
        return
    written = {path.parent.resolve() for path in tmp_path.rglob("*") if path.is_file()}
    assert written == {folder.resolve()}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_shown_is_visible(name: str) -> None:
    shown = visible(name).replace("\n", "")
    assert shown.isprintable()
    if name.isprintable():
        assert shown == name
