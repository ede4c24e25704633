"""A run in Trackio: metrics of every stage by depth, kept on this machine.

    pip install trackio
    python examples/track_trackio.py
    trackio show --project layerwise

Nothing leaves the machine unless `trackio.init` is given a space.
"""

from __future__ import annotations

import layerwise  # isort: skip - it chooses the backend, so it goes first
import keras
import trackio

from layerwise.history import Metrics
from layerwise.progress import Event, RunFinished, RunStarted, StageFinished


def numbers(split: str, metrics: Metrics | None) -> dict[str, float]:
    """Those that are numbers: None was not finite, and of several replicates the mean is one."""
    means = {k: v["mean"] if isinstance(v, dict) else v for k, v in (metrics or {}).items()}
    return {f"{split}/{name}": mean for name, mean in means.items() if mean is not None}


def track(event: Event) -> None:
    """A listener of `layerwise.train`; the depth is Trackio's step."""
    if isinstance(event, RunStarted):
        told = {"monitor": event.monitor, "max_depth": event.max_depth}
        trackio.init(project="layerwise", name="wine", config=told, embed=False)
    elif isinstance(event, StageFinished):
        stage = event.history["stages"][-1]
        metrics = numbers("train", stage["train"]) | numbers("validation", stage["validation"])
        trackio.log(metrics, step=stage["depth"])
    elif isinstance(event, RunFinished):
        test = numbers("test", event.history["test"])
        trackio.log(test, step=event.history["selected_depth"])
        trackio.finish()


def main(epochs: int = 10) -> layerwise.TrainResult:
    return layerwise.train(
        layerwise.load_dataset("wine"),
        block=lambda depth: keras.layers.Dense(16, activation="relu"),
        epochs=epochs,
        max_depth=3,
        listeners=track,
    )


if __name__ == "__main__":
    print(main())  # noqa: T201
