"""Ways to grow, side by side: means over seeds, as Markdown tables.

    python benchmarks/policies.py window --data-dir DIR      # the newest two blocks or one
    python benchmarks/policies.py in-step --data-dir DIR     # all stages in step or one by one
    python benchmarks/policies.py search --data-dir DIR      # the depth on a part of the rows
    python benchmarks/policies.py when                       # fine-tune before the classifier

Every run is a process of its own, so that its time and its peak memory are its own, compiling and
importing included; each kind runs once unmeasured first, as the first compiles for all.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, pstdev
from typing import Any

import layerwise  # isort: skip - it chooses the backend, so it goes first
import keras
from keras import layers

SEEDS = {"window": 5, "in-step": 5, "search": 3, "when": 10}


def window(kind: str, data_dir: Path, seed: int) -> dict[str, float]:
    """Fashion-MNIST, 5,000 rows, three convolutional blocks of 16 channels, 10 epochs a stage."""

    def block(depth: int) -> keras.Layer:
        inside = [layers.Reshape((28, 28, 1))] if depth == 1 else []
        inside += [layers.Conv2D(16, 3, padding="same", activation="relu")]
        return keras.Sequential([*inside, layers.MaxPooling2D()] if depth < 3 else inside)

    data = layerwise.load_dataset("fashion-mnist", data_dir=data_dir, seed=seed).first(5000)
    how: dict[str, Any] = {"block": block, "max_depth": 3}
    if kind == "end to end":
        how = {
            "block": lambda _: keras.Sequential([block(depth) for depth in (1, 2, 3)]),
            "max_depth": 1,
        }
    elif kind != "window 1":
        how["window"] = int(kind[-1])
    result = layerwise.train(
        data,
        **how,
        epochs=30 if kind == "end to end" else 10,
        depth_rule=layerwise.FixedDepth(keep="last"),
        seed=seed,
        verbose=0,
    )
    return {"test accuracy": result.test["accuracy"]}


def in_step(kind: str, data_dir: Path, seed: int) -> dict[str, float]:
    """MNIST, 10,000 rows, three blocks of 512 units with PredSim, 20 epochs."""

    def block(depth: int) -> keras.Layer:
        dense = layers.Dense(512, activation="relu")
        return keras.Sequential([layers.Flatten(), dense]) if depth == 1 else dense

    data = layerwise.load_dataset("mnist", data_dir=data_dir, seed=seed).first(10_000)
    result = layerwise.train(
        data,
        block=block,
        objective="predsim",
        schedule=kind,
        head="fresh",
        epochs=20,
        batch_size=128,
        max_depth=3,
        depth_rule=layerwise.FixedDepth(keep="last"),
        seed=seed,
        verbose=0,
    )
    return {"test accuracy": result.test["accuracy"]}


def search(kind: str, data_dir: Path, seed: int) -> dict[str, float]:
    """MNIST, blocks of 256 units, 10 epochs a stage, at most 8 stages."""

    def block(depth: int) -> keras.Layer:
        dense = layers.Dense(256, activation="relu")
        return keras.Sequential([layers.Flatten(), dense]) if depth == 1 else dense

    data = layerwise.load_dataset("mnist", data_dir=data_dir, seed=seed)
    result = layerwise.train(
        data,
        block=block,
        epochs=10,
        batch_size=128,
        max_depth=8,
        depth_rule=layerwise.Plateau(patience=2),
        search_fraction=None if kind == "all rows" else float(kind.split()[-1]),
        seed=seed,
        verbose=0,
    )
    return {"test accuracy": result.test["accuracy"], "depth": result.selected_depth}


def when(kind: str, data_dir: Path | None, seed: int) -> dict[str, float]:
    """Three autoencoder blocks that give the data back, a classifier on them, then fine-tuning."""
    name, moment = kind.split(", ")
    data = layerwise.load_dataset(name, seed=seed)
    units, rate = (10, 1e-3) if name == "blobs" else (64, 1e-3)
    tune = None
    if moment != "never":
        tune = layerwise.FineTune(rate, epochs=50, patience=10, when=moment)
    result = layerwise.train(
        data,
        block=lambda _: layers.Dense(units, activation="relu", kernel_initializer="he_uniform"),
        objective=layerwise.Reconstruction(of="inputs"),
        optimizer=keras.optimizers.Adam(1e-3),
        epochs=50,
        max_depth=3,
        depth_rule=layerwise.FixedDepth(keep="last"),
        fine_tune=tune,
        seed=seed,
        verbose=0,
    )
    record = result.history.fine_tune or {"kept": False}
    return {"test accuracy": result.test["accuracy"], "kept": float(record["kept"])}


TABLES = {
    "window": (window, ["window 1", "window 2", "window 3", "end to end"]),
    "in-step": (in_step, ["sequential", "simultaneous"]),
    "search": (search, ["all rows", "fraction 0.2", "fraction 0.1"]),
    "when": (
        when,
        [f"{d}, {m}" for d in ("blobs", "digits") for m in ("never", "after", "before", "both")],
    ),
}


def one(table: str, kind: str, data_dir: Path | None, seed: int) -> None:
    """A single run, in this process; a line of JSON on standard output."""
    started = time.perf_counter()
    facts: dict[str, float] = TABLES[table][0](kind, data_dir, seed)
    facts["seconds"] = time.perf_counter() - started
    facts["peak MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(facts))


def measured(table: str, kind: str, data_dir: Path | None, seed: int) -> dict[str, float]:
    command = [sys.executable, __file__, table, "--one", kind, "--seed", str(seed)]
    if data_dir is not None:
        command += ["--data-dir", str(data_dir)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--one")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.one:
        one(given.table, given.one, given.data_dir, given.seed)
        return
    function, kinds = TABLES[given.table]
    seeds = given.seeds or SEEDS[given.table]
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in kinds}
    for kind in kinds:
        measured(given.table, kind, given.data_dir, 0)
    for seed in range(seeds):
        # Alternating, so that the machine's moods meet all kinds alike.
        for kind in kinds:
            found[kind].append(measured(given.table, kind, given.data_dir, seed))
    print(f"{function.__doc__} {seeds} seeds, mean and spread.\n")
    names = list(found[kinds[0]][0])
    print(f"| | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for kind, runs in found.items():
        cells = []
        for name in names:
            values = [run[name] for run in runs]
            digits = 4 if "accuracy" in name else 1
            cells.append(f"{mean(values):.{digits}f} ± {pstdev(values):.{digits}f}")
        print(f"| {kind} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
