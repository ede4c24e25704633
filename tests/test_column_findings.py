"""What was found in a table's columns, in `run.json` and on the report's page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import layerwise
from layerwise import files
from layerwise.checkpoint import RunFolder
from layerwise.datasets import Dataset
from layerwise.tables import Findings, Found
from test_cli import call, read
from test_report import HOSTILE, Page, a_history, page

BLOCK = lambda depth: keras.layers.Dense(4, "relu")  # noqa: E731
HOW: dict[str, Any] = {"block": BLOCK, "epochs": 1, "max_depth": 1, "verbose": 0}


def troubled(rows: int = 60) -> pd.DataFrame:
    """A column of each kind that is worth a look."""
    rng = np.random.default_rng(0)
    label = np.arange(rows) % 2
    frame = pd.DataFrame(
        {
            "size": np.where(np.arange(rows) % 10 == 3, np.nan, rng.normal(size=rows)),
            "colour": rng.choice(["blue", "red"], rows),
            "member": rng.random(rows) < 0.5,
            "same": 7,
            "empty": np.full(rows, np.nan),
            "price": np.where(label, 2.5, 1.5),
            "note": np.arange(rows),
            "label": np.array(["no", "yes"])[label],
        }
    )
    return frame.assign(again=frame["size"])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on the command line."""
    home = tmp_path_factory.mktemp("columns")
    troubled().to_csv(home / "table.csv", index=False)
    where = (home / "table.csv", "--target", "label", "--drop", "note", "--out", home / "run")
    ended = call("train", *where, "--epochs", "1", "--max-depth", "1")
    assert ended.code == 0
    return home / "run"


def test_run_json_keeps_what_each_column_holds(run: Path) -> None:
    """Counted here by NumPy over the training rows, which a column of row numbers tells."""
    frame = troubled()
    numbered = Dataset.from_table(frame, target="label", drop=["size", "again"])
    code = next(code for code in numbered.preparation.codes if code.name == "note")
    at = numbered.preparation.features.index("note")
    rows = np.rint(numbered.train.x[:, at] * code.scale + code.mean).astype(int)
    missing = int(frame["size"].iloc[rows].isna().sum())
    assert 0 < missing < 6
    found = read(run, "run.json")["findings"]
    assert found["target"] == "label: 2 classes (texts)"
    told = {c["name"]: (c["kind"], c["missing"], c["inputs"], c["leak"]) for c in found["columns"]}
    assert told == {
        "size": ("number", missing, 2, False),
        "colour": ("category", 0, 2, False),
        "member": ("boolean", 0, 1, False),
        "same": ("constant", 0, 0, False),
        "empty": ("empty", len(rows), 0, False),
        "price": ("number", 0, 1, True),
        "note": ("left out", 0, 0, False),
        "again": ("duplicate", missing, 0, False),
    }
    assert [warning.split("'")[1] for warning in found["warnings"]] == [
        "same", "empty", "price", "again"
    ]  # fmt: skip
    assert (found["more_columns"], found["more_warnings"]) == (0, 0)


def cells(text: str) -> list[list[str]]:
    """The rows of the table of columns, as a browser would show them."""
    part = text[text.index('id="columns"') :]
    body = part[part.index("<tbody>") : part.index("</tbody>")]
    return [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>.*?</tr>", body)]


def test_the_report_has_a_table_of_columns(run: Path) -> None:
    text = (run / "report.html").read_text()
    Page(text)
    columns = read(run, "run.json")["findings"]["columns"]
    for row, column in zip(cells(text), columns, strict=True):
        assert row[:2] == [column["name"], column["kind"]]
        assert row[2:4] == [str(column["missing"] or ""), str(column["inputs"])]
        assert ("tells the target" in row[4]) is (column["name"] == "price")
    assert "label: 2 classes (texts)." in text
    assert text.count('<p class="warning small">The column ') == 4
    # Drawn again, it is the same table.
    assert call("report", run, "--out", "again.html").code == 0
    assert cells(Path("again.html").read_text()) == cells(text)


def test_runs_on_other_data_have_no_findings(tmp_path: Path) -> None:
    for label in ("cat", "dog"):
        (tmp_path / "pets" / label).mkdir(parents=True)
        for i in range(5):
            pixels = np.full((8, 8), 100 * (label == "dog") + i, "uint8")
            Image.fromarray(pixels).save(tmp_path / "pets" / label / f"{i}.png")
    flat = {**HOW, "block": lambda depth: keras.layers.Conv2D(2, 3, activation="relu")}
    layerwise.train(Dataset.from_images("pets"), run_dir="images", **flat)
    x = np.random.default_rng(0).normal(size=(20, 3))
    layerwise.train(x, np.arange(20) % 2, run_dir="arrays", **HOW)
    for name in ("images", "arrays"):
        assert "findings" not in read(Path(name), "run.json")
        assert 'id="columns"' not in (Path(name) / "report.html").read_text()


def test_a_run_goes_on_whatever_its_findings_said(run: Path) -> None:
    """Of another version, or of one that kept none: the data are compared by their fingerprint."""
    data = Dataset.from_table(troubled(), target="label", drop=["note"])
    for change in ({"target": "in other words", "columns": []}, None):
        folder = Path("old" if change is None else "other")
        layerwise.train(data, run_dir=folder, **HOW)
        facts = read(folder, "run.json")
        findings = facts.pop("findings")
        if change is not None:
            facts["findings"] = {**findings, **change}
        files.write_json(folder / "run.json", facts)
        (folder / "SHA256SUMS").write_text(f"{files.digest_file(folder / 'run.json')}  run.json\n")
        layerwise.resume(folder, data, **HOW)
        assert RunFolder(folder, resume=True).damaged() == []
        assert read(folder, "run.json") == facts


def found(*names: str, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    """Findings as `run.json` has them."""
    columns = tuple(Found(name, "category", f"{name} and more", 1, 2, leak=True) for name in names)
    told = Findings(f"{names[0]}: 2 classes (texts)", columns, warnings).describe()
    return json.loads(json.dumps(told))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_column_is_only_text(text: str) -> None:
    plain, hostile = (
        page(a_history(), findings=found(name, "other", warnings=(f"Look at {name}.",)))
        for name in ("plain", text)
    )
    seen = Page(hostile)
    assert sorted(seen.tags) == sorted(Page(plain).tags)
    assert seen.text[None].count(text) == 4, "shown as it was given"
    assert "<script" not in hostile


def test_a_table_of_many_columns_stays_readable() -> None:
    """What is cut is counted: 5,000 columns, a name of 5,000 characters, a warning for each."""
    names = ["深" * 5000, *(f"column {i}" for i in range(4999))]
    told = found(*names, warnings=tuple(f"The column {name!r} is empty." for name in names))
    assert (len(told["columns"]), told["more_columns"]) == (1000, 4000)
    assert (len(told["warnings"]), told["more_warnings"]) == (1000, 4000)
    assert told["columns"][0]["name"] == "深" * 300 + "..."
    text = page(a_history(), findings=told)
    assert len(cells(text)) == 200
    assert "And 4,800 columns more." in text
    assert "And 4,950 warnings more." in text
    assert len(text.encode()) < 1_000_000
