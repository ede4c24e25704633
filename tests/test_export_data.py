"""`layerwise export --data`: a file is compared on the user's own rows, as they are prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from keras import layers
from PIL import Image

import layerwise
from layerwise.datasets import Dataset
from layerwise.errors import InputError
from layerwise.service import _formats
from test_cli import assert_refused, call, contents
from test_tables import people

HOW: dict[str, Any] = {"epochs": 2, "max_depth": 1, "verbose": 0}
SEVEN = ("size", "year", "ratio", "member", "colour", "town", "label")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finished runs on a `table`, on `images` and on plain `arrays`."""
    home = tmp_path_factory.mktemp("runs")
    dense = lambda depth: layers.Dense(8, "relu")  # noqa: E731
    table = Dataset.from_table(people(80), target="label")
    layerwise.train(table, block=dense, run_dir=home / "table", **HOW)
    for label in ("cat", "dog"):
        (home / "pets" / label).mkdir(parents=True)
        for i in range(5):
            pixels = np.full((6, 6), 100 * (label == "dog") + 20 * i, "uint8")
            Image.fromarray(pixels).save(home / "pets" / label / f"{i}.png")
    flat = lambda depth: layers.Conv2D(2, 3, activation="relu")  # noqa: E731
    images = Dataset.from_images(home / "pets")
    layerwise.train(images, block=flat, run_dir=home / "images", **HOW)
    x = np.random.default_rng(0).normal(size=(20, 3))
    layerwise.train(x, np.arange(20) % 2, block=dense, run_dir=home / "arrays", **HOW)
    return home


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """The inputs that the exported file is given."""
    seen: list[np.ndarray] = []
    chosen = _formats.FORMATS["safetensors"]

    def open_and_tell(job: Any, path: Path, x: np.ndarray) -> Any:
        seen.append(x)
        return chosen.open(job, path, x)

    told = dataclasses.replace(chosen, open=open_and_tell)
    monkeypatch.setitem(_formats.FORMATS, "safetensors", told)
    return seen


def test_the_rows_of_a_table_are_compared(home: Path, compared: list[np.ndarray]) -> None:
    """They follow the random ones, as the run's preparation makes them: equal to the bit."""
    new = people(30, seed=4).drop(columns="label").iloc[:, ::-1].assign(more=1)
    new.loc[4, "colour"] = "pink"
    new.to_csv("new.csv", index=False)
    run = home / "table"
    ended = call(
        "export", run, "--format", "safetensors", "--data", "new.csv", "--out", "n.safetensors"
    )
    assert ended.code == 0
    said = "Compared by `layerwise.load` on 94 rows, 30 of them from new.csv: the largest"
    assert said in ended.out
    assert "Warning: new.csv: ignored 'more', not in the training table." in ended.err
    assert "'pink'" in ended.err
    preparation = layerwise.tables.Preparation.from_json((run / "preparation.json").read_bytes())
    np.testing.assert_array_equal(compared[0][64:], preparation.transform("new.csv"))
    assert call("export", run, "--format", "safetensors", "--out", "m.safetensors").code == 0
    assert len(compared[1]) == 64
    # The first ones of many; frames in Python, too.
    many = people(1500)
    made = layerwise.export(run, "safetensors", "many.safetensors", data=many)
    assert (made.rows, made.own_rows) == (1088, 1024)
    assert made.notes[0].startswith("The table: 1 row has a value of 'colour' that the training")
    np.testing.assert_array_equal(compared[2][64:], preparation.transform(many)[:1024])


def test_images_are_compared(home: Path, compared: list[np.ndarray]) -> None:
    ended = call(
        *("export", home / "images", "--format", "safetensors"),
        *("--data", home / "pets" / "dog", "--out", "n.safetensors"),
    )
    assert ended.code == 0
    assert f"on 69 rows, 5 of them from {home / 'pets' / 'dog'}: the largest" in ended.out
    expected = np.arange(100, 200, 20) / 255
    np.testing.assert_allclose(compared[0][64:, 3, 3, 0], expected, atol=1e-6)


def test_what_is_wrong_for_the_users_rows_alone_leaves_no_file(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that clips its inputs at 6 predicts the random rows, and no row that is far out."""
    chosen = _formats.FORMATS["safetensors"]
    clipped = dataclasses.replace(
        chosen, open=lambda job, path, x: chosen.open(job, path, np.clip(x, -6, 6))
    )
    monkeypatch.setitem(_formats.FORMATS, "safetensors", clipped)
    far = people(5)
    far.loc[2, "ratio"] = -1e4
    far.to_csv("far.csv", index=False)
    export = ("export", home / "table", "--format", "safetensors", "--out", "n.safetensors")
    ended = call(*export, "--data", "far.csv")
    assert ended.code == 1
    assert "predicts otherwise" in ended.err
    assert list(contents(Path())) == [Path("far.csv")]
    assert call(*export).code == 0


def lacking(*names: str) -> Callable[[], None]:
    return lambda: people(20).drop(columns=list(names)).to_csv("new.csv", index=False)


def with_text() -> None:
    frame = people(20).astype({"ratio": object})
    frame.loc[7, "ratio"] = "much"
    frame.to_csv("new.csv", index=False)


WRONG: dict[str, tuple[str, Callable[[], Any], tuple[str, ...]]] = {
    "a column": ("table", lacking("ratio"), ("new.csv", "lacks 'ratio'", "'size'")),
    "every column": ("table", lacking(*SEVEN[1:]), ("lacks 'year', 'ratio', 'member'",)),
    "a text": ("table", with_text, ("'ratio' held numbers", "'much'")),
    "no rows": ("table", lambda: people(20)[:0].to_csv("new.csv", index=False), ("no rows",)),
    "no file": ("table", lambda: None, ("no file new.csv",)),
    "no images": ("images", lambda: people(5).to_csv("new.csv"), ("PNG or JPEG",)),
    "arrays": ("arrays", lacking(), ("arrays", "not trained on a table")),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_data_is_one_sentence_and_leaves_what_was_there(home: Path, name: str) -> None:
    run, prepare, fragments = WRONG[name]
    prepare()
    Path("there.safetensors").write_text("mine")
    before = contents(Path())
    to = ("--out", "there.safetensors", "--replace")
    ended = call("export", home / run, "--format", "safetensors", "--data", "new.csv", *to)
    assert_refused(ended, *fragments)
    assert contents(Path()) == before


def test_prepared_rows_and_raw_ones_are_not_both_taken(home: Path) -> None:
    with pytest.raises(InputError, match="pass one of them"):
        layerwise.export(
            home / "table", "safetensors", rows=np.zeros((2, 3)), data=pd.DataFrame({"a": [1]})
        )
    assert list(contents(Path())) == []
