"""What every test shares."""

from __future__ import annotations

import gc
import os
import signal
from pathlib import Path

# A shell that starts a job in the background has it ignore Ctrl-C, and so would every process here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Many tests compile the same small programs. They share them in a folder that git ignores, and
# leave the user's cache alone.
os.environ.setdefault(
    "LAYERWISE_CACHE", str(Path(__file__).parent.parent / ".pytest_cache" / "xla")
)
os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import pytest

from layerwise.datasets import Dataset

# As the command line has it: looking for garbage among Keras' million objects takes its time.
gc.set_threshold(50_000)


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the repository or sees another's files."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def data_dir() -> Path:
    """The folder of original data files, or a visible skip."""
    folder = os.environ.get("LAYERWISE_DATA")
    if folder is None:
        pytest.skip("LAYERWISE_DATA names no folder of original data files")
    return Path(folder)


def two_moons(rows: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A small problem that a line cannot solve and a small network can."""
    from sklearn.datasets import make_moons

    x, y = make_moons(rows, noise=0.1, random_state=seed)
    return x.astype("float32"), y


@pytest.fixture
def moons() -> Dataset:
    """200 rows, 20% of them for validation, and 100 for test."""
    return Dataset.from_arrays(*two_moons(), test_data=two_moons(100, seed=1))


@pytest.fixture(autouse=True)
def _forget_keras_names() -> None:
    """Keras counts the names of layers over the whole process."""
    keras.utils.clear_session(free_memory=False)
