"""A run in MLflow: parameters once, metrics of every stage, the test score.

    pip install mlflow
    python examples/track_mlflow.py
    mlflow ui

mlflow-skinny is enough where MLFLOW_TRACKING_URI names a server. Without one it can write files:

    MLFLOW_ALLOW_FILE_STORE=true MLFLOW_TRACKING_URI=file:mlruns python examples/track_mlflow.py
"""

from __future__ import annotations

import layerwise  # isort: skip - it chooses the backend, so it goes first
import keras
import mlflow

from layerwise.history import Metrics
from layerwise.progress import Event, RunFinished, RunStarted, StageFinished


def numbers(split: str, metrics: Metrics | None) -> dict[str, float]:
    """Those that are numbers: None was not finite, and of several replicates the mean is one."""
    means = {k: v["mean"] if isinstance(v, dict) else v for k, v in (metrics or {}).items()}
    return {f"{split}.{name}": mean for name, mean in means.items() if mean is not None}


def track(event: Event) -> None:
    """A listener of `layerwise.train`; the depth is MLflow's step."""
    if isinstance(event, RunStarted):
        mlflow.log_params({"monitor": event.monitor, "max_depth": event.max_depth})
    elif isinstance(event, StageFinished):
        stage = event.history["stages"][-1]
        for split in ("train", "validation"):
            mlflow.log_metrics(numbers(split, stage[split]), step=stage["depth"])
    elif isinstance(event, RunFinished):
        mlflow.log_param("selected_depth", event.history["selected_depth"])
        mlflow.log_metrics(numbers("test", event.history["test"]))
        mlflow.set_tag("explanation", event.explanation)


def main(epochs: int = 10) -> layerwise.TrainResult:
    with mlflow.start_run(run_name="wine"):
        return layerwise.train(
            layerwise.load_dataset("wine"),
            block=lambda depth: keras.layers.Dense(16, activation="relu"),
            epochs=epochs,
            max_depth=3,
            listeners=track,
        )


if __name__ == "__main__":
    print(main())  # noqa: T201
