"""No network, neither at import nor in a run: nothing is fetched and nobody is told."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WATCHED = """
import sys

ALLOWED = {"socket.gethostname"}
heard = []

def hear(event, arguments):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        if event not in ALLOWED:
            heard.append((event, repr(arguments)[:200]))

sys.addaudithook(hear)
"""

RUN = """
import numpy as np
import layerwise, keras
how = dict(
    block=lambda depth: keras.layers.Dense(4, "relu"), epochs=1, max_depth=2, verbose=0,
    test_data=(np.eye(4), [0, 1, 0, 1]), baseline="quick", cache_dir="cache",
    fine_tune=layerwise.FineTune(epochs=1),
)
x, y = np.tile(np.eye(4), (10, 1)), [0, 1] * 20
layerwise.train(x, y, run_dir="run", **how)
layerwise.resume("run", x, y, **how)
layerwise.load("run")
"""

COMMAND = """
sys.argv = ["layerwise", "run", "blobs-supervised", "--epochs", "1", "--max-depth", "1"]
from layerwise.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""


@pytest.mark.parametrize(
    "what", [pytest.param(RUN, marks=pytest.mark.slow), COMMAND], ids=["library", "command"]
)
def test_nothing_is_sent_or_fetched(what: str, tmp_path: Path) -> None:
    script = WATCHED + what + "\nprint('heard', heard)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "heard []"


def test_the_watch_hears_a_connection(tmp_path: Path) -> None:
    script = WATCHED + "\nimport socket\nsocket.socket().connect_ex(('127.0.0.1', 9))\nprint(heard)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "socket.connect" in done.stdout
