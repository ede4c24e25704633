"""Distributed runs as processes that can be killed, for the tests.

As a script this takes one order as JSON, imports everything once, and forks the processes of each
run: importing takes longer than a run. That is safe because no JAX program has run before. The last
line that it prints is what came of the runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

STEPS = 50
_LONGEST = 200.0
"""Seconds after which a process counts as hanging."""


class Runs:
    """The other side of this file's script; close it at the end."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def run(self, **order: Any) -> dict[str, Any]:
        """Start the processes of a run and wait for their ends; see `launch`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=30)


# From here on: what runs in the server and in the processes that it forks.


def arguments(epochs: int) -> tuple[Any, Any, dict[str, Any]]:
    """A last batch that is partial and splits unevenly; Dropout, BatchNorm, 10 steps an epoch."""
    import keras
    import numpy as np

    import layerwise

    def block(depth: int) -> keras.Sequential:
        dense, norm = keras.layers.Dense(16, use_bias=False), keras.layers.BatchNormalization()
        return keras.Sequential([dense, norm, keras.layers.ReLU(), keras.layers.Dropout(0.3)])

    rng = np.random.default_rng(0)
    seen = rng.normal(size=(399, 4))
    y = (seen[:, 0] * seen[:, 1] > 0) + 1 * (seen[:, 2] > 1)
    # As many numbers as the blocks give, so that all stages share one program.
    x = np.tanh(seen @ rng.normal(size=(4, 16)))
    how: dict[str, Any] = {
        "block": block,
        "epochs": epochs,
        "batch_size": 30,
        "max_depth": 2,
        "depth_rule": layerwise.FixedDepth(keep="last"),
        "validation_data": (x[286:340], y[286:340]),
        "test_data": (x[340:], y[340:]),
        "verbose": 0,
    }
    return x[:286], y[:286], how


def exact() -> None:
    """Compute in float64: Keras brings that down to float32 on JAX in places, by a table."""
    import jax
    import keras
    from keras.src.backend.common import dtypes

    config: Any = jax.config
    config.update("jax_enable_x64", True)
    keras.config.set_floatx("float64")
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


def work(order: dict[str, Any], count: int, number: int, port: int) -> None:
    """Be one process of a run: train, or go on, and write down the weights."""
    import jax
    import numpy as np

    import layerwise

    if order.get("exact"):
        exact()
    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, number)
    if "dies" in order:
        die_or_wait(order["dies"] == number)
    x, y, how = arguments(order.get("epochs", STEPS // 10))
    if order.get("attends"):
        x = attending(x, how, order["attends"])
    if order.get("mapped"):
        x = on_disk(Path(order["folder"]) / f"x-{count}-{number}.npy", x, how)
    if order.get("deals"):
        small_deals(order["deals"], under_a_limit="memory_limit" in order)
    how |= {name: order[name] for name in ("memory_limit",) if name in order}
    picked = count_picked()
    if order.get("run_dir"):
        folder = Path(order["run_dir"])
        how |= {"run_dir": folder, "checkpoint_every": 0.05}
        if order.get("resume"):
            del how["run_dir"]
            result = layerwise.resume(folder, x, y, **how)
        else:
            result = layerwise.train(x, y, **how)
    else:
        result = layerwise.train(x, y, **how)
    name = f"{count * len(jax.local_devices())}-{count}-{number}"
    weights = {str(i): np.asarray(v.value) for i, v in enumerate(result.model.variables)}
    out = Path(order["folder"])
    np.savez(out / f"weights-{name}.npz", **weights)
    told = {
        "history": result.history.to_dict(),
        "held": held_bytes(result),
        "in memory": held_bytes(result, mapped=False),
        "picked": len(picked),
        "paths": [variable.path for variable in result.model.variables],
    }
    (out / f"told-{name}.json").write_text(json.dumps(told))
    # As a process does that ends in the usual way.
    jax.distributed.shutdown()


def attending(x: Any, how: dict[str, Any], optimizer: str) -> Any:
    """The same rows as four vectors of four numbers, for one block with attention."""
    import keras

    def block(depth: int) -> keras.Model:
        inputs = keras.Input((4, 4))
        attended = keras.layers.MultiHeadAttention(num_heads=2, key_dim=3)(inputs, inputs)
        normed = keras.layers.LayerNormalization()(keras.layers.add([inputs, attended]))
        return keras.Model(inputs, keras.layers.Dense(4, "gelu")(normed))

    for name in ("validation_data", "test_data"):
        how[name] = how[name][0].reshape(-1, 4, 4), how[name][1]
    optimizers = {"adam": keras.optimizers.Adam(0.01), "sgd": keras.optimizers.SGD(0.1, 0.9)}
    how |= {"block": block, "max_depth": 1, "optimizer": optimizers[optimizer]}
    return x.reshape(-1, 4, 4)


def die_or_wait(dies: bool) -> None:
    """Be killed, or see another one be killed, after all have met and before work has begun."""
    from layerwise.distributed import peers

    peers()
    time.sleep(0.5)  # Until the others have done the same.
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(_LONGEST)


def on_disk(path: Path, x: Any, how: dict[str, Any]) -> Any:
    """All rows as mapped arrays; what is made of all of them goes to disk, however small."""
    import numpy as np

    from layerwise.datasets import _mapped

    _mapped._SMALL = 0
    given = {"train": x, **{name: how[f"{name}_data"][0] for name in ("validation", "test")}}
    mapped = {}
    for name, rows in given.items():
        # Of another type: reading makes a copy.
        np.save(path.with_stem(f"{path.stem}-{name}"), rows.astype(">f8"))
        mapped[name] = np.load(path.with_stem(f"{path.stem}-{name}"), mmap_mode="r")
    for name in ("validation", "test"):
        how[f"{name}_data"] = mapped[name], how[f"{name}_data"][1]
    return mapped["train"]


def small_deals(size: int, *, under_a_limit: bool) -> None:
    """Several deals of a few batches in every epoch, for validation rows too."""
    from layerwise.engine import _deal, _mesh_allotment, _mesh_rows

    _mesh_allotment.DEAL_BYTES = _mesh_rows.LEAST_BYTES = size
    if not under_a_limit:  # There usual deals must be too large for a device.
        _deal.LEAST_BYTES = size


def count_picked() -> list[None]:
    """Grows by one entry for each array of a deal whose rows are sent from where they lie."""
    from layerwise.engine._mesh import Mesh

    picked, pick = [], Mesh.picked

    def counted(*given: Any) -> Any:
        picked.append(None)
        return pick(*given)

    Mesh.picked = counted  # type: ignore[method-assign]
    return picked


def held_bytes(result: Any, mapped: bool = True) -> int:
    """Of the rows that a process keeps: its share of the data, for the stages to train on."""
    from layerwise.memory import is_mapped

    splits = result._replicas[0].data.splits.values()
    arrays = [part for split in splits for part in split.tree().values()]
    return sum(array.nbytes for array in arrays if mapped or not is_mapped(array))


def fork(order: dict[str, Any], count: int, number: int, port: int, log: Path) -> int:
    """Start one process; its standard error goes to a file."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        flags = os.environ.get("XLA_FLAGS", "")
        devices = order.get("devices", 1)
        os.environ["XLA_FLAGS"] = f"{flags} --xla_force_host_platform_device_count={devices}"
        work(order, count, number, port)
        code = 0
    finally:
        if code:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


def launch(order: dict[str, Any]) -> dict[str, Any]:
    """Run all processes of a run to their ends; perhaps strike one of them.

    `kill` is the number of the one, and the seconds to wait first once `awaited` is there.
    """
    count = order.get("processes", 1)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    logs = [Path(order["folder"]) / f"log-{number}" for number in range(count)]
    running = {fork(order, count, n, port, logs[n]): n for n in range(count)}
    started, struck, ends = time.monotonic(), None, {}
    seen = None if order.get("awaited") else started
    while running:
        now = time.monotonic()
        if seen is None and Path(order["awaited"]).exists():
            seen = now
        due = order.get("kill") and seen is not None and now - seen >= order["kill"][1]
        if struck is None and due:
            number = order["kill"][0]
            victim = next((pid for pid, n in running.items() if n == number), None)
            if victim is not None:
                os.kill(victim, order.get("signal", signal.SIGKILL))
            struck = now
        # One that was stopped, not killed, is the last.
        stopped = struck is not None and list(running.values()) == [order["kill"][0]]
        if now - started > _LONGEST or stopped:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid:
            number = running.pop(pid)
            late = None if struck is None else time.monotonic() - struck
            ends[number] = {
                "code": os.waitstatus_to_exitcode(status),
                "late": late,
                "said": logs[number].read_text(errors="replace"),
            }
        else:
            time.sleep(0.01)
    return {"ends": [ends[number] for number in range(count)], "seconds": now - started}


if __name__ == "__main__":
    import jax  # noqa: F401

    import layerwise
    import layerwise.training  # noqa: F401

    for text in sys.stdin:
        print(json.dumps(launch(json.loads(text))), flush=True)  # noqa: T201
