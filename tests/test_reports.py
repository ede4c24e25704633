"""`layerwise report` and `layerwise compare`, on runs that are on disk."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from keras import layers

import layerwise
from layerwise import files
from layerwise.checkpoint import _pages
from layerwise.errors import DamagedError, InputError
from layerwise.service import compare, write_report
from test_cli import assert_refused, call, contents

X = np.random.default_rng(0).random((120, 4), dtype=np.float32)
Y = X[:, :2].argmax(axis=1)
HOW: dict[str, Any] = {
    "block": lambda depth: layers.Dense(4, "relu"), "epochs": 1, "max_depth": 2,
    "depth_rule": layerwise.FixedDepth("last"), "verbose": 0,
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reports") / "run"
    layerwise.train(X, Y, **HOW, baseline="quick", diagnostics="confusion", run_dir=folder)
    return folder


def page_of(file: Path) -> str:
    return file.read_text()


def test_a_finished_run_is_drawn_beside_its_folder_and_stays_as_it_is(run: Path) -> None:
    before = contents(run)
    ended = call("report", run)
    file = run.with_name("run-report.html")
    assert ended.code == 0
    assert ended.out.strip() == f"Report: {file}"
    assert page_of(file) == page_of(run / "report.html")
    assert contents(run) == before


def test_the_page_may_go_anywhere(run: Path, tmp_path: Path) -> None:
    assert call("report", run, "--out", tmp_path / "page.html").code == 0
    assert page_of(tmp_path / "page.html") == page_of(run / "report.html")


def test_pictures_that_cannot_be_drawn_again_are_kept(tmp_path: Path) -> None:
    """Two columns with classes are shown as they are, for which the data are needed."""
    folder = tmp_path / "run"
    layerwise.train(X[:, :2], Y, **HOW, run_dir=folder)
    assert "pictures.json" in (folder / "SHA256SUMS").read_text()
    file = write_report(folder, tmp_path / "page.html")
    assert "<h2>The data</h2>" in page_of(file)
    assert page_of(file) == page_of(folder / "report.html")
    (folder / "pictures.json").write_text('{"Mine": "<script>alert(1)</script>"}')
    with pytest.raises(DamagedError, match=r"pictures\.json"):
        write_report(folder, tmp_path / "other.html")


class _StopError(Exception):
    """Ends a run from outside."""


def stopped(folder: Path, monkeypatch: pytest.MonkeyPatch, every: float) -> None:
    """A run that ends after its first stage; its page is drawn after so many seconds."""
    monkeypatch.setattr(_pages, "EVERY", every)

    def stop(event: Any) -> None:
        if isinstance(event, layerwise.progress.StageStarted) and event.depth == 2:
            raise _StopError

    with pytest.raises(_StopError):
        layerwise.train(X, Y, **HOW, run_dir=folder, listeners=stop)


def test_a_run_that_goes_on_can_be_watched(tmp_path: Path, monkeypatch: Any) -> None:
    stopped(tmp_path / "run", monkeypatch, every=0.0)
    page = page_of(tmp_path / "run" / "report.html")
    assert "The run goes on: 1 stage so far. Reload this page to see more." in page


def test_the_page_is_not_drawn_at_every_stage(tmp_path: Path, monkeypatch: Any) -> None:
    stopped(tmp_path / "run", monkeypatch, every=30.0)
    assert not (tmp_path / "run" / "report.html").exists()
    file = write_report(tmp_path / "run")
    assert file == tmp_path / "run" / "report.html"
    assert "The run goes on: 1 stage so far" in page_of(file)


def test_a_result_writes_the_page_of_a_run_without_a_folder(tmp_path: Path) -> None:
    result = layerwise.train(X, Y, **HOW, diagnostics="confusion")
    result.report(tmp_path / "page.html")
    page = page_of(tmp_path / "page.html")
    assert "Confusion on validation rows" in page
    assert layerwise.__version__ in page


def test_runs_side_by_side(run: Path, tmp_path: Path) -> None:
    """The numbers are those of the runs; what is not comparable is said."""
    same, other = tmp_path / "same", tmp_path / "other"
    layerwise.train(X, Y, **{**HOW, "epochs": 3}, run_dir=same)
    layerwise.train(X * 2, 1 - Y, **HOW, run_dir=other)
    ended = call("compare", run, same, "--json")
    told = json.loads(ended.out)
    assert told["warnings"] == []
    for row, folder in zip(told["rows"], (run, same), strict=True):
        history = json.loads((folder / "history.json").read_text())
        assert row["depth"] == history["selected_depth"]
        assert row["validation"] == history["stages"][row["depth"] - 1]["validation"]["accuracy"]
        assert row["seconds"] == sum(stage["seconds"] for stage in history["stages"])
        assert row["finished"]
    ended = call("compare", run, other, "--out", tmp_path / "page.html")
    assert ended.code == 0
    assert "comparable only in part" in ended.err
    assert str(other) in page_of(tmp_path / "page.html")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"y": X[:, 0]}, "not comparable, they are of other data"),
        ({"rows": 100}, "not comparable, they saw other rows"),
        ({"seed": 1}, "comparable only in part"),
        ({"monitor": "loss"}, "chosen by another metric"),
    ],
    ids=["other labels", "fewer rows", "another split", "another monitor"],
)
def test_what_cannot_be_compared_is_said(
    run: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    rows = change.pop("rows", 120)
    y = change.pop("y", Y)
    layerwise.train(X[:rows], y[:rows], **HOW, **change, run_dir=tmp_path / "other")
    assert words in " ".join(compare([run, tmp_path / "other"]).warnings)


def test_an_unfinished_run_is_named(run: Path, tmp_path: Path, monkeypatch: Any) -> None:
    stopped(tmp_path / "half", monkeypatch, every=30.0)
    found = compare([run, tmp_path / "half"])
    assert f"{tmp_path / 'half'} is not finished: 1 stage so far." in found.warnings
    assert found.rows[1].depth is None


def bad(name: str, make: Any, *words: str) -> Any:
    return pytest.param(make, words, id=name)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        bad("no run", lambda run, tmp: ("report", tmp), "no run"),
        bad("no folder", lambda run, tmp: ("report", tmp / "none"), "no run"),
        bad("not html", lambda run, tmp: ("report", run, "--out", tmp / "a.pdf"), ".html"),
        bad("no such place", lambda run, tmp: ("report", run, "--out", tmp / "a" / "b.html"),
            "there is no folder"),
        bad("one run", lambda run, tmp: ("compare", run), "two runs or more"),
        bad("one is none", lambda run, tmp: ("compare", run, tmp), "no run"),
        bad("page not html", lambda run, tmp: ("compare", run, tmp, "--out", tmp / "x"), ".html"),
        bad("twice", lambda run, tmp: ("compare", run, tmp, run), "once", "Received twice"),
        bad("its own", lambda run, tmp: ("report", run, "--out", run / "report.html"),
            "stays as it is"),
    ],
)  # fmt: skip
def test_bad_input_is_one_sentence(
    run: Path, tmp_path: Path, arguments: Any, words: tuple[str, ...]
) -> None:
    before = contents(tmp_path)
    assert_refused(call(*arguments(run, tmp_path)), *words)
    assert contents(tmp_path) == before


def test_a_damaged_history_is_not_drawn(run: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    text = (copy / "history.json").read_text()
    (copy / "history.json").write_text(text.replace('"depth": 1', '"depth": 7', 1))
    with pytest.raises(DamagedError, match=r"history\.json.* is damaged"):
        write_report(copy, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("run.json", "findings", {"columns": 5}),
        ("run.json", "data", {"name": 7}),
        ("run.json", "data", None),
        ("history.json", "fine_tune", {"kept": 1}),
        ("history.json", "baseline", ["<script>"]),
        ("history.json", "diagnostics", {"confusion": 3}),
        ("history.json", "monitor", 5),
    ],
)
def test_a_record_of_another_form_is_told_of(
    run: Path, tmp_path: Path, name: str, key: str, value: Any
) -> None:
    """Its hash is right: somebody else has written it, or another version."""
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    told = json.loads((copy / name).read_text())
    (copy / name).write_text(json.dumps({**told, key: value}))
    sums = {file: files.digest_file(copy / file) for file in ("run.json", "history.json")}
    lines = (copy / "SHA256SUMS").read_text().splitlines(True)
    rest = [line for line in lines if line.split()[1] not in sums]
    (copy / "SHA256SUMS").write_text("".join([f"{v}  {k}\n" for k, v in sums.items()] + rest))
    page = tmp_path / "page.html"
    for command in (["report", copy], ["compare", run, copy]):
        ended = call(*command, "--out", page)
        if command[0] == "report" or ended.code:
            assert_refused(ended, "not of the form that layerwise writes")
            assert not page.exists()


def test_a_history_without_stages_has_no_page(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "SHA256SUMS"):
        (folder / name).write_bytes((run / name).read_bytes())
    (folder / "SHA256SUMS").write_text((run / "SHA256SUMS").read_text().splitlines(True)[0])
    with pytest.raises(InputError, match="No stage of the run"):
        write_report(folder)
