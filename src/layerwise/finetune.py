"""Training all weights jointly after growth, kept only where validation gains by it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Literal

import keras

from layerwise.datasets import Dataset, Split
from layerwise.engine import Engine, Problem, Result
from layerwise.errors import InputError, complaint
from layerwise.history import StopReason, higher_is_better


@dataclass(frozen=True)
class FineTune:
    """How to train the chosen network end to end once it has grown.

    The stage optimizer is used again, fresh, at this learning rate. The tuned weights are kept
    only if the monitored validation metric is better than before; the history says which.

    Args:
        learning_rate: above 0; smaller than the stages', as the weights are already good.
        epochs: at least 1.
        when: `"after"` the classifier stands on the trunk, all of it learns to predict; `"before"`,
            all blocks go on together with the last stage's own objective, now on the data, and then
            get a new classifier; `"both"`, one after the other. The last two are for objectives
            that do not predict the labels themselves.
        head: `"carry"`, the classifier or regressor goes on from what the stages made of it;
            `"fresh"`, a new one begins on the trunk, as in Vincent et al., Stacked Denoising
            Autoencoders, 2010: while it is wrong, its errors move the trunk. What counts as before
            is the network as it was grown.
        optimizer: a name or a Keras optimizer, of which a fresh copy is used; default: that of the
            deepest stage.
        batch_size: default: that of the deepest stage.
        patience: end after so many epochs without a better monitored metric, and take the weights
            of the best epoch; default: run all epochs and take the last.
        top: train only so many of the newest blocks, and the head; default: all.
        gradual: begin with the newest block and let one more move in each of equal shares of the
            epochs.
        layer_decay: each block learns at so many times the rate of the one above it; the head at
            `learning_rate`. Above 0, at most 1.

    Example:
        >>> FineTune(epochs=10)
        FineTune(learning_rate=0.0001, epochs=10)
    """

    learning_rate: float = 1e-4
    epochs: int = 50
    when: Literal["after", "before", "both"] = "after"
    head: Literal["carry", "fresh"] = "carry"
    optimizer: str | keras.Optimizer | None = None
    batch_size: int | None = None
    patience: int | None = None
    top: int | None = None
    gradual: bool = False
    layer_decay: float = 1.0

    def __repr__(self) -> str:
        shown = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name in ("learning_rate", "epochs") or getattr(self, f.name) != f.default
        }
        return f"FineTune({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def __post_init__(self) -> None:
        if not self.learning_rate > 0:
            raise InputError(complaint("learning_rate", "be above 0", self.learning_rate))
        if self.epochs < 1:
            raise InputError(complaint("epochs", "be at least 1", self.epochs))
        if not 0 < self.layer_decay <= 1:
            raise InputError(complaint("layer_decay", "lie in (0, 1]", self.layer_decay))
        for name in ("batch_size", "patience", "top"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(complaint(name, "be at least 1", value))
        if self.when not in ("after", "before", "both"):
            raise InputError(complaint("when", 'be "after", "before" or "both"', self.when))
        if self.head not in ("carry", "fresh"):
            raise InputError(complaint("head", 'be "carry" or "fresh"', self.head))

    def phases(self, depth: int) -> list[tuple[int, int]]:
        """How many of the newest blocks move, for how many epochs, one after the other.

        Args:
            depth: blocks that there are.
        """
        most = min(self.top or depth, depth)
        if not self.gradual:
            return [(most, self.epochs)]
        share, more = divmod(self.epochs, most)
        counts = [share + (i >= most - more) for i in range(most)]
        return [(i + 1, epochs) for i, epochs in enumerate(counts) if epochs]

    def stopping(self, metric: str) -> list[keras.callbacks.Callback]:
        """What ends the training early and goes back to the best epoch, where asked for.

        Args:
            metric: of validation, without `val_`.
        """
        if self.patience is None:
            return []
        return [
            keras.callbacks.EarlyStopping(
                f"val_{metric}",
                patience=self.patience,
                mode="max" if higher_is_better(metric) else "min",
                restore_best_weights=True,
            )
        ]

    def check(self, data: Dataset) -> None:
        """Raise `InputError` where fine-tuning has nothing to predict or nothing to judge by."""
        if data.labels is None:
            raise InputError("`fine_tune` needs labels. Pass `y`, or `fine_tune=None`.")
        if data.validation is None:
            raise InputError(
                "`fine_tune` keeps its result only if validation improves, and there is no "
                "validation data. Pass some, or `fine_tune=None`."
            )


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning did to one network, on validation; NaN after a divergence."""

    before: dict[str, float]
    after: dict[str, float]
    seconds_before: float = 0.0
    """Spent on it in an earlier session of a resumed run."""


def fine_tune(
    engine: Engine, problem: Problem, validation: Split, train: Callable[[], Result]
) -> Tuned:
    """Train the whole network of a joint problem in place, and score it before and after.

    Args:
        engine: what scores.
        problem: the whole network.
        validation: rows to score on.
        train: trains the problem, or gives its network what an earlier session ended with.
    """
    before = engine.evaluate(problem, validation)
    result = train()
    if result.stop_reason == StopReason.DIVERGED:
        return Tuned(before, dict.fromkeys(before, math.nan), result.seconds_before)
    return Tuned(before, engine.evaluate(problem, validation), result.seconds_before)
