"""How long until something happens: `--help`, the import, the first training step of a second run.

    python benchmarks/startup.py --runs 7 --data-dir DIR

Medians over whole processes. The first step is that of `layerwise run` with the compiled programs
of a run before: from the start of the process to the first `epochs_done` in `events.jsonl`, less
the epoch itself.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path


def seconds(arguments: list[str], environment: dict[str, str]) -> float:
    """Wall seconds of a whole process."""
    begun = time.perf_counter()
    subprocess.run(arguments, env=os.environ | environment, capture_output=True, check=True)
    return time.perf_counter() - begun


def first_step(recipe: list[str], environment: dict[str, str]) -> float:
    """Seconds from the start of the process to the start of the first epoch."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        begun = time.time()
        subprocess.run(
            [sys.executable, "-m", "layerwise", "run", *recipe, "--out", str(out)],
            env=os.environ | environment,
            capture_output=True,
            check=True,
        )
        events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    ends = [
        datetime.fromisoformat(event["time"]).timestamp()
        for event in events
        if event["event"] == "epochs_done"
    ]
    return ends[0] - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--data-dir")
    options = parser.parse_args()
    recipes = {"digits": ["digits", "--epochs", "1", "--max-depth", "1", "--baseline", "none"]}
    if options.data_dir:
        recipes["cifar10"] = [
            "cifar10-supervised", "--data-dir", options.data_dir, "--epochs", "1",
            "--max-depth", "1",
        ]  # fmt: skip
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as cache:
        environment = {"LAYERWISE_CACHE": cache}
        found["--help"] = [
            seconds([sys.executable, "-m", "layerwise", "--help"], {}) for _ in range(options.runs)
        ]
        found["import keras"] = [
            seconds([sys.executable, "-c", "import layerwise, keras"], {})
            for _ in range(options.runs)
        ]
        for name, recipe in recipes.items():
            first_step(recipe, environment)
            found[f"first epoch of {name}"] = [
                first_step(recipe, environment) for _ in range(options.runs)
            ]
    for name, times in found.items():
        print(f"{name:24} {statistics.median(times):.2f} s ({min(times):.2f} to {max(times):.2f})")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
