"""The two tutorials' loops against ours: ratios of medians over alternating pairs, and the floor.

    python benchmarks/tutorials.py blobs
    python benchmarks/tutorials.py cifar10 --data-dir DIR --epochs 5

Needs TensorFlow beside layerwise. Where TensorFlow is installed, Keras imports it as soon as a
layer is serialized, which costs any user of Keras on JAX seconds; `--ours-python` names the
interpreter of an environment without it, such as `make demo` installs.

Each side is a process of its own, timed from outside, imports and all; within a pair the order
alternates. Ours runs twice a pair: `cold`, where nothing is kept between runs, and `warm`, with
the compiled programs of a run before, as a user has them from the second run on. A stage `once
compiled` is the median over the stages from the third on.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
SIZES = {"blobs": (11, 100), "cifar10": (10, 25)}


def timed(
    python: str, script: str, arguments: list[str], environment: dict[str, str]
) -> tuple[float, list[float]]:
    """Wall seconds of a whole process, and the seconds of its stages."""
    begun = time.perf_counter()
    done = subprocess.run(
        [python, str(HERE / script), *arguments],
        env=os.environ | environment | {"TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begun
    if done.returncode:
        sys.exit(done.stderr)
    return seconds, json.loads(done.stdout.splitlines()[-1])["stages"]


def matrix_rate(shapes: list[tuple[int, int, int]]) -> dict[tuple[int, int, int], float]:
    """Floating-point operations a second of `x @ w` at the job's own shapes, on JAX."""
    import jax
    import jax.numpy as jnp

    rates = {}
    product = jax.jit(lambda a, b: a @ b)
    for m, k, n in shapes:
        a, b = jnp.ones((m, k)), jnp.ones((k, n))
        product(a, b).block_until_ready()
        best = float("inf")
        for _ in range(5):
            begun = time.perf_counter()
            for _ in range(20):
                last = product(a, b)
            last.block_until_ready()
            best = min(best, (time.perf_counter() - begun) / 20)
        rates[m, k, n] = 2 * m * k * n / best
    return rates


def floor(job: str, stages: int, epochs: int) -> float:
    """Seconds that the matrix products of the job take at the measured rate, and nothing else.

    A training step multiplies forwards and for the gradient of each kernel, and back through the
    head alone: the features below the block need no gradient. Each row of validation is one pass
    forwards an epoch; scores and caches add three passes over all rows a stage.
    """
    if job == "blobs":
        rows, held, test, batch, width, classes, inputs = 500, 0, 500, 32, 10, 3, 2
    else:
        rows, held, test, batch, width, classes, inputs = 40000, 10000, 10000, 250, 256, 10, 3072
    rates = matrix_rate([(batch, inputs, width), (batch, width, width), (batch, width, classes)])
    total = 0.0
    for stage in range(stages):
        columns = width if stage else inputs
        block, head = rates[batch, columns, width], rates[batch, width, classes]
        passes = held * epochs + 3 * (rows + held + test)
        total += 2 * columns * width * (2 * rows * epochs + passes) / block
        total += 2 * width * classes * (3 * rows * epochs + passes) / head
    return total


def row(name: str, ours: list[float], theirs: list[float]) -> str:
    """One comparison: medians, and their ratio."""
    a, b = statistics.median(theirs), statistics.median(ours)
    spread = f"{min(t / o for t, o in zip(theirs, ours, strict=True)):.1f} to "
    spread += f"{max(t / o for t, o in zip(theirs, ours, strict=True)):.1f}"
    return f"{name:48} {a:9.3f} s {b:9.3f} s   {a / b:7.1f} times   (pairs: {spread})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("job", choices=SIZES)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--stages", type=int)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--data-dir")
    parser.add_argument("--ours-python", default=sys.executable)
    parser.add_argument("--ours", nargs="+", default=["cold", "warm"], choices=["cold", "warm"])
    parser.add_argument("--backends", nargs="+", default=["tensorflow", "jax"])
    options = parser.parse_args()
    stages, epochs = (
        options.stages or SIZES[options.job][0],
        options.epochs or SIZES[options.job][1],
    )
    arguments = [options.job, str(stages), str(epochs)]
    shared = {"LAYERWISE_DATA": options.data_dir} if options.data_dir else {}
    times: dict[str, list[float]] = {}
    stage_times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        caches = {"cold": "", "warm": cache}
        sides = [
            *(
                (name, sys.executable, "_tutorial_loops.py", {"KERAS_BACKEND": name})
                for name in options.backends
            ),
            *(
                (
                    name,
                    options.ours_python,
                    "_ours.py",
                    {"KERAS_BACKEND": "jax", "LAYERWISE_CACHE": caches[name]},
                )
                for name in options.ours
            ),
        ]
        if "warm" in options.ours:
            _, python, script, environment = sides[-1]
            timed(python, script, arguments, shared | environment)
        for pair in range(options.pairs):
            for name, python, script, environment in sides if pair % 2 == 0 else reversed(sides):
                seconds, by_stage = timed(python, script, arguments, shared | environment)
                times.setdefault(name, []).append(seconds)
                later = by_stage[2:] or by_stage
                stage_times.setdefault(name, []).append(statistics.median(later))
                print(f"pair {pair + 1}: {name} {seconds:.2f} s", file=sys.stderr, flush=True)
    print(f"{options.job}: {stages} stages of {epochs} epochs, medians of {options.pairs} pairs")
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"{'':48} {'tutorial':>11} {'ours':>11}")
    for backend in options.backends:
        for mine in options.ours:
            print(row(f"whole process, {backend}, ours {mine}", times[mine], times[backend]))
        name = f"a stage once compiled, {backend}"
        print(row(name, stage_times[options.ours[-1]], stage_times[backend]))
    bottom = floor(options.job, stages, epochs)
    whole = statistics.median(times[options.ours[-1]])
    print(f"floor: {bottom:.3f} s of matrix products; ours takes {whole / bottom:.1f} times that")
    print(json.dumps({"whole": times, "stage": stage_times, "floor": bottom}))


if __name__ == "__main__":
    main()
