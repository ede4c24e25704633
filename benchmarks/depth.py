"""Seconds and peak memory of each stage, from 1 layer to 100: ours and the tutorial loop.

    python benchmarks/depth.py --layers 100 --tutorial-layers 20
    python benchmarks/depth.py --only ours --layers 1000 --folder

The same work a stage: 4,000 rows of 128 numbers, blocks of 128 units, 5 epochs of batches of 50.
Peak memory is the most that the process has held so far, less what it held before stage 1. With
`--folder` ours keeps a run folder as the command line does: checkpoints, history, log.
"""

from __future__ import annotations

import argparse
import itertools
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROWS, WIDTH, EPOCHS, BATCH = 4000, 128, 5, 50
STAGE_BYTES = 4 * (WIDTH * WIDTH + WIDTH + 2 * WIDTH + 2)
"""Of the weights of a block and its head."""


def peak() -> float:
    """The most memory that this process has held, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def data():
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, WIDTH)).astype("float32")
    return x, (x[:, :2].sum(axis=1) > 0).astype("int32")


def ours(layers: int, folder: str | None) -> list[tuple[float, float]]:
    """`layerwise.train`; the marks are set where it asks for the next block."""
    import layerwise  # isort: skip - it chooses the backend, so it goes first
    import keras

    marks: list[tuple[float, float]] = []

    def block(depth: int) -> keras.Layer:
        marks.append((time.perf_counter(), peak()))
        return keras.layers.Dense(WIDTH, activation="relu")

    x, y = data()
    layerwise.train(
        x, y, block=block, epochs=EPOCHS, batch_size=BATCH, max_depth=layers, verbose=0,
        depth_rule=layerwise.FixedDepth(), run_dir=folder and f"{folder}/run",
    )  # fmt: skip
    # The last mark belongs to what follows growth; every stage but the last has two.
    return marks


def tutorial(layers: int) -> list[tuple[float, float]]:
    """Pop the head, freeze, add a layer, put the head back, compile, fit."""
    import keras

    x, y = data()
    model = keras.Sequential([keras.Input((WIDTH,)), keras.layers.Dense(2, "softmax")])
    marks = []
    for _ in range(layers):
        marks.append((time.perf_counter(), peak()))
        head = model.layers[-1]
        model.pop()
        for layer in model.layers:
            layer.trainable = False
        model.add(keras.layers.Dense(WIDTH, activation="relu"))
        model.add(head)
        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, epochs=EPOCHS, batch_size=BATCH, validation_split=0.2, verbose=0)
    return marks


def show(name: str, marks: list[tuple[float, float]]) -> None:
    seconds = [after[0] - before[0] for before, after in itertools.pairwise(marks)]
    memory = [mark[1] - marks[0][1] for mark in marks[1:]]
    print(f"{name}: {len(seconds)} stages")
    for depth in (1, 2, 3, 5, 10, 20, 50, 99):
        if depth <= len(seconds):
            near = seconds[max(0, depth - 3) : depth + 2] if depth > 5 else [seconds[depth - 1]]
            took = statistics.median(near)
            print(f"  stage {depth:3}: {took:8.4f} s, peak {memory[depth - 1]:7.1f} MB")
    if len(seconds) > 12:
        early, late = statistics.median(seconds[2:7]), statistics.median(seconds[-5:])
        print(f"  last five over stages 3 to 7: {late / early:.3f} times the seconds")
        print(f"  peak after the last over peak after stage 3: {memory[-1] - memory[2]:+.1f} MB")
        bare = [mark[1] - depth * STAGE_BYTES / 2**20 for depth, mark in enumerate(marks)]
        print(f"  the same without weights and heads: {bare[-1] / bare[3]:.3f} times")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--tutorial-layers", type=int, default=20)
    parser.add_argument("--only", choices=["ours", "tutorial"])
    parser.add_argument("--folder", action="store_true")
    options = parser.parse_args()
    if options.only == "ours":
        with tempfile.TemporaryDirectory() as folder:
            show("ours", ours(options.layers + 1, folder if options.folder else None))
    elif options.only == "tutorial":
        show("tutorial loop", tutorial(options.tutorial_layers + 1))
    else:
        for side in ("ours", "tutorial"):
            subprocess.run([sys.executable, *sys.argv, "--only", side], check=True)
