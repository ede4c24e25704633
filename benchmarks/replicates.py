"""The blobs job with many seeds against as many runs of the tutorial's loop on TensorFlow.

    python benchmarks/replicates.py --ours-python .venv/bin/python --pairs 5

Each side is a whole process, imports and all, in alternating pairs. The tutorial runs once a pair
and counts as often as there are replicates; ours trains them all. `--ours-python` as in
`tutorials.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile

from tutorials import SIZES, timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replicates", type=int, default=30)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--ours-python", default=sys.executable)
    options = parser.parse_args()
    stages, epochs = SIZES["blobs"]
    job = ["blobs", str(stages), str(epochs)]
    times: dict[str, list[float]] = {"tutorial": [], "ours": []}
    with tempfile.TemporaryDirectory() as cache:
        sides = {
            "tutorial": (
                sys.executable,
                "_tutorial_loops.py",
                job,
                {"KERAS_BACKEND": "tensorflow"},
            ),
            "ours": (
                options.ours_python,
                "_ours.py",
                [*job, str(options.replicates)],
                {"KERAS_BACKEND": "jax", "LAYERWISE_CACHE": cache},
            ),
        }
        # What is compiled is kept, as a user has it from the second run on.
        timed(*sides["ours"])
        for pair in range(options.pairs):
            for name in sides if pair % 2 == 0 else reversed(sides):
                times[name].append(timed(*sides[name])[0])
    ratios = [
        options.replicates * one / all_ours
        for one, all_ours in zip(times["tutorial"], times["ours"], strict=True)
    ]
    one, ours = (statistics.median(times[name]) for name in ("tutorial", "ours"))
    print(f"blobs, {stages} stages of {epochs} epochs, {options.replicates} seeds")
    print(
        f"tutorial {one:.2f} s a run, ours {ours:.2f} s for all: "
        f"{options.replicates * one / ours:.0f} times (pairs: {min(ratios):.0f} to "
        f"{max(ratios):.0f})"
    )
    print(json.dumps(times))


if __name__ == "__main__":
    main()
