"""Steps of a stage over 1, 2 and 4 processes, and what a simple model of them says.

    python benchmarks/scale.py --widths 256 1024 --steps 30 --pairs 3

The global batch stays the same. On machines of their own, P processes would take

    seconds a step = compute / P + latency + bytes / bandwidth

where bytes are 2 (P - 1) / P of the gradients, and of the rows of a batch the 1 / P that a process
needs, less what it has. Here all processes share the cores of one machine, which one process keeps
busy already: compute is not divided, and what can be seen is what communication costs. Latency and
bandwidth are those of all-reduces of 4 bytes and of 4 MB in the same processes.
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

BATCH, INPUTS = 256, 1024


def worker(count: int, number: int, port: int, width: int, steps: int) -> dict[str, float]:
    """One process: seconds of a step, and of all-reduces of few and of many bytes."""
    import layerwise  # isort: skip - it chooses the backend
    import jax
    import keras
    import numpy as np

    from layerwise.distributed import peers
    from layerwise.engine import Watch, make_engine
    from layerwise.engine._mesh import the_mesh
    from layerwise.training._arguments import read_arguments

    del layerwise
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, number)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH * steps, INPUTS)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    seconds = _stage(x, y, width, keras, make_engine, read_arguments, Watch)
    mesh = the_mesh()
    told = {"step": seconds / steps}
    for name, size in (("small", 1), ("large", 1 << 20)):
        told[name] = 0.0 if mesh is None else _all_reduce(jax, np, mesh, size)
    others = peers()
    if others is not None:
        others.finish()
    return told


def _stage(
    x: Any, y: Any, width: int, keras: Any, make_engine: Any, read_arguments: Any, watch: Any
) -> float:
    """Seconds of an epoch of one stage, compiled before."""
    from layerwise.training._replica import Replica
    from layerwise.training._together import shared

    data, settings = read_arguments_of(x, y, width, keras, read_arguments)
    data = shared(data, settings)
    times = []
    for _ in range(4):
        replica = Replica(0, data, settings)
        problem = replica.problem(replica.sprout(1))
        started = time.perf_counter()
        make_engine("auto").train(problem, watch())
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def read_arguments_of(x: Any, y: Any, width: int, keras: Any, read_arguments: Any) -> Any:
    """Data and settings of one stage of two Dense layers, without validation rows."""
    import inspect

    import layerwise

    defaults = {
        name: p.default
        for name, p in inspect.signature(layerwise.train).parameters.items()
        if name not in ("x", "y", "run_dir", "verbose", "listeners")
    }
    relu = {"activation": "relu"}

    def block(depth: int) -> Any:
        return keras.Sequential(
            [keras.layers.Dense(width, **relu), keras.layers.Dense(width, **relu)]
        )

    own = {
        "block": block,
        "epochs": 1,
        "batch_size": BATCH,
        "validation_split": 0.0,
        "depth_rule": layerwise.FixedDepth(keep="last"),
        "optimizer": "sgd",
    }
    return read_arguments(x, y, **{**defaults, **own})


def _all_reduce(jax: Any, np: Any, mesh: Any, size: int) -> float:
    """Seconds of one sum over all processes of so many numbers each, 50 in one program."""
    ones = mesh.by_device(np.ones((mesh.size, size), np.float32))

    def many(array: Any) -> Any:
        def one(_: Any, carry: Any) -> Any:
            return carry / mesh.size + jax.lax.with_sharding_constraint(
                array * carry[:1], mesh.split()
            ).sum(axis=0)

        return jax.lax.fori_loop(0, 50, one, array[0] * 0 + 1)

    program = jax.jit(many, out_shardings=mesh.whole)
    times = []
    for _ in range(4):
        started = time.perf_counter()
        program(ones).block_until_ready()
        times.append((time.perf_counter() - started) / 50)
    return statistics.median(times[1:])


def measure(count: int, width: int, steps: int) -> dict[str, float]:
    """What process 0 of so many tells."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    started = [
        subprocess.Popen(
            [sys.executable, __file__, "--worker", *map(str, (count, n, port, width, steps))],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for n in range(count)
    ]
    said = [process.communicate(timeout=600)[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"A process of {count} failed.")
    return json.loads(said[0].splitlines()[-1])


def predicted(alone: float, told: dict[str, float], count: int, width: int) -> float:
    """Seconds of a step by the model."""
    if count == 1:
        return alone
    gradients = 4 * (INPUTS * width + width * width + 2 * width + 2 * width + 2)
    rows = 4 * BATCH * INPUTS
    moved = 2 * (count - 1) / count * gradients + (count - 1) / count * rows / count
    moved_large = 2 * (count - 1) / count * (4 << 20)
    bandwidth = moved_large / max(told["large"] - told["small"], 1e-9)
    return alone + told["small"] + moved / bandwidth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--worker", type=int, nargs=5)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(worker(*options.worker)))
        return
    print("| width | processes | ms a step | by the model | efficiency | all-reduce of 4 B, 4 MB |")
    print("|---|---|---|---|---|---|")
    for width in options.widths:
        runs: dict[int, list[dict[str, float]]] = {1: [], 2: [], 4: []}
        for _ in range(options.pairs):
            for count, found in runs.items():
                found.append(measure(count, width, options.steps))
        alone = statistics.median(told["step"] for told in runs[1])
        for count, found in runs.items():
            told = {key: statistics.median(one[key] for one in found) for key in found[0]}
            model = predicted(alone, told, count, width)
            print(
                f"| {width} | {count} | {1e3 * told['step']:.1f} | {1e3 * model:.1f} | "
                f"{alone / told['step'] / count:.2f} | "
                f"{1e3 * told['small']:.2f}, {1e3 * told['large']:.1f} ms |"
            )


if __name__ == "__main__":
    main()
