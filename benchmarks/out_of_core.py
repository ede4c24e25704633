"""Data of four times the memory limit against the same data in memory: speed, memory, weights.

    python benchmarks/out_of_core.py --pairs 5 --out out_of_core.json

Each side of a pair is a process of its own, the two in alternating order. Both train three stages
of 160 units on rows of 160 numbers: once from a mapped file under a limit of a quarter of its
bytes, once from memory without a limit. A short run comes first, so that nothing compiles in the
one that is timed. Memory is the anonymous resident memory above what that short run left; pages of
mapped files are the system's to take back, and stand in a column of their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from pathlib import Path

WIDTH, BATCH, EPOCHS, DEPTH = 160, 250, 5, 3


def resident() -> dict[str, int]:
    """Bytes of resident memory by kind."""
    lines = [line.split() for line in Path("/proc/self/status").read_text().splitlines()]
    kinds = {"RssAnon:": "anonymous", "RssFile:": "file"}
    return {kinds[line[0]]: int(line[1]) * 1024 for line in lines if line and line[0] in kinds}


class Peak(threading.Thread):
    """The most that was resident since the start, looked at every 5 ms."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.before = resident()
        self.most = dict(self.before)

    def run(self) -> None:
        while True:
            self.most = {kind: max(self.most[kind], size) for kind, size in resident().items()}
            time.sleep(0.005)

    def above(self) -> dict[str, float]:
        return {kind: (self.most[kind] - self.before[kind]) / 1e6 for kind in self.most}


def write_data(path: Path, rows: int) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    x = np.lib.format.open_memmap(path, "w+", "float32", (rows, WIDTH))
    for start in range(0, rows, 10_000):
        x[start : start + 10_000] = rng.normal(size=(min(10_000, rows - start), WIDTH))


def side(path: Path, limit: str | None) -> dict[str, object]:
    """Train on one side and tell what it took."""
    import layerwise  # isort: skip - it chooses the backend, so it goes first
    import keras
    import numpy as np

    x = np.load(path, mmap_mode=None if limit is None else "r")
    y = (np.abs(x[:, 0]) + x[:, 1] > 1).astype("int32")

    def train(rows: int, epochs: int, **more: object) -> layerwise.TrainResult:
        return layerwise.train(
            x[:rows], y[:rows], block=lambda depth: keras.layers.Dense(WIDTH, "relu"),
            epochs=epochs, batch_size=BATCH, max_depth=DEPTH, verbose=0,
            depth_rule=layerwise.FixedDepth(keep="last"), **more,
        )  # fmt: skip

    train(len(x), 1, memory_limit=limit)
    peak = Peak()
    peak.start()
    started = time.perf_counter()
    result = train(len(x), EPOCHS, memory_limit=limit)
    whole = time.perf_counter() - started
    seconds: dict[str, float] = defaultdict(float)
    for stage in result.history.to_dict()["stages"]:
        for name, spent in stage["ledger"]["seconds"].items():
            seconds[name] += spent
    weights = b"".join(np.asarray(w).tobytes() for w in result.model.get_weights())
    rows = 0.8 * len(x) * EPOCHS * DEPTH
    return {
        "whole": whole,
        "rows a second": rows / seconds["training"],
        "peak": peak.above(),
        "seconds": seconds,
        "weights": hashlib.sha256(weights).hexdigest(),
    }


def ask(path: Path, limit: str | None) -> dict:
    more = [] if limit is None else ["--limit", limit]
    command = [sys.executable, __file__, "--side", str(path), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main(rows: int, pairs: int, out: Path | None) -> None:
    size = rows * WIDTH * 4
    limit = f"{size // 4_000_000}MB"
    sides: dict[str, list[dict]] = {"in memory": [], limit: []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npy"
        write_data(path, rows)
        for pair in range(pairs):
            for name in list(sides)[:: 1 if pair % 2 else -1]:
                sides[name].append(ask(path, None if name == "in memory" else limit))
    print(f"{size / 1e6:.0f} MB of data, {DEPTH} stages of {EPOCHS} epochs, {pairs} pairs")
    print(f"{'':10} {'seconds':>8} {'rows a second':>14} {'anonymous MB':>13} {'file MB':>8}")
    for name, runs in sides.items():
        middle = {
            key: statistics.median(run[key] for run in runs) for key in ("whole", "rows a second")
        }
        most = {kind: max(run["peak"][kind] for run in runs) for kind in ("anonymous", "file")}
        print(
            f"{name:10} {middle['whole']:8.1f} {middle['rows a second']:14,.0f} "
            f"{most['anonymous']:13.0f} {most['file']:8.0f}"
        )
    facts = {"bytes": size, "limit": limit, "sides": sides}
    for key in ("rows a second", "whole"):
        ratios = [a[key] / b[key] for a, b in zip(sides[limit], sides["in memory"], strict=True)]
        ratios = ratios if key == "rows a second" else [1 / ratio for ratio in ratios]
        facts[f"ratio of {key}"] = ratios
        shown = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"speed by {key}, limit over memory: {statistics.median(ratios):.2f} ({shown})")
    same = len({run["weights"] for runs in sides.values() for run in runs}) == 1
    print(f"weights: {'the same bits' if same else 'DIFFERENT'}")
    facts["same weights"] = same
    if out is not None:
        out.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--out", type=Path, help="JSON file to write as well")
    parser.add_argument("--side", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--limit", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side is not None:
        print(json.dumps(side(options.side, options.limit)))
    else:
        main(options.rows, options.pairs, options.out)
