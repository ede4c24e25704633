"""What a run shows while it goes: lines, or a live bar on a terminal."""

from __future__ import annotations

import io
import math
import re
import time
from typing import Any

import pytest
from rich.console import Console
from rich.live import Live

from layerwise import display
from layerwise.display._chart import depth_chart
from layerwise.display._clock import duration
from layerwise.display._live import Region
from layerwise.display._state import RunState
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
        "stage 2, train accuracy -, validation accuracy -, 1 epoch, 0.9 s, diverged",
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
    """A terminal that keeps all that was written."""

    def __init__(self, width: int = WIDTH, height: int = 24, clock: Any = time.monotonic) -> None:
        self.file = io.StringIO()
        console = Console(
            file=self.file, force_terminal=True, width=width, height=height, _environ={}
        )
        self.region = Region(console, RunState(clock))
        self.live = Live(
            console=console, get_renderable=self.region.picture, auto_refresh=False, transient=True
        )

    def show(self, events: list[Event]) -> list[str]:
        """Every line as it stood on the screen at some time."""
        with self.live:
            for event in events:
                self.region.listen(event)
                self.live.refresh()
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
        line.startswith("stage 2 ") and line.endswith("loss 0.5000 val 0.7500") for line in seen
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
    for width in (WIDTH, 120, 20):
        seen = Screen(width).show(events)
        assert seen
        assert [s for s in seen if len(s) > width] == []


def on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> str:
    """All that a run writes there."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with display.display("auto") as show:
        for event in a_run():
            show(event)
    return terminal.getvalue()


def test_the_live_display_is_used_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = on_a_terminal(monkeypatch)
    assert "\x1b[" in shown, "a live display moves the cursor"
    assert "\x1b[2J" not in shown, "nothing clears the screen"
    assert STAGE_LINES[1] in shown


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def state_after(events: list[Event | float], **started: Any) -> RunState:
    """The state after the events; a number lets so many seconds pass."""
    clock = Clock()
    state = RunState(clock)
    told = {"facts": {}, "monitor": "validation.accuracy", "max_depth": 4, "replicates": 1}
    for event in [RunStarted(**(told | started)), *events]:
        if isinstance(event, float):
            clock.now += event
        else:
            state.listen(event)
    return state


def left(events: list[Event | float], **started: Any) -> str:
    return state_after(events, **started).left()


def done(*epochs: int, seconds: float = 1.0) -> list[Event | float]:
    """Reports of epochs, each after so many seconds."""
    return [part for epoch in epochs for part in (seconds, EpochsDone(epoch, {}))]


TOOK_30 = a_stage(1, seconds=30.0)
TIMES: list[Any] = [
    pytest.param([StageStarted(1, 0, 10)], {}, "", id="nothing known"),
    # 1 s each: 8 left here, and 3 stages of 10.
    pytest.param(
        [StageStarted(1, 0, 10), *done(1, 2)], {}, "at most 38 s left", id="the first stage"
    ),
    pytest.param(
        [StageStarted(1, 0, 10), *done(1, 2), 3.0], {}, "at most 35 s left", id="time goes on"
    ),
    # Compiling took 19 s before the first report: 8 left here, 3 stages of 29.
    pytest.param(
        [StageStarted(1, 0, 10), 19.0, *done(1, 2)],
        {},
        "at most 1 min 35 s left",
        id="compiling is no pace",
    ),
    # It goes on at epoch 6 after a kill, so 7 epochs have not taken 2 s.
    pytest.param(
        [StageStarted(4, 0, 10), *done(6, 7, seconds=2.0)], {}, "about 6 s left", id="resumed"
    ),
    # Of the second stage nothing is known but what the first took; then 2 more of those.
    pytest.param(
        [finished(TOOK_30), StageStarted(2, 0, 10), 4.0],
        {},
        "at most 1 min 26 s left",
        id="from the stage before",
    ),
    pytest.param(
        [finished(TOOK_30), StageStarted(2, 0, 10), 40.0],
        {},
        "at most 1 min 00 s left",
        id="slower than the stage before",
    ),
    pytest.param(
        [finished(TOOK_30), StageStarted(4, 0, 10), *done(1, 2)],
        {},
        "about 8 s left",
        id="the last stage",
    ),
    # 8 s here, 2 more replicates of 10 s, 3 stages of 3 times 10 s.
    pytest.param(
        [StageStarted(1, 0, 10), *done(1, 2)],
        {"replicates": 3},
        "at most 1 min 58 s left",
        id="replicates",
    ),
    pytest.param(
        [finished(TOOK_30), StageStarted(4, 1, 10), 4.0],
        {"replicates": 3},
        "about 16 s left",
        id="replicates of the last stage",
    ),
    pytest.param(
        [StageStarted(4, 0, 10), *done(1, 2)],
        {"phases": ("fine-tuning", "baselines")},
        "about 8 s left, then fine-tuning, then baselines",
        id="what follows",
    ),
    pytest.param(
        [PhaseStarted("fine-tuning", 10), *done(1, 2)],
        {},
        "fine-tuning: about 8 s left",
        id="a phase",
    ),
    pytest.param([PhaseStarted("scoring", 0), 1.0], {}, "", id="a phase without epochs"),
    # The classifier beside the stage has 10 epochs of its own.
    pytest.param(
        [StageStarted(4, 0, 10), *done(9, 10), *done(1, 2)],
        {},
        "about 8 s left",
        id="a classifier beside",
    ),
    pytest.param(
        [PhaseStarted("searching", 0), StageStarted(1, 0, 10), *done(1, 2)],
        {},
        "search, stage 1: about 8 s left",
        id="a search",
    ),
    pytest.param(
        [
            PhaseStarted("searching", 0),
            StageStarted(1, 0, 10),
            StageStarted(2, 0, 10),
            StageStarted(1, 0, 10),
            *done(1, 2),
        ],
        {},
        "at most 38 s left",
        id="after a search",
    ),
]


@pytest.mark.parametrize(("events", "started", "text"), TIMES)
def test_the_time_left_is_what_was_measured(
    events: list[Event | float], started: dict[str, Any], text: str
) -> None:
    assert left(events, **started) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (86400, "24 h 00 min"),
    ],
)
def test_durations_are_said_as_people_do(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("monitor", "values", "best"),
    [
        ("validation.accuracy", [0.5, 0.75, 0.7], "depth 2, validation accuracy 0.7500"),
        ("validation.loss", [0.5, 0.75, 0.7], "depth 1, validation loss 0.5000"),
        (
            "train.mean_squared_error",
            [3.0, None, 2.0],
            "depth 3, train mean squared error 2.0000",
        ),
        ("validation.accuracy", [None], ""),
    ],
)
def test_the_best_depth_so_far(monitor: str, values: list[float | None], best: str) -> None:
    split, _, metric = monitor.partition(".")
    stages = [a_stage(i, **{split: {metric: v}}) for i, v in enumerate(values, 1)]
    state = state_after([finished(*stages, monitor=monitor)], monitor=monitor)
    assert state.best() == (f"best so far: {best}" if best else "")


def test_the_best_of_replicates_is_that_of_their_mean() -> None:
    stages = [a_stage(d, validation={"accuracy": spread(d / 10, 0.01)}) for d in (1, 2)]
    state = state_after([finished(*stages)])
    assert state.best() == "best so far: depth 2, validation accuracy 0.2000"


def test_the_region_shows_stage_best_time_and_curve() -> None:
    clock = Clock()
    screen = Screen(clock=clock)
    scores = [0.5, 0.75, 0.625]
    stages = [a_stage(d, validation={"accuracy": s}) for d, s in enumerate(scores, 1)]
    events = [
        RunStarted({}, "validation.accuracy", 10, 1),
        *(finished(*stages[:d]) for d in (1, 2, 3)),
        StageStarted(4, 0, 20),
        EpochsDone(5, {"loss": 0.25, "val_accuracy": 0.7}),
    ]
    screen.show(events)
    console = Console(file=io.StringIO(), width=WIDTH, height=24, _environ={})
    console.print(screen.region.picture())
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert lines[0].startswith("stage 4 ")
    assert lines[0].endswith("epoch 5/20 loss 0.2500 val 0.7000")
    assert lines[1] == "best so far: depth 2, validation accuracy 0.7500"
    assert lines[2].startswith("at most ")
    assert lines[3:] == depth_chart(scores, WIDTH).splitlines()


def test_a_low_terminal_has_no_room_for_the_curve() -> None:
    for height, shown in ((24, True), (8, False)):
        seen = Screen(height=height).show([finished(a_stage(1), a_stage(2)), StageStarted(3, 0, 2)])
        assert any("│" in line for line in seen) == shown


def test_nothing_of_the_region_is_left() -> None:
    screen = Screen()
    screen.show(a_run())
    console = Console(file=io.StringIO(), width=WIDTH, _environ={})
    console.print(screen.region.picture())
    assert console.file.getvalue().strip() == ""


@pytest.mark.parametrize("text", ["\x1b[2J", "[red]no[/red]", "\r\n"])
def test_a_hostile_name_is_only_text_in_the_region(text: str) -> None:
    screen = Screen()
    screen.show(
        [
            RunStarted({}, f"validation.{text}", 3, 1, phases=(text,)),
            PhaseStarted(text, 3),
            finished(a_stage(1, validation={text: 0.5}), monitor=f"validation.{text}"),
            StageStarted(3, 0, 2),
            EpochsDone(1, {"loss": 0.1, f"val_{text}": 0.5}),
        ]
    )
    written = screen.file.getvalue()
    assert "\x1b[2J" not in written
    if text.startswith("["):
        assert text in written


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_terminal_that_cannot_redraw_gets_lines(
    monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setenv("TERM", term)
    shown = on_a_terminal(monkeypatch)
    assert shown.splitlines() == [*STAGE_LINES, "fine-tuning", "scoring the test set"]


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_is_respected(no_color: str) -> None:
    colours = re.compile(r"\x1b\[(?:[0-9]+;)*(?:3[0-9]|4[0-9]|9[0-7])(?:;[0-9]+)*m")
    environment = {"TERM": "xterm-256color", "NO_COLOR": no_color}
    console = Console(file=io.StringIO(), force_terminal=True, width=WIDTH, _environ=environment)
    region = Region(console)
    for event in a_run()[:4]:
        region.listen(event)
    console.print(region.picture())
    shown = console.file.getvalue()
    assert "epoch 2/4" in shown
    assert bool(colours.search(shown)) == (no_color == "")
