"""Search width, learning rate and depth over the machines of a Ray cluster, through scikit-learn.

    pip install ray
    python examples/search_ray.py

Each fit is a run of its own, so nothing is communicated but its score. With
`ray.init(address="auto")` the fits go to the machines of a running cluster; here Ray starts on this
one. The same lines serve Dask: `joblib.parallel_config(backend="dask")` within a
`dask.distributed.Client`.
"""

from __future__ import annotations

import layerwise  # isort: skip - it chooses the backend, so it goes first
import joblib
import ray
from ray.util.joblib import register_ray
from sklearn.datasets import load_digits
from sklearn.model_selection import RandomizedSearchCV

GRID = {"width": [16, 32, 64, 128], "learning_rate": [1e-3, 3e-3, 1e-2], "max_depth": [1, 2, 3]}


def main(fits: int = 6, epochs: int = 10, cpus: int | None = None) -> RandomizedSearchCV:
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype("float32")
    if not ray.is_initialized():
        ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    register_ray()
    search = RandomizedSearchCV(
        layerwise.LayerwiseClassifier(epochs=epochs, fine_tune=0, random_state=0),
        GRID,
        n_iter=fits,
        cv=3,
        random_state=0,
        refit=True,
        error_score="raise",
    )
    with joblib.parallel_config(backend="ray", n_jobs=-1):
        return search.fit(x, y)


if __name__ == "__main__":
    best = main()
    print(best.best_score_, best.best_params_)  # noqa: T201
