"""Several devices and several processes against one: the same weights, and what goes wrong."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

import layerwise
from layerwise.distributed._link import Kind
from layerwise.distributed._meeting import come_to, wait_for
from layerwise.engine._deal import plan_exchange
from layerwise.errors import InputError
from layerwise.training import _together
from mesh_job import Runs

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="runs on JAX alone")
EXACT = 1e-9
"""In float64: sums are taken in another order."""
SHAPES = [(4, 1), (2, 2), pytest.param(4, 4, marks=pytest.mark.slow)]
"""Devices and processes."""


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    runs = Runs()
    yield runs
    runs.close()


class Results:
    """What devices and processes make of the job, each of them once."""

    def __init__(self, runs: Runs, folder: Path) -> None:
        self._runs, self._folder = runs, folder
        self._done: set[tuple[int, int]] = set()

    def of(self, devices: int, processes: int, number: int = 0) -> tuple[dict[str, Any], Any]:
        """The weights of one process, and what it tells."""
        if (devices, processes) not in self._done:
            each, folder = devices // processes, str(self._folder)
            done = self._runs.run(folder=folder, processes=processes, devices=each, exact=True)
            for end in done["ends"]:
                assert end["code"] == 0, end["said"]
            self._done.add((devices, processes))
        name = f"{devices}-{processes}-{number}"
        with np.load(self._folder / f"weights-{name}.npz") as stored:
            weights = dict(stored)
        return weights, json.loads((self._folder / f"told-{name}.json").read_text())


@pytest.fixture(scope="module")
def results(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Results:
    return Results(runs, tmp_path_factory.mktemp("jobs"))


@pytest.mark.parametrize(("devices", "processes"), SHAPES)
def test_devices_and_processes_end_with_the_same_weights(
    results: Results, devices: int, processes: int
) -> None:
    """Weights, statistics, random states and metrics are those of one device, in each process."""
    theirs, expected = results.of(1, 1)
    assert any(value.dtype == np.float64 for value in theirs.values())
    for number in range(processes):
        ours, told = results.of(devices, processes, number)
        assert ours.keys() == theirs.keys()
        for key, value in ours.items():
            np.testing.assert_allclose(value, theirs[key], rtol=0, atol=EXACT, err_msg=key)
        stages = zip(told["history"]["stages"], expected["history"]["stages"], strict=True)
        for stage, other in stages:
            for split in ("train", "validation"):
                # Keras keeps the sums of metrics in float32.
                assert stage[split] == pytest.approx(other[split], rel=1e-6)
            assert stage["curves"].keys() == other["curves"].keys()
            for metric, curve in stage["curves"].items():
                assert curve == pytest.approx(other["curves"][metric], rel=1e-6), metric


@pytest.mark.parametrize("processes", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_each_process_keeps_its_share_of_the_rows(results: Results, processes: int) -> None:
    """A half or a quarter, and at most one row more of each of three splits."""
    whole = results.of(1, 1)[1]["held"]
    shares = [results.of(processes, processes, n)[1]["held"] for n in range(processes)]
    assert sum(shares) == whole
    assert max(shares) <= whole / processes + 3 * (whole // 399)


def test_attention_differs_only_where_there_is_no_gradient(runs: Runs, tmp_path: Path) -> None:
    """A constant added to all keys changes no softmax: the gradient of the key's bias is rounding.

    SGD leaves that as small as it is; Adam divides it by its own size, so on any change of the
    order of sums the bias goes its own way. Nothing else does. Attention's scores are in float32 on
    JAX whatever the floats are, hence no smaller tolerance.
    """
    moved: dict[str, dict[str, float]] = {}
    for optimizer in ("sgd", "adam"):
        ends = []
        for devices in (1, 4):
            order = {"devices": devices, "exact": True, "attends": optimizer}
            done = runs.run(folder=str(tmp_path), **order)
            assert [end["code"] for end in done["ends"]] == [0], done
            paths = json.loads((tmp_path / f"told-{devices}-1-0.json").read_text())["paths"]
            with np.load(tmp_path / f"weights-{devices}-1-0.npz") as stored:
                ends.append({path: stored[str(i)] for i, path in enumerate(paths)})
        one, four = ends
        moved[optimizer] = {path: float(np.abs(one[path] - four[path]).max()) for path in one}
    assert max(moved["sgd"].values()) < 1e-7
    (bias,) = (path for path in moved["adam"] if path.endswith("key/bias"))
    free = moved["adam"].pop(bias)
    assert max(moved["adam"].values()) < 1e-6
    assert free > 10 * max(moved["adam"].values())


@pytest.mark.parametrize(
    ("devices", "processes"), [(2, 2), (2, 1), pytest.param(4, 2, marks=pytest.mark.slow)]
)
def test_rows_on_disk_and_a_limit_change_no_bit(
    results: Results, runs: Runs, tmp_path: Path, devices: int, processes: int
) -> None:
    """Of mapped arrays a process has nothing in memory but labels; under a limit, rows are sent
    from where they lie. Both with rows that come in several deals."""
    usual = results.of(devices, processes)[0]
    order = {"processes": processes, "devices": devices // processes, "exact": True, "deals": 4000}
    for more, streams in (({"mapped": True}, False), ({"memory_limit": "1MB"}, True)):
        done = runs.run(folder=str(tmp_path), **order, **more)
        assert [end["code"] for end in done["ends"]] == [0] * processes, done
        for number in range(processes):
            name = f"{devices}-{processes}-{number}"
            told = json.loads((tmp_path / f"told-{name}.json").read_text())
            assert (told["picked"] > 0) is streams
            if "mapped" in more:
                # A float64 for each of 16 columns, an int32 for the label.
                assert told["in memory"] * (16 * 8 + 4) == told["held"] * 4
            with np.load(tmp_path / f"weights-{name}.npz") as stored:
                for key, value in stored.items():
                    np.testing.assert_array_equal(value, usual[key], err_msg=key)


@pytest.mark.parametrize("victim", [0, 2])
def test_who_is_left_alone_says_so_and_leaves(runs: Runs, tmp_path: Path, victim: int) -> None:
    """Killed between the first checkpoint and an end that never comes."""
    run = tmp_path / "run"
    done = runs.run(
        folder=str(tmp_path),
        processes=3,
        epochs=10**6,
        run_dir=str(run),
        awaited=str(run / "checkpoints" / "current-b"),
        kill=[victim, 0.1],
    )
    for number, end in enumerate(done["ends"]):
        if number == victim:
            assert end["code"] == -signal.SIGKILL
            continue
        assert end["late"] < 30
        assert f"process {victim} is gone" in end["said"], end
        assert end["code"] == 1


def test_where_jax_aborts_it_is_said_who_died(runs: Runs, tmp_path: Path) -> None:
    """With process 0 goes JAX's service, and JAX ends the others at once: here before work begins,
    when a process that is gone is noted and no more."""
    done = runs.run(folder=str(tmp_path), processes=2, dies=0)
    assert done["ends"][0]["code"] == -signal.SIGKILL
    assert "process 0 is gone" in done["ends"][1]["said"], done
    assert done["ends"][1]["code"] == 1


def test_a_signal_to_one_stops_all_at_the_same_step(runs: Runs, tmp_path: Path) -> None:
    """As if each had got it; what was reached is kept."""
    run = tmp_path / "run"
    done = runs.run(
        folder=str(tmp_path),
        processes=2,
        epochs=10**6,
        run_dir=str(run),
        awaited=str(run / "checkpoints" / "current-b"),
        kill=[1, 0.1],
        signal=signal.SIGTERM,
    )
    for end in done["ends"]:
        assert end["said"].rstrip().endswith("SystemExit: 143"), end["said"]
        assert end["late"] < 30
    assert any((run / "checkpoints").glob("current-*"))
    assert not list(run.glob("lock-*"))


@pytest.mark.parametrize(
    ("batches", "size", "devices"), [(3, 8, 4), (2, 7, 4), (1, 2, 4), (5, 6, 3)]
)
def test_an_exchange_brings_every_row_to_its_place(batches: int, size: int, devices: int) -> None:
    """Followed by hand: what is sent, then what is taken of what came."""
    rows = batches * size + 5
    each, part = -(-rows // devices), -(-size // devices)
    wanted = np.random.default_rng(1).permutation(rows)[: batches * size].reshape(batches, size)
    plan = plan_exchange(wanted.astype(np.int32), devices, each)
    kept = np.arange(each * devices).reshape(devices, each)
    found = np.zeros((batches, devices * part), int)
    for to in range(devices):
        came = np.concatenate([kept[source][plan.send[source, to]] for source in range(devices)])
        found[:, to * part : (to + 1) * part] = came[plan.take[to]].reshape(batches, part)
    np.testing.assert_array_equal(found[:, :size], wanted)


@pytest.mark.parametrize(
    ("number", "facts", "words"),
    [
        (1, {"version of jax": "2"}, "another version of jax: 2 there, 1 in process 0"),
        (5, {"version of jax": "1"}, "Process 5 is none of 0 to 2"),
    ],
)
def test_who_does_not_fit_is_refused_on_both_sides(
    number: int, facts: dict[str, str], words: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        first = pool.submit(wait_for, listener, {"version of jax": "1"}, 3, 5.0)
        other = pool.submit(come_to, listener.getsockname(), number, facts, 5.0)
        for side in (first, other):
            with pytest.raises(InputError, match=words):
                side.result()


def test_a_stranger_at_the_door_is_not_taken_in() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        first = pool.submit(wait_for, listener, {}, 2, 20.0)
        with socket.create_connection(listener.getsockname()) as stranger:
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
        link = come_to(listener.getsockname(), 1, {}, 20.0)
        (found,) = first.result().values()
        link.send(Kind.DATA, b"hello")
        assert found.receive() == (Kind.DATA, b"hello")
        link.close()
        with pytest.raises(EOFError):
            found.receive()
        found.close()


def test_a_stranger_cannot_fill_the_memory() -> None:
    """One that announces a long message is turned away, not waited for."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor() as pool:
        first = pool.submit(wait_for, listener, {}, 2, 20.0)
        with socket.create_connection(listener.getsockname(), timeout=3) as stranger:
            stranger.sendall(struct.pack("!BQ", Kind.HELLO, 1 << 30))
            assert stranger.recv(1) == b""
        link = come_to(listener.getsockname(), 1, {}, 20.0)
        (found,) = first.result().values()
        link.close()
        found.close()


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def said(*options: str) -> subprocess.CompletedProcess[str]:
    """What the command line says, and how it ends."""
    return subprocess.run(
        [sys.executable, "-c", "from layerwise.cli import main; main()", "run", "digits", *options],
        capture_output=True,
        text=True,
        timeout=60,
        env=dict(os.environ),
    )


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("--coordinator 127.0.0.1:{port} --processes 2 --process-id 1", "Nobody waited at"),
        ("--coordinator 127.0.0.1:{port} --processes 3 --process-id 0", "missing: 1, 2"),
        ("--coordinator 127.0.0.1:{port} --processes 3 --process-id 3", "must lie in 0 to 2"),
        ("--coordinator nowhere --processes 3 --process-id 1", "HOST:PORT"),
        ("--coordinator 127.0.0.1:{port} --processes 2", "go together"),
    ],
    ids=["nobody-there", "too-few", "no-such-number", "no-port", "half"],
)
def test_processes_that_do_not_meet_are_told_why(place: str, words: str) -> None:
    options = place.format(port=free_port()).split()
    done = said(*options, "--timeout", "1")
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("asked", "word"),
    [
        ({"engine": "fit"}, 'engine "fit"'),
        ({"baseline": "full"}, "clock"),
        ({"search_fraction": 0.5}, "search_fraction"),
        ({"unlabeled": np.ones((5, 4))}, "without labels"),
        ({"cache_dtype": "uint8"}, "uint8"),
        ({"objective": "forward_forward"}, "views"),
    ],
    ids=["fit", "full", "search", "unlabeled", "uint8", "views"],
)
def test_what_several_processes_cannot_do_is_refused(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], word: str
) -> None:
    heard: list[BaseException] = []
    peers = SimpleNamespace(leads=True, failed=heard.append)
    monkeypatch.setattr(_together.distributed, "peers", lambda: peers)
    x, y = np.random.default_rng(0).random((40, 4)), np.arange(40) % 2
    with pytest.raises(InputError, match=word) as caught:
        layerwise.train(x, y, block=lambda _: keras.layers.Dense(3, "relu"), verbose=0, **asked)
    assert heard == [caught.value], "the others are told"
