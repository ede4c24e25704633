"""The live display in a real terminal, and plain lines where there is none."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from layerwise.display._live import REDRAWS

LAYERWISE = str(Path(sys.executable).with_name("layerwise"))
DIGITS = "run digits --epochs 30 --max-depth 4 --engine fit --batch-size 256 --baseline none"
DEADLINE = 120.0
needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
REGION = ("epoch ", "best so far", " left", "│", "━")
"""What only the region has, and what it may not leave behind."""


@dataclass
class Terminal:
    """A session of tmux with one command in it.

    Args:
        folder: where the command runs.
        command: for the shell; its exit code is shown at the end.
        width: columns.
        height: rows.
    """

    folder: Path
    command: str
    width: int
    height: int
    seen: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        # The name of a socket may not be long.
        self._socket = str(Path(tempfile.mkdtemp(prefix="lw-")) / "tmux")
        line = f"{self.command}; echo ended $?; sleep 1000"
        self._tmux(
            "-f", os.devnull, "new-session", "-d", "-x", str(self.width), "-y", str(self.height),
            "-c", str(self.folder), f"bash --norc -c {shlex.quote(line)}",
        )  # fmt: skip
        self._tmux("pipe-pane", f"cat > {shlex.quote(str(self.folder / 'raw'))}")

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-S", self._socket, *arguments]
        # `readline` tells every child the size of the terminal that it has seen itself.
        ours = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES", "NO_COLOR")}
        ended = subprocess.run(command, check=True, capture_output=True, text=True, env=ours)
        return ended.stdout

    def look(self) -> str:
        """What is on the screen; no line of it may have been wrapped."""
        both = [self._tmux("capture-pane", "-p", *flag) for flag in ([], ["-J"])]
        if both[0].count("\n") != both[1].count("\n"):
            # Something was printed between the two looks, or a line is wrapped.
            both = [self._tmux("capture-pane", "-p", *flag) for flag in ([], ["-J"])]
        self.seen.append(both[0])
        assert both[0].count("\n") == both[1].count("\n"), both[1]
        return both[0]

    def wait(self, pattern: str) -> str:
        """Look until something is there."""
        end = time.monotonic() + DEADLINE
        while not re.search(pattern, screen := self.look()):
            assert time.monotonic() < end, screen
            time.sleep(0.1)
        return screen

    def everything(self) -> list[str]:
        """All lines, also those that have scrolled away."""
        return [line.rstrip() for line in self._tmux("capture-pane", "-p", "-S", "-").splitlines()]

    def cursor(self) -> bool:
        """Whether the cursor is shown."""
        return self._tmux("display-message", "-p", "#{cursor_flag}").strip() == "1"

    def press(self, key: str) -> None:
        self._tmux("send-keys", key)

    def raw(self) -> str:
        """Every byte that the terminal got."""
        return (self.folder / "raw").read_text(errors="replace")

    def close(self) -> None:
        self._tmux("kill-server")
        shutil.rmtree(Path(self._socket).parent)


@pytest.fixture
def terminals() -> Iterator[list[Terminal]]:
    opened: list[Terminal] = []
    yield opened
    for terminal in opened:
        terminal.close()


def left_of_region(lines: list[str]) -> list[str]:
    return [line for line in lines if any(part in line for part in REGION)]


SCRIPT = """
import sys, time
from layerwise.display import display
from layerwise.progress import *

def stage(depth, score, **more):
    record = {"depth": depth, "epochs": 10, "seconds": 0.8, "stop_reason": "completed"}
    metrics = {"loss": 0.2, "accuracy": score}
    return record | {"train": metrics, "validation": metrics} | more

stages = []
with display("auto") as show:
    show(RunStarted({}, "validation.accuracy", 5, 1, phases=("fine-tuning", "baselines")))
    show(Noted("A note is a sentence that must be read whole, " * 4 + "however long it is."))
    for depth, score in enumerate((0.5, 0.75, 0.625, None), 1):
        show(StageStarted(depth, 0, 10))
        for epoch in range(1, 11):
            time.sleep(0.08)
            show(EpochsDone(epoch, {"loss": 1 / epoch, "val_accuracy": 0.5}))
        lost = {"stop_reason": "diverged", "message": "the loss of a batch was not finite"}
        stages.append(stage(depth, score, **({} if score else lost)))
        show(StageFinished({"stages": list(stages), "monitor": "validation.accuracy"}))
        print("the user prints", depth)
    show(PhaseStarted("fine-tuning", 2))
    time.sleep(0.5)
    show(RunFinished({"stages": stages}, "Because."))
"""


@needs_tmux
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 30)])
def test_the_display_in_a_terminal(
    tmp_path: Path, terminals: list[Terminal], width: int, height: int
) -> None:
    (tmp_path / "show.py").write_text(SCRIPT)
    begun = time.monotonic()
    terminal = Terminal(tmp_path, f"{sys.executable} show.py", width, height)
    terminals.append(terminal)
    screen = terminal.wait(r"(?s)stage 3 .*epoch [1-9]\d*/10.*│.*│.*│")
    lines = [line.rstrip() for line in screen.splitlines() if line.strip()]
    at = lines.index("best so far: depth 2, validation accuracy 0.7500")
    assert re.fullmatch(r"stage 3 [━╸╺]{20} epoch \d+/10 loss \d\.\d{4} val 0\.5000", lines[at - 1])
    assert re.fullmatch(r"at most \d s left, then fine-tuning, then baselines", lines[at + 1])
    assert lines[at + 2 :] == ["0.75 │   ██", "     │   ██", " 0.5 │▁▁ ██", "      1  2"]
    terminal.wait(r"fine-tuning [━╸╺]{20} epoch 0/2")
    terminal.wait("ended 0")
    ended = terminal.everything()
    assert left_of_region(ended) == []
    note = " ".join(ended[: next(i for i, line in enumerate(ended) if line.startswith("stage 1"))])
    assert note.endswith("however long it is.")
    table = [line for line in ended if line.startswith(("stage", "the user"))]
    assert [line[:8] for line in table[::2]] == ["stage 1,", "stage 2,", "stage 3,", "stage 4,"]
    assert table[1::2] == [f"the user prints {depth}" for depth in (1, 2, 3, 4)]
    assert table[6].endswith("…" if width == 80 else "the loss of a batch was not finite")
    assert terminal.cursor()
    raw, seconds = terminal.raw(), time.monotonic() - begun
    assert "\x1b[2J" not in raw
    assert "\x1b[H" not in raw, "nothing clears the whole screen"
    frames = len(re.findall(r"epoch +\d+/10", raw))
    assert 4 < frames <= REDRAWS * seconds + 3 * len(table)


@needs_tmux
def test_an_error_leaves_nothing_of_the_region(tmp_path: Path, terminals: list[Terminal]) -> None:
    fails = SCRIPT.replace("        time.sleep(0.08)", "        time.sleep(0.08 / (depth < 3))")
    assert fails != SCRIPT
    # A traceback has lines that are wider than the terminal.
    fails = "import sys; sys.excepthook = lambda kind, *rest: print(kind.__name__)" + fails
    (tmp_path / "show.py").write_text(fails)
    terminal = Terminal(tmp_path, f"{sys.executable} show.py", 80, 24)
    terminals.append(terminal)
    terminal.wait("ended 1")
    ended = terminal.everything()
    assert "ZeroDivisionError" in ended
    assert left_of_region(ended) == []
    assert [line[:8] for line in ended if line.startswith("stage")] == ["stage 1,", "stage 2,"]
    assert terminal.cursor()


@pytest.mark.slow
@needs_tmux
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 30)])
def test_a_run_in_a_terminal(
    tmp_path: Path, terminals: list[Terminal], width: int, height: int
) -> None:
    terminal = Terminal(tmp_path, f"{LAYERWISE} {DIGITS} --out run > out", width, height)
    terminals.append(terminal)
    terminal.wait(r"stage 1 +[━╸╺]* *epoch \d+/30 loss \d\.\d{4} val 0\.\d{4}")
    screen = terminal.wait(r"(?s)stage 3 .*epoch \d+/30.*│")
    lines = [line.rstrip() for line in screen.splitlines() if line.strip()]
    assert any("│" in line for line in lines)
    at = next(i for i, line in enumerate(lines) if line.startswith("best so far: depth "))
    assert re.fullmatch(r"best so far: depth [12], validation accuracy 0\.\d{4}", lines[at])
    assert lines[at - 1].startswith("stage 3 ")
    done = [line for line in lines if re.match(r"stage \d, train accuracy ", line)]
    assert [line[:8] for line in done] == ["stage 1,", "stage 2,"], "above the region"
    assert re.search(r"(?m)^at most \d+ s left", terminal.wait(r"(?m)^at most ")), screen
    terminal.wait("ended 0")
    ended = terminal.everything()
    assert left_of_region(ended) == []
    stages = [line for line in ended if line.startswith("stage ")]
    assert [line[:8] for line in stages] == ["stage 1,", "stage 2,", "stage 3,", "stage 4,"]
    assert terminal.cursor()


@pytest.mark.slow
@needs_tmux
def test_ctrl_c_in_the_live_display_says_how_to_resume(
    tmp_path: Path, terminals: list[Terminal]
) -> None:
    terminal = Terminal(tmp_path, f"{LAYERWISE} {DIGITS} --out run > out", 80, 24)
    terminals.append(terminal)
    terminal.wait(r"(?s)stage 2 .*epoch \d+/30.*best so far")
    terminal.press("C-c")
    screen = terminal.wait("ended 130")
    assert "Stopped by SIGINT. `layerwise resume run` goes on from here." in screen
    assert left_of_region(terminal.everything()) == []
    assert "Traceback" not in "\n".join(terminal.everything())
    assert terminal.cursor()
    command = f"{LAYERWISE} resume run > out"
    again = Terminal(tmp_path, command, 120, 30)
    terminals.append(again)
    again.wait("ended 0")
    stages = [line for line in again.everything() if line.startswith("stage ")]
    assert stages[0].endswith("from its checkpoint")
    assert len(stages) == 4


SHORT = ("run", "digits", "--epochs", "2", "--max-depth", "2", "--baseline", "none", "--out", "run")


def test_a_pipe_gets_lines_without_control_characters(tmp_path: Path) -> None:
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80"}
    ended = subprocess.run(
        [LAYERWISE, *SHORT], capture_output=True, env=environment, cwd=tmp_path, check=True
    )
    for stream in (ended.stdout, ended.stderr):
        assert b"\x1b" not in stream
        assert b"\r" not in stream
    lines = ended.stderr.decode().splitlines()
    stages = [line for line in lines if line.startswith("stage ")]
    assert [line[:8] for line in stages] == ["stage 1,", "stage 2,"]
    assert not left_of_region(lines)
