"""The depth curve that grows in a notebook."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from layerwise import display
from layerwise.display._notebook import SECONDS, Page, in_notebook
from layerwise.progress import (
    EpochsDone,
    Event,
    Noted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)

SCORES = (0.5, 0.75, 0.625)


def a_stage(depth: int) -> dict[str, Any]:
    metrics = {"loss": 0.5, "accuracy": SCORES[depth - 1]}
    return {
        "depth": depth, "epochs": 3, "seconds": 1.0, "stop_reason": "completed",
        "train": metrics, "validation": metrics, "test": None, "curves": {},
    }  # fmt: skip


def a_history(depth: int) -> dict[str, Any]:
    stages = [a_stage(d) for d in range(1, depth + 1)]
    return {"stages": stages, "monitor": "validation.accuracy", "selected_depth": None}


class Sent:
    """What a page has sent, on a clock that is told the time."""

    def __init__(self) -> None:
        self.bundles: list[Mapping[str, str]] = []
        self.updates: list[bool] = []
        self.now = 0.0
        self.page = Page(self.send, lambda: self.now)
        self.page.listen(RunStarted({}, "validation.accuracy", 3, 1))

    def send(self, bundle: Mapping[str, str], update: bool) -> None:
        self.bundles.append(bundle)
        self.updates.append(update)

    def after(self, seconds: float, event: Event) -> Mapping[str, str]:
        self.now += seconds
        self.page.listen(event)
        return self.bundles[-1]


def picture_of(bundle: Mapping[str, str]) -> str:
    """The SVG in a bundle, or nothing."""
    found = re.search(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", bundle["text/html"])
    return "" if found is None else base64.b64decode(found[1]).decode()


def test_the_curve_grows_by_a_point_a_stage() -> None:
    sent = Sent()
    assert picture_of(sent.bundles[0]) == ""
    pictures = [picture_of(sent.after(2.0, StageFinished(a_history(d)))) for d in (1, 2, 3)]
    assert all(svg.startswith("<svg") for svg in pictures)
    lines = [re.findall(r'<g id="line2d_\d+">\s*<path d="([^"]+)"', svg) for svg in pictures]
    # The line of a split has a corner for each stage.
    longest = [max(path.count("L") + 1 for path in paths) for paths in lines]
    assert longest[-1] == 3
    assert sent.updates == [False, True, True, True]


def test_the_text_says_what_a_terminal_would() -> None:
    sent = Sent()
    sent.after(2.0, StageFinished(a_history(1)))
    sent.after(2.0, StageStarted(2, 0, 4))
    text = sent.after(2.0, EpochsDone(1, {"loss": 0.25, "val_accuracy": 0.5}))["text/plain"]
    assert text.splitlines() == [
        "stage 1, train accuracy 0.5000, validation accuracy 0.5000, 3 epochs, 1.0 s",
        "stage 2 epoch 1/4 loss 0.2500 val 0.5000",
        "best so far: depth 1, validation accuracy 0.5000",
        "at most 7 s left",
    ]
    done = sent.after(2.0, RunFinished(a_history(2) | {"selected_depth": 2}, "Because."))
    assert done["text/plain"].splitlines()[-1].startswith("stage 1,"), "the line is all that stays"


def test_updates_are_a_second_apart() -> None:
    sent = Sent()
    sent.after(SECONDS / 2, StageFinished(a_history(1)))
    assert len(sent.bundles) == 1
    sent.after(SECONDS / 2, EpochsDone(1, {}))
    assert len(sent.bundles) == 2
    assert picture_of(sent.bundles[-1]), "what was held back is shown then"


def test_names_are_only_text() -> None:
    sent = Sent()
    bundle = sent.after(2.0, Noted("<script>alert(1)</script>\x1b[2J"))
    assert "<script>" not in bundle["text/html"]
    assert "\x1b" not in bundle["text/plain"]


def fake_ipython(monkeypatch: pytest.MonkeyPatch, shell: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Put an IPython in the place of any that is there; what was displayed with it."""
    shown: list[tuple[Any, dict[str, Any]]] = []
    package, module = ModuleType("IPython"), ModuleType("IPython.display")
    package.get_ipython = lambda: shell  # type: ignore[attr-defined]
    package.display = module  # type: ignore[attr-defined]
    module.display = lambda bundle, **how: shown.append((bundle, how))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    return shown


def test_one_output_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = fake_ipython(monkeypatch, SimpleNamespace(kernel=object()))
    with display.display("auto") as show:
        show(RunStarted({}, "validation.accuracy", 3, 1))
        show(StageFinished(a_history(1)))
    # The first event, and what was held back, at the end.
    assert [how["update"] for _, how in shown] == [False, True]
    assert len({how["display_id"] for _, how in shown}) == 1
    assert all(how["raw"] for _, how in shown)
    assert picture_of(shown[-1][0])


@pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["no shell", "a terminal"])
def test_only_a_kernel_is_a_notebook(monkeypatch: pytest.MonkeyPatch, shell: Any) -> None:
    fake_ipython(monkeypatch, shell)
    assert not in_notebook()


def test_nobody_imports_ipython_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert not in_notebook()
    assert "IPython" not in sys.modules


CELL = """
import layerwise, keras
result = layerwise.train(
    layerwise.load_dataset("wine"), block=lambda depth: keras.layers.Dense(4, "relu"),
    epochs=2, max_depth=2, depth_rule=layerwise.FixedDepth())
"""


def test_a_real_kernel(tmp_path: Path) -> None:
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL)])
    client = nbclient.NotebookClient(book, timeout=120, kernel_name="python3")
    client.execute(cwd=str(tmp_path))
    (shown,) = [o for o in book.cells[0].outputs if o.output_type == "display_data"]
    assert "best so far" not in shown.data["text/plain"], "the run is over"
    assert [line[:8] for line in shown.data["text/plain"].splitlines()] == ["stage 1,", "stage 2,"]
    assert "chosen depth" in picture_of(shown.data)
    others = [o for o in book.cells[0].outputs if o.output_type != "display_data"]
    assert not any("stage 1" in getattr(o, "text", "") for o in others)
