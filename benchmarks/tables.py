"""What `layerwise train` holds in memory while it trains on a large CSV file.

    python benchmarks/tables.py
    python benchmarks/tables.py --rows 300000 --columns 40 --memory-limit 64MB none

The file is made first: numbers from a normal distribution, and two classes. Memory is that of the
whole process, looked at every 5 ms: resident in all, and anonymous alone, as the system may take
pages of files back. It is compared with an idle process that has imported all libraries.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import csv

IDLE = """
import layerwise, jax, keras, pyarrow.csv, sklearn.model_selection, layerwise.training
import layerwise.cli, layerwise.tables, layerwise.report, layerwise.recipes
keras.ops.convert_to_numpy(keras.ops.ones((8, 8)) @ keras.ops.ones((8, 8)))
import time; time.sleep(2)
"""
HOW = ["--target", "kind", "--epochs", "2", "--max-depth", "2", "--batch-size", "250", "--json"]


def make(file: Path, rows: int, columns: int) -> None:
    """A table of numbers with all their digits, and whether two of them are large."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, columns))
    kind = np.where(np.abs(x[:, 0]) + x[:, 1] > 1, "large", "small")
    data = {f"c{i}": x[:, i].astype(str) for i in range(columns)}
    csv.write_csv(pa.table({**data, "kind": kind}), file, csv.WriteOptions(quoting_style="none"))


def peak_of(command: list[str]) -> tuple[dict[str, float], float]:
    """The most that a process holds, in MB, and how long it takes."""
    started = time.perf_counter()
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    most = {"VmRSS": 0, "RssAnon": 0}
    while process.poll() is None:
        try:
            text = Path(f"/proc/{process.pid}/status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            break
        held = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        for name in most:
            most[name] = max(most[name], int(held.get(name, "0").split()[0]))
        time.sleep(0.005)
    if process.wait():
        raise SystemExit(f"{command} failed with {process.returncode}")
    return {name: kib * 1024 / 1e6 for name, kib in most.items()}, time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--columns", type=int, default=40)
    parser.add_argument("--memory-limit", nargs="+", default=["none", "64MB"])
    options = parser.parse_args()
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.csv"
        make(file, options.rows, options.columns)
        print(f"{options.rows:,} rows of {options.columns}: {file.stat().st_size / 1e6:.0f} MB")
        idle, _ = peak_of([sys.executable, "-c", IDLE])
        results["idle"] = idle
        print(f"idle: resident {idle['VmRSS']:.0f} MB, anonymous {idle['RssAnon']:.0f} MB")
        for number, limit in enumerate(options.memory_limit):
            out = ["--out", str(Path(folder) / f"run-{number}")]
            limited = [] if limit == "none" else ["--memory-limit", limit]
            command = [sys.executable, "-m", "layerwise", "train", str(file), *HOW, *out, *limited]
            held, seconds = peak_of(command)
            results[limit] = {**held, "seconds": seconds}
            above = {name: held[name] - idle[name] for name in held}
            print(
                f"limit {limit}: {seconds:.1f} s, above idle resident {above['VmRSS']:.0f} MB, "
                f"anonymous {above['RssAnon']:.0f} MB"
            )
    print(json.dumps(results))


if __name__ == "__main__":
    main()
