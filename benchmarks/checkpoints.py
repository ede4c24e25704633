"""What checkpoints, hashes and the audit cost: the CIFAR-10 job with all of them and with none.

    python benchmarks/checkpoints.py --data-dir DIR --pairs 5

Both run in this process, one after the other in alternating order, with everything compiled by a
first run that is not counted. Both write a run folder with its history and its page; "without"
keeps no checkpoint and no network, hashes nothing and audits nothing. "Inside" is the time that
the guarded run spent in the guards, by the clock, and "CPU" what the process used, kernel and all:
on a noisy machine both tell more than the pairs.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import layerwise  # isort: skip - it chooses the backend, so it goes first
from unittest import mock

from layerwise.checkpoint import Journal, _folder, _journal
from layerwise.growth import _stage
from layerwise.recipes import Options, find_recipe

GUARDS: list[tuple[Any, str]] = [
    # The audit compares digests and does nothing else.
    (_stage, "digest"),
    (_folder.RunFolder, "keep_model"),
    (_folder.RunFolder, "seal"),
    *((_journal.KeptJournal, name) for name in ("find", "keep", "watch", "flush", "close")),
    (_journal.KeptWatch, "pause"),
]


@contextlib.contextmanager
def unguarded() -> Iterator[None]:
    """No checkpoints, no digests, no audit."""
    with contextlib.ExitStack() as stack:
        for owner, name in GUARDS[:3]:
            stack.enter_context(mock.patch.object(owner, name, return_value=""))
        # What keeps nothing, with the arguments of what keeps.
        stack.enter_context(mock.patch.object(_folder, "KeptJournal", return_value=Journal()))
        yield


@contextlib.contextmanager
def timed(spent: list[float]) -> Iterator[None]:
    """Add up the seconds inside the guards; one guard that calls another counts once."""
    inside = 0

    def clocked(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **more: Any) -> Any:
            nonlocal inside
            started, inside = time.perf_counter(), inside + 1
            try:
                return function(*arguments, **more)
            finally:
                inside -= 1
                if not inside:
                    spent.append(time.perf_counter() - started)

        return call

    with contextlib.ExitStack() as stack:
        for owner, name in GUARDS:
            stack.enter_context(mock.patch.object(owner, name, clocked(getattr(owner, name))))
        yield


def once(arguments: dict[str, Any], data: Any, guarded: bool) -> tuple[float, float, float]:
    """Seconds of one run, seconds of CPU, and seconds inside the guards."""
    spent: list[float] = []
    with tempfile.TemporaryDirectory() as folder, timed(spent) if guarded else unguarded():
        started, used = time.perf_counter(), time.process_time()
        layerwise.train(data, **arguments, run_dir=Path(folder) / "run", verbose=0)
        return time.perf_counter() - started, time.process_time() - used, sum(spent)


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
    cpu: dict[bool, list[float]] = {True: [], False: []}
    inside: list[float] = []
    for pair in range(given.pairs):
        for guarded in (True, False) if pair % 2 else (False, True):
            taken, used, spent = once(arguments, data, guarded)
            seconds[guarded].append(taken)
            cpu[guarded].append(used)
            if guarded:
                inside.append(spent)
        ratio = seconds[True][-1] / seconds[False][-1]
        print(
            f"pair {pair + 1}: {seconds[True][-1]:.2f} s with, {seconds[False][-1]:.2f} s without"
        )
        print(f"  ratio {ratio:.4f}, inside the guards {inside[-1]:.3f} s", flush=True)
    both = {key: statistics.median(values) for key, values in seconds.items()}
    print(f"medians: {both[True]:.2f} s with, {both[False]:.2f} s without")
    print(f"ratio of medians: {both[True] / both[False]:.4f}")
    used = {key: statistics.median(values) for key, values in cpu.items()}
    print(f"CPU: {used[True]:.2f} s with, {used[False]:.2f} s without, ", end="")
    print(f"ratio {used[True] / used[False]:.4f}")
    share = statistics.median(inside) / both[False]
    print(f"inside the guards: median {statistics.median(inside):.3f} s, {share:.2%}")


if __name__ == "__main__":
    main()
