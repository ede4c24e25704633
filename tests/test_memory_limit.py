"""`memory_limit`: the same network from less memory, and mapped data that are never loaded."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from PIL import Image

import layerwise
from layerwise.datasets import Dataset, _images, _mapped, share_of
from layerwise.engine import _order as deals
from layerwise.errors import InputError
from layerwise.files import scratch_array
from layerwise.memory import aligned, bytes_from, forget_pages, is_mapped, megabytes
from layerwise.progress import StageFinished
from test_cli import call

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="compares the JAX engine")


def table(rows: int = 6000, columns: int = 16) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns)).astype("float32")
    return x, (x[:, 0] > 0).astype("int32") + (x[:, 1] > 0)


def arguments(**changes: Any) -> dict[str, Any]:
    usual = {
        "block": lambda depth: keras.layers.Dense(16, "relu"),
        "epochs": 2,
        "batch_size": 50,
        "max_depth": 3,
        "depth_rule": layerwise.FixedDepth(keep="last"),
        "verbose": 0,
    }
    return usual | changes


def weights(result: layerwise.TrainResult) -> list[np.ndarray]:
    return [np.array(w) for w in result.model.get_weights()]


def assert_same_bits(ours: list[np.ndarray], theirs: list[np.ndarray]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


# --- the numbers that people write


@pytest.mark.parametrize(
    ("given", "expected"),
    [(1, 1), ("7", 7), ("7 b", 7), ("200MB", 200_000_000), ("1.5 GiB", 3 << 29), ("2kb", 2000)],
)
def test_a_limit_is_a_number_or_a_text(given: Any, expected: int) -> None:
    assert bytes_from("memory_limit", given) == expected


@pytest.mark.parametrize("given", [0, -1, "0", "MB", "12 parsecs", "-3MB", 1.5, True, None, "", []])
def test_other_limits_are_refused_in_a_sentence(given: Any) -> None:
    with pytest.raises(InputError, match=r'^`memory_limit` must be a number .*"200MB".*\.$'):
        bytes_from("memory_limit", given)


def test_sizes_are_rounded_up() -> None:
    assert [megabytes(n) for n in (1, 1_000_000, 1_000_001)] == ["1MB", "1MB", "2MB"]


# --- arrays


def test_an_aligned_array_is_one() -> None:
    for shape in [(3, 5), (0, 2), (7,)]:
        made = aligned(shape, np.dtype("float32"))
        assert made.shape == shape
        assert made.ctypes.data % 64 == 0 or not made.size


def test_a_scratch_array_has_no_name(tmp_path: Path) -> None:
    made = scratch_array((4, 3), np.dtype("int16"), tmp_path)
    made[2] = 5
    assert is_mapped(made)
    assert is_mapped(made[1:3].reshape(-1))
    assert made.tolist() == [[0] * 3, [0] * 3, [5] * 3, [0] * 3]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="TMPDIR"):
        scratch_array((4, 3), np.dtype("int16"), tmp_path / "nowhere")


@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_forgotten_pages_come_back(tmp_path: Path, mode: Any) -> None:
    """What was written, too, also where it is in this process alone."""
    np.save(tmp_path / "x.npy", np.arange(5000))
    mapped = np.load(tmp_path / "x.npy", mmap_mode=mode)
    if mode != "r":
        mapped[7] = -1
    forget_pages(np.asarray(mapped)[3:])
    expected = np.arange(5000)
    if mode != "r":
        expected[7] = -1
    np.testing.assert_array_equal(mapped, expected)
    forget_pages(np.arange(3))


# --- data sets of mapped arrays


@pytest.mark.parametrize("kind", ["float32", "float64", "int64", "uint8", ">f4", "fortran"])
def test_a_mapped_array_gives_the_same_data_and_stays_mapped(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerwise.datasets._mapped._CHUNK_BYTES", 1000)
    x, y = table(301, 5)
    x = np.asfortranarray(x) if kind == "fortran" else (30 * np.abs(x)).astype(kind)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    test = (x[:9], y[:9])
    ours, theirs = (Dataset.from_arrays(a, y, test_data=test, seed=4) for a in (mapped, x))
    assert ours.fingerprint == theirs.fingerprint
    for name in ("train", "validation"):
        one, other = ours.splits[name], theirs.splits[name]
        assert is_mapped(one.x)
        assert not is_mapped(other.x)
        np.testing.assert_array_equal(one.x, other.x)
        np.testing.assert_array_equal(one.y, other.y)
    few = [data.with_labels(50) for data in (ours, theirs)]
    assert is_mapped(few[0].pool.x)
    np.testing.assert_array_equal(few[0].pool.x, few[1].pool.x)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_number_in_a_mapped_array_is_found(
    tmp_path: Path, bad: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerwise.datasets._mapped._CHUNK_BYTES", 1000)
    x, y = table(301, 5)
    x[[170, 299], 3] = bad
    np.save(tmp_path / "x.npy", x)
    with pytest.raises(InputError, match="in 2 of 301 rows, first in row 170"):
        Dataset.from_arrays(np.load(tmp_path / "x.npy", mmap_mode="r"), y)


@pytest.mark.parametrize("on_disk", [False, True])
def test_rows_become_numbers_chunk_by_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    """By several threads, each row in its own place; an error in one of them is raised."""
    monkeypatch.setattr("layerwise.datasets._mapped._CHUNK_BYTES", 1000)
    x = np.random.default_rng(0).integers(0, 256, (4001, 3, 5), dtype="uint8")
    np.save(tmp_path / "x.npy", x)
    rows = np.load(tmp_path / "x.npy", mmap_mode="r") if on_disk else x

    def third(some: np.ndarray, out: np.ndarray) -> None:
        np.divide(some, 3, out=out, dtype=np.float32)

    ours = _mapped.changed(rows, np.float32, third)
    assert is_mapped(ours) == on_disk
    np.testing.assert_array_equal(ours, np.divide(x, 3, dtype=np.float32))

    def broken(some: np.ndarray, out: np.ndarray) -> None:
        if (some == x[3990]).all(axis=(1, 2)).any():
            raise InputError("row 3990")

    with pytest.raises(InputError, match="row 3990"):
        _mapped.changed(rows, np.float32, broken)


@on_jax
def test_rows_in_memory_are_not_copied_and_mapped_ones_are(tmp_path: Path) -> None:
    """Who cuts a file short while a program reads it would end the process."""
    import jax

    from layerwise.datasets import Split
    from layerwise.engine._rows import on_device

    x = aligned((100, 16), np.dtype("float32"))
    x[:] = table(100)[0]
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for rows, same in ((x, jax.default_backend() == "cpu"), (mapped, False)):
        [array] = jax.tree.leaves(on_device(Split(rows)))
        assert (array.unsafe_buffer_pointer() == rows.ctypes.data) == same
        np.testing.assert_array_equal(array, rows)


def test_marked_rows_of_a_mapped_array_are_taken_out(tmp_path: Path) -> None:
    x, y = table(300, 5)
    y[::3] = -1
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    ours, theirs = (Dataset.from_arrays(a, y, unlabeled_label=-1) for a in (mapped, x))
    assert ours.fingerprint == theirs.fingerprint
    assert is_mapped(ours.unlabeled.x)


def test_a_limit_puts_copies_on_disk() -> None:
    x, y = table()
    data = Dataset.from_arrays(x, y, memory_limit=x.nbytes)
    assert is_mapped(data.train.x)
    assert is_mapped(data.validation.x)
    assert not is_mapped(data.train.y)
    assert data.fingerprint == Dataset.from_arrays(x, y).fingerprint
    assert not is_mapped(Dataset.from_arrays(x, y, memory_limit="1GB").train.x)


def test_a_table_can_be_larger_than_the_limit(tmp_path: Path) -> None:
    x, y = table(500, 6)
    header = ",".join([*(f"c{i}" for i in range(6)), "kind"])
    np.savetxt(
        tmp_path / "t.csv", np.column_stack([x, y]), delimiter=",", header=header, comments=""
    )
    how = {"target": "kind", "test": tmp_path / "t.csv"}
    ours = Dataset.from_table(tmp_path / "t.csv", **how, memory_limit=4000)
    theirs = Dataset.from_table(tmp_path / "t.csv", **how)
    assert ours.fingerprint == theirs.fingerprint
    assert is_mapped(ours.train.x)
    assert is_mapped(ours.test.x)


# --- runs


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Chunks and groups of few rows; what was streamed, by name of the engine's class."""
    from layerwise.engine import _rows

    monkeypatch.setattr(deals, "CHUNK_BYTES", 2000)
    monkeypatch.setattr(deals, "GROUP_BYTES", 40_000)
    monkeypatch.setattr("layerwise.engine._allotment.GROUP_BYTES", 40_000)
    monkeypatch.setattr("layerwise.features._chunks.CHUNK_BYTES", 16_000)
    streamed: list[str] = []
    before = _rows.Streamed.__init__

    def told(self: Any, *arguments: Any) -> None:
        streamed.append("training")
        before(self, *arguments)

    monkeypatch.setattr(_rows.Streamed, "__init__", told)
    return streamed


LIMIT = 100_000
"""Of data of 408,000 bytes."""


@on_jax
@pytest.mark.parametrize("source", ["memory", "mapped"])
def test_a_run_of_four_times_the_limit_ends_with_the_same_weights(
    small: list[str], tmp_path: Path, source: str
) -> None:
    x, y = table()
    assert x.nbytes + y.nbytes >= 4 * LIMIT
    plain = layerwise.train(x, y, **arguments(fine_tune=layerwise.FineTune(epochs=1)))
    assert not small
    if source == "mapped":
        np.save("x.npy", x)
        x = np.load("x.npy", mmap_mode="r")
    seen: list[int] = []

    def listen(event: object) -> None:
        if isinstance(event, StageFinished):
            seen.append(len(list(Path("run/features").glob("*"))))

    tight = layerwise.train(
        x,
        y,
        memory_limit=LIMIT,
        run_dir="run",
        listeners=listen,
        **arguments(fine_tune=layerwise.FineTune(epochs=1)),
    )
    assert len(small) == 4, "three stages and the fine-tuning"
    assert seen == [0, 2, 2], "features of the newest block, of both splits"
    assert not Path("run/features").exists()
    assert_same_bits(weights(tight), weights(plain))
    ours, theirs = (r.history.to_dict()["stages"] for r in (tight, plain))
    for one, other in zip(ours, theirs, strict=True):
        assert one["validation"] == pytest.approx(other["validation"], rel=1e-6)


@pytest.mark.usefixtures("small")
def test_keras_own_loop_ends_with_the_same_weights_under_a_limit() -> None:
    x, y = table()
    how = arguments(engine="fit", max_depth=2, epochs=1)
    assert_same_bits(
        weights(layerwise.train(x, y, memory_limit=LIMIT, **how)),
        weights(layerwise.train(x, y, **how)),
    )


@on_jax
def test_a_run_that_was_stopped_goes_on_under_another_limit(small: list[str]) -> None:
    x, y = table()
    plain = layerwise.train(x, y, **arguments())

    def stop(event: object) -> None:
        if isinstance(event, StageFinished) and event.history["stages"][-1]["depth"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layerwise.train(x, y, run_dir="run", memory_limit=LIMIT, listeners=stop, **arguments())
    assert list(Path("run/features").iterdir())
    result = layerwise.resume("run", x, y, memory_limit=2 * LIMIT, **arguments())
    assert_same_bits(weights(result), weights(plain))
    assert not Path("run/features").exists()


@on_jax
@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("engine", ["compiled", "fit"])
def test_a_limit_below_the_least_is_refused_before_anything_is_written(engine: Any) -> None:
    x, y = table()
    how = arguments(engine=engine, run_dir="run", batch_size=500)
    with pytest.raises(InputError, match=r"needs (\d+)MB at least") as caught:
        layerwise.train(x, y, memory_limit=LIMIT, **how)
    assert "four batches of 500 rows" in str(caught.value)
    assert not Path("run").exists()
    named = re.search(r"needs (\w+)", str(caught.value))
    layerwise.train(x, y, memory_limit=named[1], **how | {"max_depth": 1, "epochs": 1})


def test_a_limit_below_what_is_computed_at_a_time_is_refused() -> None:
    x, y = table()
    with pytest.raises(InputError, match="features are computed 1MB at a time"):
        layerwise.train(x, y, memory_limit=20_000, **arguments())


def test_the_command_line_says_so_in_a_sentence() -> None:
    for given, told in (("many", 'a text such as "200MB"'), ("1kB", "at a time")):
        ended = call("run", "digits", "--memory-limit", given)
        assert ended.code == 2
        assert told in ended.err
        assert ended.err.count("\n") == 1
        assert "Traceback" not in ended.err


_OPENED = """
import threading, time
import numpy as np
import layerwise
from layerwise.datasets import Dataset, _images, _mapped
Dataset.from_arrays(np.ones((50, 3)), np.arange(50) % 2)

def anonymous():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))

peak = before = anonymous()

def watch():
    global peak
    while True:
        peak = max(peak, anonymous())
        time.sleep(0.002)

threading.Thread(target=watch, daemon=True).start()
x = np.load("x.npy", mmap_mode="r")
data = Dataset.from_arrays(x, np.arange(len(x)) % 3)
data.fingerprint
print(peak - before, data.train.rows)
"""


@pytest.mark.parametrize(
    "rows", [30_000, pytest.param(250_000, marks=pytest.mark.slow)], ids=["120MB", "1GB"]
)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_a_mapped_array_is_opened_and_split_with_little_memory(rows: int) -> None:
    """Anonymous memory, for the pages of a map are the system's to take back."""
    x = np.lib.format.open_memmap("x.npy", "w+", "float32", (rows, 1000))
    x[:, 0] = np.arange(rows) / rows
    del x
    done = subprocess.run(
        [sys.executable, "-c", _OPENED], capture_output=True, text=True, check=True
    )
    kilobytes, train = map(int, done.stdout.split())
    assert train == 0.8 * rows
    # Two chunks of 8 MB, and what scikit-learn needs to deal so many rows.
    assert kilobytes < 40_000


# --- one of several processes


def of_arrays() -> Dataset:
    """Of another type: reading makes a copy."""
    x, y = table(200)
    x = x.astype("float64")
    return Dataset.from_arrays(x, y, test_data=(x[:50], y[:50]))


def of_a_table() -> Dataset:
    x, y = table(200)
    np.savez("data.npz", x=x, y=y)
    return Dataset.from_table("data.npz", target="y", test="data.npz")


def of_images() -> Dataset:
    """Gray ones and, last, one in color."""
    rng = np.random.default_rng(0)
    for number in range(8):
        path = Path("pets", "cat" if number < 4 else "dog", f"{number}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        shape = (5, 4, 3) if number == 7 else (5, 4)
        Image.fromarray(rng.integers(0, 256, shape).astype("uint8")).save(path)
    return Dataset.from_images("pets", validation_split=0.25)


@pytest.mark.parametrize("read", [of_arrays, of_a_table, of_images])
def test_what_one_of_several_processes_makes_of_all_rows_lies_on_disk(
    monkeypatch: pytest.MonkeyPatch, read: Any
) -> None:
    """With the same numbers, order and fingerprint as in the only process; so does its share."""
    usual = read()
    monkeypatch.setattr(_mapped, "several", lambda: True)
    monkeypatch.setattr(_mapped, "_SMALL", 0)
    monkeypatch.setattr(_images, "_TOGETHER", 3)
    data = read()
    assert data.fingerprint == usual.fingerprint
    share = share_of(data, lambda rows: (rows // 4, rows // 2))
    for name, split in data.splits.items():
        assert is_mapped(split.stored)
        assert is_mapped(share.splits[name].stored)
        whole = usual.splits[name]
        assert not is_mapped(whole.stored)
        np.testing.assert_array_equal(split.x, whole.x)
        part = slice(whole.rows // 4, whole.rows // 2)
        np.testing.assert_array_equal(share.splits[name].x, whole.x[part])
        np.testing.assert_array_equal(share.splits[name].y, whole.y[part])
        assert share.splits[name].rows == whole.rows
