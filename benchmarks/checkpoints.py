"""What checkpoints, hashes and the audit cost: the CIFAR-10 job with all of them and with none.

    python benchmarks/checkpoints.py --data-dir DIR --pairs 5

Both run in this process, one after the other in alternating order, with everything compiled by a
first run that is not counted. "With" has a run folder, so that its time holds the checkpoints, the
network, the page, all hashes and the audit; "without" has no folder, and digests and audit do
nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import layerwise  # isort: skip - it chooses the backend, so it goes first
from unittest import mock

from layerwise.recipes import Options, find_recipe


@contextlib.contextmanager
def unguarded() -> Iterator[None]:
    """No digests, no audit."""
    from layerwise.training import _result, _run, _stage

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(_stage, "digest", return_value=""))
        for module in (_stage, _run, _result):
            stack.enter_context(mock.patch.object(module, "audit", return_value=None))
        yield


def once(arguments: dict[str, Any], data: Any, guarded: bool) -> float:
    """Seconds of one run."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        if guarded:
            layerwise.train(data, **arguments, run_dir=Path(folder) / "run", verbose=0)
        else:
            with unguarded():
                layerwise.train(data, **arguments, verbose=0)
        return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--recipe", default="cifar10-supervised")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    options = Options(data_dir=given.data_dir, epochs=given.epochs)
    data, arguments = find_recipe(given.recipe).plan(options)
    once({**arguments, "epochs": 1}, data, guarded=True)
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for pair in range(given.pairs):
        for guarded in (True, False) if pair % 2 else (False, True):
            seconds[guarded].append(once(arguments, data, guarded))
        ratio = seconds[True][-1] / seconds[False][-1]
        print(
            f"pair {pair + 1}: {seconds[True][-1]:.2f} s with, {seconds[False][-1]:.2f} s without"
        )
        print(f"  ratio {ratio:.4f}", flush=True)
    both = {key: statistics.median(values) for key, values in seconds.items()}
    print(f"medians: {both[True]:.2f} s with, {both[False]:.2f} s without")
    print(f"ratio of medians: {both[True] / both[False]:.4f}")


if __name__ == "__main__":
    main()
