"""One network grown greedily and trained end to end, with and without gradient checkpointing.

    python benchmarks/memory.py --data-dir DIR --out memory.json

CIFAR-10, convolutions of 32 channels: four blocks, the first and the third with pooling, batches of
250; a quarter as many rows to validate on, 2,000 to test on. Greedy training gives each block as
many epochs as end-to-end training gives to all together. With gradient checkpointing
(`keras.remat`, which is `jax.checkpoint`) what is inside a block is computed again on the way back.
Each run is a process of its own, and a short one before compiles.

Memory is the peak of anonymous resident memory above what the process held before the training; the
data, which all kinds hold, are part of what was there before.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from out_of_core import Peak

KINDS = ("greedy", "greedy, 100MB", "greedy, 100MB, uint8", "end to end", "checkpointed")
DEPTH, CHANNELS, BATCH = 4, 32, 250
HELD = 2000
"""Test rows."""


def one(kind: str, data_dir: Path, rows: int, epochs: int, seed: int) -> dict[str, float]:
    """Train once and tell what it took."""
    import layerwise  # isort: skip - it chooses the backend, so it goes first
    import keras
    from keras import layers

    @keras.saving.register_keras_serializable("memory")
    class Recomputed(keras.layers.Layer):
        """A block that keeps its input alone for the way back."""

        def __init__(self, inside: keras.Layer) -> None:
            super().__init__()
            self.inside = inside

        def build(self, shape: Any) -> None:
            self.inside.build(shape)

        def call(self, x: Any, training: bool = False) -> Any:
            return keras.remat(lambda rows: self.inside(rows, training=training))(x)

        def compute_output_shape(self, shape: Any) -> Any:
            return self.inside.compute_output_shape(shape)

        def get_config(self) -> dict[str, Any]:
            return {"inside": keras.saving.serialize_keras_object(self.inside)}

        @classmethod
        def from_config(cls, config: dict[str, Any]) -> Any:
            return cls(keras.saving.deserialize_keras_object(config["inside"]))

    def block(depth: int) -> keras.Layer:
        inside = [layers.Conv2D(CHANNELS, 3, padding="same", activation="relu") for _ in range(2)]
        return keras.Sequential([*inside, layers.MaxPooling2D()] if depth % 2 else inside)

    def whole(depth: int) -> keras.Layer:
        blocks = [block(depth) for depth in range(1, DEPTH + 1)]
        return keras.Sequential(
            [Recomputed(b) for b in blocks] if kind == "checkpointed" else blocks
        )

    greedy = kind.startswith("greedy")
    more: dict[str, Any] = {"block": block, "max_depth": DEPTH}
    if not greedy:
        more = {"block": whole, "max_depth": 1}
    if "100MB" in kind:
        more["memory_limit"] = "100MB"
    if "uint8" in kind:
        more["cache_dtype"] = "uint8"
    data = layerwise.load_dataset("cifar10", data_dir=data_dir, seed=seed).first(rows)
    held, test = (np.arange(n) for n in (rows // 4, HELD))
    data = replace(data, validation=data.validation.take(held), test=data.test.take(test))

    def train(epochs: int) -> layerwise.TrainResult:
        return layerwise.train(
            data, epochs=epochs, batch_size=BATCH, seed=seed, verbose=0,
            depth_rule=layerwise.FixedDepth(keep="last"), **more,
        )  # fmt: skip

    peak = Peak()
    peak.start()
    started = time.perf_counter()
    result = train(epochs)
    return {
        "test accuracy": result.test["accuracy"],
        "seconds": time.perf_counter() - started,
        "anonymous MB": peak.above()["anonymous"],
        "file MB": peak.above()["file"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON file to write as well")
    parser.add_argument("--one", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.data_dir, given.rows, given.epochs, given.seed)))
        return

    def measured(kind: str, seed: int, epochs: int) -> dict[str, float]:
        command = [sys.executable, __file__, "--data-dir", str(given.data_dir)]
        command += ["--rows", str(given.rows), "--epochs", str(epochs)]
        command += ["--seed", str(seed), "--one", kind]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return dict(json.loads(done.stdout.splitlines()[-1]))

    for kind in KINDS:
        measured(kind, 0, 1)
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for seed in range(given.seeds):
        for kind in KINDS:
            found[kind].append(measured(kind, seed, given.epochs))
    print(f"{given.rows} rows of CIFAR-10, {given.epochs} epochs, means of {given.seeds} seeds")
    print(f"{'':22}" + "".join(f"{name:>15}" for name in found[KINDS[0]][0]))
    for kind, runs in found.items():
        values = {name: mean(run[name] for run in runs) for name in runs[0]}
        shown = "".join(
            f"{value:15.3f}" if name == "test accuracy" else f"{value:15.1f}"
            for name, value in values.items()
        )
        print(f"{kind:22}{shown}")
    if given.out is not None:
        given.out.write_text(
            json.dumps({"options": vars(given), "runs": found}, default=str) + "\n"
        )


if __name__ == "__main__":
    main()
