"""What a run shows while it goes: lines, or a live bar on a terminal."""

from __future__ import annotations

import io
import math
import re
from typing import Any

import pytest
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from layerwise import display
from layerwise.errors import InputError
from layerwise.progress import (
    EpochsDone,
    Event,
    PhaseStarted,
    RunFinished,
    RunStarted,
    StageFinished,
    StageStarted,
)

WIDTH = 80


def a_stage(depth: int, **changes: Any) -> dict[str, Any]:
    record = {
        "depth": depth,
        "epochs": 30,
        "seconds": 0.94,
        "stop_reason": "completed",
        "train": {"loss": 0.1, "accuracy": 0.9991},
        "validation": {"loss": 0.2, "accuracy": 0.97777},
    }
    return record | changes


def spread(mean: float | None, std: float | None) -> dict[str, Any]:
    return {"mean": mean, "std": std, "values": [mean, mean]}


def finished(*stages: dict[str, Any], monitor: str = "validation.accuracy") -> StageFinished:
    return StageFinished({"stages": list(stages), "monitor": monitor})


NOTHING = {"loss": None, "accuracy": None}
REPLICATES = {"accuracy": spread(0.9, 0.0123)}
ERRORS = {"loss": 0.25, "mean_squared_error": 0.25}
LINES: list[Any] = [
    pytest.param(
        a_stage(1),
        "validation.accuracy",
        "stage 1, train accuracy 0.9991, validation accuracy 0.9778, 30 epochs, 0.9 s",
        id="plain",
    ),
    pytest.param(
        a_stage(12, validation=None, stop_reason="early_stopping"),
        "train.accuracy",
        "stage 12, train accuracy 0.9991, 30 epochs, 0.9 s, early stopping",
        id="without validation",
    ),
    pytest.param(
        a_stage(2, train=NOTHING, validation=NOTHING, epochs=1, stop_reason="diverged"),
        "validation.accuracy",
        "stage 2, train accuracy -, validation accuracy -, 1 epochs, 0.9 s, diverged",
        id="diverged",
    ),
    pytest.param(
        a_stage(2, stop_reason="diverged", retries=3, message="the loss was not finite"),
        "validation.accuracy",
        "stage 2, train accuracy 0.9991, validation accuracy 0.9778, 30 epochs, 0.9 s, diverged, "
        "retried 3 times at half the learning rate, the loss was not finite",
        id="the message of a divergence",
    ),
    pytest.param(
        a_stage(3, train=REPLICATES, validation=REPLICATES, diverged=2),
        "validation.accuracy",
        "stage 3, train accuracy 0.9000 ± 0.0123, validation accuracy 0.9000 ± 0.0123, 30 epochs, "
        "0.9 s, 2 diverged",
        id="replicates",
    ),
    pytest.param(
        a_stage(3, train=REPLICATES, validation={"accuracy": spread(None, None)}, diverged=0),
        "validation.accuracy",
        "stage 3, train accuracy 0.9000 ± 0.0123, validation accuracy -, 30 epochs, 0.9 s",
        id="replicates without a score",
    ),
    pytest.param(
        a_stage(1, train=ERRORS, validation=ERRORS),
        "validation.mean_squared_error",
        "stage 1, train mean squared error 0.2500, validation mean squared error 0.2500, "
        "30 epochs, 0.9 s",
        id="values",
    ),
]


@pytest.mark.parametrize(("stage", "monitor", "line"), LINES)
def test_a_stage_is_one_line_on_standard_error(
    capsys: pytest.CaptureFixture[str], stage: dict[str, Any], monitor: str, line: str
) -> None:
    with display.display(1) as show:
        show(finished(a_stage(99), stage, monitor=monitor))
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{line}\n")


def a_run(replicates: int = 1, epochs: int = 4) -> list[Event]:
    """All events of a run of two stages, with a fine-tuning and a final score."""
    events: list[Event] = [RunStarted({}, "validation.accuracy", 2, replicates)]
    for depth in (1, 2):
        for replicate in range(replicates):
            events.append(StageStarted(depth, replicate, epochs))
            events += [
                EpochsDone(epoch, {"loss": 0.5, "val_loss": 0.25, "val_accuracy": 0.75})
                for epoch in range(1, epochs + 1)
            ]
        events.append(finished(*(a_stage(d) for d in range(1, depth + 1))))
    events += [
        PhaseStarted("fine-tuning", epochs),
        EpochsDone(epochs, {"loss": 0.1}),
        PhaseStarted("scoring the test set", 0),
        RunFinished({"stages": [a_stage(1), a_stage(2)]}, "Because."),
    ]
    return events


STAGE_LINES = [display.stage_line(a_stage(d), "validation.accuracy") for d in (1, 2)]


@pytest.mark.parametrize("verbose", [1, True, "auto"])
def test_without_a_terminal_a_run_is_lines(
    capsys: pytest.CaptureFixture[str], verbose: str | int
) -> None:
    """`"auto"` too: standard error is captured here, so it is no terminal."""
    with display.display(verbose) as show:
        for event in a_run():
            show(event)
    captured = capsys.readouterr()
    assert captured.err.splitlines() == [*STAGE_LINES, "fine-tuning", "scoring the test set"]
    assert captured.out == ""


@pytest.mark.parametrize("verbose", [0, False])
def test_verbose_0_is_silent(capfd: pytest.CaptureFixture[str], verbose: int) -> None:
    with display.display(verbose) as show:
        for event in a_run():
            show(event)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("verbose", [2, -1, 0.5, "on", "", None])
def test_another_verbose_is_refused(verbose: Any) -> None:
    expected = f'`verbose` must be "auto", 0 or 1. Received: {verbose!r}.'
    with pytest.raises(InputError, match=re.escape(expected)), display.display(verbose):
        pass


class Screen:
    """A terminal of 80 columns that keeps all that was written."""

    def __init__(self) -> None:
        self.file = io.StringIO()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[state]}"),
            console=Console(file=self.file, force_terminal=True, width=WIDTH, _environ={}),
            transient=True,
            auto_refresh=False,
        )

    def show(self, events: list[Event]) -> list[str]:
        """Every line as it stood on the screen at some time."""
        with self.bar:
            live = display._Live(self.bar)
            for event in events:
                live.listen(event)
                self.bar.refresh()
        # Colours and the moves of the cursor are no columns.
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.file.getvalue())
        return [line.rstrip() for line in re.split(r"[\r\n]+", text) if line.strip()]


def test_the_live_display_ends_with_a_line_a_stage() -> None:
    seen = Screen().show(a_run())
    assert [line for line in seen if line in STAGE_LINES] == STAGE_LINES
    assert any("fine-tuning" in line for line in seen)
    assert any("scoring the test set" in line for line in seen)


def test_the_live_display_counts_epochs() -> None:
    seen = Screen().show(a_run())
    for epoch in range(1, 5):
        assert any(
            line.startswith("stage 1 ") and f"epoch {epoch}/4 loss 0.5000" in line for line in seen
        )
    assert any(
        line.startswith("stage 2 ") and line.endswith("val 0.7500 0 s left") for line in seen
    )


def test_the_first_stage_shows_the_same_metric_as_the_others() -> None:
    seen = Screen().show(a_run())
    for depth in (1, 2):
        last = next(s for s in seen if s.startswith(f"stage {depth} ") and "epoch 4/4" in s)
        assert "val 0.7500" in last


def test_the_live_display_names_replicates() -> None:
    seen = Screen().show(a_run(replicates=3))
    titles = {match[0] for line in seen if (match := re.match(r"stage \d, replicate \d/\d", line))}
    assert titles == {f"stage {d}, replicate {r}/3" for d in (1, 2) for r in (1, 2, 3)}


@pytest.mark.parametrize("logs", [{}, {"loss": math.nan}, {"loss": math.inf, "val_loss": math.nan}])
def test_the_live_display_bears_strange_losses(logs: dict[str, float]) -> None:
    events = [
        RunStarted({}, "validation.accuracy", 1, 1),
        StageStarted(1, 0, 3),
        EpochsDone(1, logs),
        EpochsDone(3, logs),
    ]
    seen = Screen().show([*events, finished(a_stage(1, train=NOTHING, validation=NOTHING))])
    assert any("epoch 3/3" in line for line in seen)
    assert "stage 1, train accuracy -, validation accuracy -, 30 epochs, 0.9 s" in seen


@pytest.mark.parametrize(
    "events",
    [
        [],
        [RunFinished({"stages": []}, "The run was interrupted.")],
        [EpochsDone(0, {}), EpochsDone(1, {"loss": 1.0})],
        [PhaseStarted("scoring", 0), EpochsDone(0, {}), EpochsDone(5, {"loss": 1.0})],
        [StageStarted(1, 0, 0), EpochsDone(0, {"loss": 1.0})],
        [StageStarted(1, 0, 2), EpochsDone(5, {"loss": 1.0})],
        # A classifier beside the stage starts its epochs anew.
        [StageStarted(1, 0, 2), EpochsDone(2, {"loss": 1.0}), EpochsDone(1, {"loss": 1.0})],
    ],
    ids=["none", "interrupted", "no start", "phase", "zero epochs", "too many", "again"],
)
def test_the_live_display_bears_any_order(events: list[Event]) -> None:
    Screen().show(events)


@pytest.mark.parametrize(("stage", "monitor", "line"), LINES)
def test_no_line_is_wider_than_the_terminal(stage: dict[str, Any], monitor: str, line: str) -> None:
    logs = {"loss": 123456.789, "val_loss": 123456.789, "val_accuracy": 123456.789}
    events: list[Event] = [
        RunStarted({}, monitor, 100, 100),
        StageStarted(100, 99, 100000),
        EpochsDone(99999, logs),
        finished(stage, monitor=monitor),
        PhaseStarted("the baseline end to end", 100000),
        EpochsDone(99999, logs),
    ]
    seen = Screen().show(events)
    assert seen
    assert [s for s in seen if len(s) > WIDTH] == []


def test_the_live_display_is_used_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with display.display("auto") as show:
        for event in a_run():
            show(event)
    shown = terminal.getvalue()
    assert "\x1b[" in shown or "\r" in shown, "a live display moves the cursor"
    assert STAGE_LINES[1] in shown
