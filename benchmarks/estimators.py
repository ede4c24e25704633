"""The estimators beside scikit-learn's own, with default parameters: score and time of a fit.

    python benchmarks/estimators.py             # four data sets that ship, 5 folds
    python benchmarks/estimators.py --rows      # time of a fit by number of rows, alternating

Scores are accuracy, or R2 for diabetes. Neural networks and linear models get standardized columns
(`LayerwiseClassifier` standardizes by itself). The first fit of a shape compiles; folds share it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from statistics import mean, median, stdev
from typing import Any

from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_wine,
    make_classification,
)
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import KFold, StratifiedKFold, cross_validate
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import layerwise

Make = Callable[[], Any]

CLASSIFIERS: dict[str, Make] = {
    "LayerwiseClassifier": lambda: layerwise.LayerwiseClassifier(random_state=0),
    "MLPClassifier": lambda: make_pipeline(StandardScaler(), MLPClassifier(random_state=0)),
    "HistGradientBoosting": lambda: HistGradientBoostingClassifier(random_state=0),
    "LogisticRegression": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
}
REGRESSORS: dict[str, Make] = {
    "LayerwiseRegressor": lambda: layerwise.LayerwiseRegressor(random_state=0),
    "MLPRegressor": lambda: make_pipeline(StandardScaler(), MLPRegressor(random_state=0)),
    "HistGradientBoosting": lambda: HistGradientBoostingRegressor(random_state=0),
    "RidgeCV": lambda: make_pipeline(StandardScaler(), RidgeCV()),
}
SETS = {
    "breast_cancer": (load_breast_cancer, CLASSIFIERS),
    "wine": (load_wine, CLASSIFIERS),
    "digits": (load_digits, CLASSIFIERS),
    "diabetes": (load_diabetes, REGRESSORS),
}


def scores() -> None:
    """Five folds of every data set."""
    print("| data | model | score | standard error | median fit, s | first fit, s |")
    print("|---|---|---|---|---|---|")
    for name, (load, models) in SETS.items():
        x, y = load(return_X_y=True)
        kind = KFold if models is REGRESSORS else StratifiedKFold
        folds = kind(5, shuffle=True, random_state=0)
        for model, make in models.items():
            found = cross_validate(make(), x, y, cv=folds)
            values, fits = found["test_score"].tolist(), found["fit_time"].tolist()
            error = stdev(values) / len(values) ** 0.5
            print(
                f"| {name} | {model} | {mean(values):.4f} | {error:.4f} | {median(fits):.2f} "
                f"| {fits[0]:.2f} |",
                flush=True,
            )


def by_rows(pairs: int) -> None:
    """Fits of our classifier and of the MLP, one after the other, five times."""
    print("| rows | ours, s | MLPClassifier, s | ratio of medians | ours, score | MLP, score |")
    print("|---|---|---|---|---|---|")
    for rows in (1_000, 10_000, 30_000):
        x, y = make_classification(
            rows + 2_000, 30, n_informative=15, n_classes=4, class_sep=1.5, random_state=0
        )
        times: dict[str, list[float]] = {"LayerwiseClassifier": [], "MLPClassifier": []}
        last: dict[str, float] = {}
        for _ in range(pairs):
            for model, spent in times.items():
                started = time.perf_counter()
                fitted = CLASSIFIERS[model]().fit(x[:rows], y[:rows])
                spent.append(time.perf_counter() - started)
                last[model] = fitted.score(x[rows:], y[rows:])
        ours, theirs = (median(spent) for spent in times.values())
        print(
            f"| {rows:,} | {ours:.2f} | {theirs:.2f} | {theirs / ours:.2f} "
            f"| {last['LayerwiseClassifier']:.4f} | {last['MLPClassifier']:.4f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    # MLPClassifier says that it has not converged at its default number of iterations.
    warnings.simplefilter("ignore")
    if given.rows:
        by_rows(given.pairs)
    else:
        scores()


if __name__ == "__main__":
    main()
