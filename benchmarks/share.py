"""What each process of a distributed run holds in memory, with 1, 2 and 4 of them.

    python benchmarks/share.py --rows 60000 --columns 1000 --repeats 3

All processes read one file of `rows` rows of `columns` 32-bit floats: mapped (`numpy.load(path,
mmap_mode="r")`), and as a table that is turned into numbers (`Dataset.from_table`, NPZ). They train
two stages of 256 units with a fifth of the rows for validation. The same training with the first
few rows comes before, so that libraries are there and nothing compiles. Memory is the anonymous
resident memory above what that left, looked at every 5 ms; pages of files are the system's to take
back. `data and features`, beside it, is what the arrays themselves take: the share of the data, and
the features of both stages, which are there together while the second are made from the first.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from out_of_core import Peak

UNITS, BATCH = 256, 250
FEW = 4000
"""Rows of the training before."""


def write_files(folder: Path, rows: int, columns: int) -> None:
    """All rows and the first few, each as NPY and as NPZ."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns)).astype("float32")
    y = (np.abs(x[:, 0]) + x[:, 1] > 1).astype("int32")
    for name, count in (("all", rows), ("few", FEW)):
        np.save(folder / f"{name}-x.npy", x[:count])
        np.save(folder / f"{name}-y.npy", y[:count])
        np.savez(folder / f"{name}.npz", x=x[:count], y=y[:count])


def worker(kind: str, folder: Path, count: int, number: int, port: int) -> dict[str, float]:
    """One process of a run; what it has held, in bytes."""
    import layerwise  # isort: skip - it chooses the backend
    import jax
    import keras
    import numpy as np

    from layerwise.memory import return_freed_memory

    return_freed_memory()
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, number)

    def train(name: str) -> layerwise.TrainResult:
        how: dict[str, Any] = {
            "block": lambda depth: keras.layers.Dense(UNITS, "relu"),
            "epochs": 2,
            "batch_size": BATCH,
            "max_depth": 2,
            "depth_rule": layerwise.FixedDepth(keep="last"),
            "verbose": 0,
        }
        if kind == "table":
            source = folder / f"{name}.npz"
            return layerwise.train(layerwise.Dataset.from_table(source, target="y"), **how)
        x = np.load(folder / f"{name}-x.npy", mmap_mode="r")
        return layerwise.train(x, np.load(folder / f"{name}-y.npy"), **how)

    train("few")
    peak = Peak()
    peak.start()
    started = time.perf_counter()
    result = train("all")
    seconds = time.perf_counter() - started
    loss = result.history.to_dict()["stages"][-1]["validation"]["loss"]
    told = {"peak": peak.above()["anonymous"], "seconds": seconds, "loss": loss}
    if count > 1:
        jax.distributed.shutdown()
    return told


def measure(kind: str, folder: Path, count: int) -> list[dict[str, float]]:
    """What each process of so many tells."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    place = [str(folder), str(count)]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", kind, *place, str(n), str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for n in range(count)
    ]
    said = [process.communicate(timeout=900) for process in started]
    for process, (_, error) in zip(started, said, strict=True):
        if process.returncode:
            raise SystemExit(error)
    return [json.loads(output.splitlines()[-1]) for output, _ in said]


def main(rows: int, columns: int, repeats: int, counts: list[int]) -> None:
    data, features = rows * columns * 4, 2 * rows * UNITS * 4
    print(f"{data / 1e6:.0f} MB of data, features of two stages {features / 1e6:.0f} MB\n")
    print("| read | processes | data and features, MB | peak, MB | of one process | seconds |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, rows, columns)
        for kind in ("mapped", "table"):
            runs: dict[int, list[list[dict[str, float]]]] = {count: [] for count in counts}
            for _ in range(repeats):
                for count, found in runs.items():
                    found.append(measure(kind, folder, count))
            peaks = {
                count: statistics.median(max(one["peak"] for one in run) for run in found)
                for count, found in runs.items()
            }
            for count, found in runs.items():
                seconds = statistics.median(run[0]["seconds"] for run in found)
                print(
                    f"| {kind} | {count} | {(data + features) / count / 1e6:.0f} | "
                    f"{peaks[count]:.0f} | {peaks[count] / peaks[counts[0]]:.3f} | {seconds:.1f} |"
                )
            losses = [one["loss"] for found in runs.values() for run in found for one in run]
            print(f"\nlargest difference of the last loss: {max(losses) - min(losses):.2g}\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--columns", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--counts", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--worker", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        kind, folder, *numbers = options.worker
        print(json.dumps(worker(kind, Path(folder), *map(int, numbers))))
    else:
        main(options.rows, options.columns, options.repeats, options.counts)
