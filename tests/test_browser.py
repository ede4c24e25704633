"""The pages as a browser shows them, wide and narrow, light and dark.

Needs Chromium on the machine and the packages of the extra `browser`; skipped without.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layerwise
from layerwise.checkpoint import draw
from layerwise.report import compare_page
from test_report import (
    FACTS,
    HISTORIES,
    HOSTILE,
    TUNED,
    a_history,
    a_stage,
    baseline,
    lost_stage,
    rich_stage,
)

playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra `browser`")
axe = pytest.importorskip("axe_core_python.sync_playwright", reason="needs the extra `browser`")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no Chromium on this machine", allow_module_level=True)

WIDTHS = (360, 1280)
MAIN = "from layerwise.cli import main; main()"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = ["--no-sandbox", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        yield started.chromium.launch(executable_path=CHROMIUM, args=options)


def look(browser: Any, file: Path, width: int, scheme: str) -> dict[str, Any]:
    """Open a page; give what went wrong, and what stands in it."""
    wrong: list[str] = []
    view = {"width": width, "height": 800}
    # The page forbids scripts, the checker's own too.
    context = browser.new_context(viewport=view, color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None if request.url == file.as_uri() or request.url.startswith("data:image/png")
            else wrong.append(f"asks for {request.url}")
        ),
    )  # fmt: skip
    page.goto(file.as_uri())
    found = {
        "wrong": wrong,
        "overflow": page.evaluate("document.documentElement.scrollWidth - innerWidth"),
        "axe": [
            f"{one['impact']}: {one['id']} {one['nodes'][0]['html'][:200]}"
            for one in axe.Axe().run(page)["violations"]
            if one["impact"] in ("serious", "critical")
        ],
        "background": page.evaluate("getComputedStyle(document.body).backgroundColor"),
        "text": page.inner_text("main"),
        "alerts": page.evaluate("window.hit === undefined"),
    }
    for name in ("verdict", "selected-depth"):
        if page.query_selector(f"#{name}"):
            found[name] = page.inner_text(f"#{name}")
    context.close()
    return found


def check(browser: Any, text: str, folder: Path) -> list[dict[str, Any]]:
    """What every page of ours must be, in both widths and both schemes."""
    assert len(text.encode()) < 1_000_000
    file = folder / "page.html"
    file.write_text(text)
    seen = [look(browser, file, width, how) for width in WIDTHS for how in ("light", "dark")]
    for one in seen:
        assert one["wrong"] == []
        assert one["overflow"] <= 0
        assert one["axe"] == []
    assert seen[0]["background"] != seen[1]["background"]
    return seen


def many_classes() -> dict[str, Any]:
    """1,000 classes with long names, of which the worst pairs are shown."""
    pairs = [
        {"class": f"a class with the number {i}", "predicted": "another", "rows": 9 - i}
        for i in range(9)
    ]
    told = {"read": "Read it so.", "split": "test", "pairs": pairs}
    return a_history(diagnostics={"confusion": told})


def everything() -> dict[str, Any]:
    """All parts of the page at once."""
    ledger = {"seconds": {"compiling": 1.0, "training": 2.0}, "operations": 3e9,
              "feature_bytes": 10_000, "peak_bytes": 10**9}  # fmt: skip
    rivals = {f"rival_{i}": baseline(0.8 + i / 100) | {"about": "A network.", "ledger": ledger}
              for i in range(6)}  # fmt: skip
    column = {"read": "So.", "values": [0.5, 0.4], "inputs": 0.9,
              "rows": {"train": 9, "held": 4}}  # fmt: skip
    curve = {"start": [1e-6, 1.0], "after": [1e-4, 0.0]}
    bins = [{"confidence": 0.5, "accuracy": 0.4, "share": 0.3}]
    hard = {"row": 3, "class": "a", "probability": 0.01, "predicted": "b"}
    return a_history(
        [a_stage(1, ledger=ledger), a_stage(2, ledger=ledger)],
        fine_tune=TUNED | {"ledger": ledger}, baseline=rivals,
        diagnostics={
            "probe": column, "rank": column,
            "gradients": {"read": "So.", "curves": {"greedy": curve}, "rows": 9},
            "calibration": {"read": "So.", "split": "test", "error": 0.1, "bins": bins},
            "confusion": {"read": "So.", "split": "test", "classes": ["a", "b"],
                          "matrix": [[3, 1], [0, 4]]},
            "hardest": {"read": "So.", "split": "test", "rows": [hard]},
        },
    )  # fmt: skip


PAGES: dict[str, Callable[[], dict[str, Any]]] = {
    "everything": everything,
    "one stage": HISTORIES["one stage"],
    "100 stages": lambda: a_history([a_stage(d, epochs=50) for d in range(1, 101)]),
    "30 replicates": lambda: a_history([rich_stage(1), rich_stage(2)]),
    "1,000 classes": many_classes,
    "a failed stage": lambda: a_history([a_stage(1), lost_stage(2)], selected_depth=1),
    "a run that goes on": lambda: a_history(selected_depth=None, stop_reason=None, test=None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_any_page_is_one_that_a_browser_shows_well(browser: Any, name: str, tmp_path: Path) -> None:
    history = PAGES[name]()
    seen = check(browser, draw(history, FACTS, "Because.", {})[1], tmp_path)
    chosen = history["selected_depth"]
    assert seen[0]["selected-depth"] == ("none" if chosen is None else str(chosen))
    assert seen[0]["verdict"]


@pytest.mark.slow
def test_hostile_names_stay_text(browser: Any, tmp_path: Path) -> None:
    name = " ".join([*HOSTILE, "<img src=x onerror='window.hit=1'><script>window.hit=1</script>"])
    history = a_history(
        [a_stage(1, objective=name)], selected_depth=1,
        diagnostics={"confusion": {"read": "So.", "split": "test", "classes": [name, "b"],
                                   "matrix": [[3, 1], [0, 4]]}},
        baseline={name: baseline(0.5)},
    )  # fmt: skip
    facts = FACTS | {"recipe": name, "data": FACTS["data"] | {"name": name}}
    for one in check(browser, draw(history, facts, name, {})[1], tmp_path):
        assert one["alerts"]
        assert "<script>window.hit=1</script>" in one["text"]


def test_runs_side_by_side(browser: Any, tmp_path: Path) -> None:
    other = FACTS | {"data": FACTS["data"] | {"fingerprint": "cd" * 32, "name": "<b>else</b>"}}
    runs = [("runs/one", FACTS, a_history()), ("runs/two & 2", other, everything())]
    seen = check(browser, compare_page(runs), tmp_path)
    assert "not comparable, they are of other data" in seen[0]["text"]


def run(folder: Path, *arguments: str) -> dict[str, Any]:
    """`layerwise run`; its summary."""
    ended = subprocess.run(
        [sys.executable, "-c", MAIN, "run", *arguments, "--out", folder, "--json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(ended.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("digits", "--diagnostics"),
        ("blobs-autoencoder", "--replicates", "3", "--diagnostics", "--baseline", "quick"),
        ("cifar10-supervised", "--epochs", "1", "--max-depth", "3", "--diagnostics"),
    ],
    ids=["digits", "blobs-autoencoder", "cifar10-supervised"],
)
def test_the_report_of_a_real_run(browser: Any, arguments: tuple[str, ...], tmp_path: Path) -> None:
    if arguments[0] == "cifar10-supervised" and not os.environ.get("LAYERWISE_DATA"):
        pytest.skip("LAYERWISE_DATA names no folder of original data files")
    summary = run(tmp_path / "run", *arguments)
    seen = check(browser, (tmp_path / "run" / "report.html").read_text(), tmp_path)
    assert seen[0]["selected-depth"] == str(summary["selected_depth"])
    assert seen[0]["verdict"].startswith(("Greedy training", "The chosen network"))


@pytest.mark.slow
def test_the_report_of_images(browser: Any, tmp_path: Path) -> None:
    """Colour images, of which the hardest are shown."""
    import keras

    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 300)
    x = (rng.random((300, 8, 8, 3)) * 60 + 40 * y[:, None, None, None]).astype(np.uint8)
    result = layerwise.train(
        x, y, block=lambda depth: keras.layers.Conv2D(4, 3, activation="relu"), epochs=2,
        max_depth=2, test_data=(x[:80], y[:80]), diagnostics=True, baseline="quick", verbose=0,
        run_dir=tmp_path / "run",
    )  # fmt: skip
    seen = check(browser, (tmp_path / "run" / "report.html").read_text(), tmp_path)
    assert "The hardest test rows" in seen[0]["text"]
    assert seen[0]["selected-depth"] == str(result.selected_depth)
