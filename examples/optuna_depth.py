"""Search width, learning rate and dropout with Optuna; hopeless networks stop growing early.

    pip install optuna
    python examples/optuna_depth.py

The depth rule reports every stage to the trial as a step, so that Optuna's pruner can end a trial
whose network is worse at this depth than those before it.
"""

from __future__ import annotations

import layerwise  # isort: skip - it chooses the backend, so it goes first
import keras
import optuna

DATA = layerwise.load_dataset("digits")


class Reporting(layerwise.Plateau):
    """Plateau, which tells a trial of each stage."""

    trial: optuna.Trial

    def stop(self, history: layerwise.History) -> bool:
        score = history.scores()[-1]
        if score is not None:
            self.trial.report(score.mean, step=len(history.stages))
        return super().stop(history) or self.trial.should_prune()


def objective(trial: optuna.Trial) -> float:
    width = trial.suggest_int("width", 8, 128, log=True)
    rate = trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    rule = Reporting(patience=2)
    # The rule is a frozen dataclass, as all of them are.
    object.__setattr__(rule, "trial", trial)
    result = layerwise.train(
        DATA,
        block=lambda depth: keras.layers.Dense(width, activation="relu"),
        optimizer=keras.optimizers.Adam(rate),
        epochs=10,
        max_depth=4,
        depth_rule=rule,
        verbose=0,
    )
    if trial.should_prune():
        raise optuna.TrialPruned
    validation = result.history.stages[result.selected_depth - 1].validation
    assert validation is not None
    trial.set_user_attr("depth", result.selected_depth)
    return float(validation["accuracy"])


def main(trials: int = 20) -> optuna.Study:
    study = optuna.create_study(
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    study.optimize(objective, n_trials=trials)
    return study


if __name__ == "__main__":
    best = main().best_trial
    print(best.value, best.params, best.user_attrs)  # noqa: T201
