"""Depth rules: when to stop growing, and which depth to keep. Pure functions of a `History`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from layerwise.errors import InputError, complaint
from layerwise.history import History, Score, higher_is_better


@runtime_checkable
class DepthRule(Protocol):
    """What a depth rule must offer; any object with these three methods is one."""

    def stop(self, history: History) -> bool:
        """Whether growth ends after the last stage of `history`."""
        ...

    def select(self, history: History) -> int | None:
        """The depth to keep, counted from 1; None where no stage is usable."""
        ...

    def check(self, *, has_validation: bool, replicates: int) -> None:
        """Raise `InputError` where this rule cannot work on such a run."""
        ...


def _gains(history: History) -> list[tuple[int, float, Score]]:
    """(depth, value, score) of each finite stage, the value turned so that higher is better."""
    sign = 1.0 if higher_is_better(history.monitor) else -1.0
    return [
        (stage.depth, sign * score.mean, score)
        for stage, score in zip(history.stages, history.scores(), strict=True)
        if score is not None
    ]


def _best(history: History, min_delta: float = 0.0) -> int | None:
    """The depth of the last real improvement, so that a tie keeps the shallower network."""
    best_depth, best = None, -math.inf
    for depth, value, _ in _gains(history):
        if value > best + min_delta or best_depth is None:
            best_depth, best = depth, value
    return best_depth


def _need_validation(rule: object, has_validation: bool) -> None:
    if not has_validation:
        raise InputError(
            f"The depth rule {rule} chooses by a validation metric, and there is no validation "
            'data. Pass validation data, or `depth_rule=FixedDepth(keep="last")`.'
        )


@dataclass(frozen=True)
class Plateau:
    """Stop when `patience` stages in a row fail to improve the monitor; keep the best depth.

    Args:
        patience: how many stages without improvement are borne, at least 1.
        min_delta: an improvement must exceed the best so far by more than this, in the metric's
            own unit.

    >>> str(Plateau(patience=2))
    'plateau(patience=2, min_delta=0.0)'
    """

    patience: int = 3
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise InputError(complaint("patience", "be at least 1", self.patience))
        if not self.min_delta >= 0:
            raise InputError(complaint("min_delta", "be 0 or more", self.min_delta))

    def __str__(self) -> str:
        return f"plateau(patience={self.patience}, min_delta={self.min_delta})"

    def stop(self, history: History) -> bool:
        best = _best(history, self.min_delta)
        return history.stages[-1].depth - (best or 0) >= self.patience

    def select(self, history: History) -> int | None:
        return _best(history, self.min_delta)

    def check(self, *, has_validation: bool, replicates: int) -> None:
        _need_validation(self, has_validation)


@dataclass(frozen=True)
class FixedDepth:
    """Grow to the largest depth, then keep the `"best"` by validation or the `"last"`.

    >>> str(FixedDepth(keep="last"))
    'fixed_depth(keep=last)'
    """

    keep: Literal["best", "last"] = "best"

    def __post_init__(self) -> None:
        if self.keep not in ("best", "last"):
            raise InputError(complaint("keep", 'be "best" or "last"', self.keep))

    def __str__(self) -> str:
        return f"fixed_depth(keep={self.keep})"

    def stop(self, history: History) -> bool:
        return False

    def select(self, history: History) -> int | None:
        if self.keep == "best":
            return _best(history)
        finite = [depth for depth, _, _ in _gains(history)]
        return finite[-1] if finite else None

    def check(self, *, has_validation: bool, replicates: int) -> None:
        if self.keep == "best":
            _need_validation(self, has_validation)


@dataclass(frozen=True)
class OneStandardError:
    """Keep the shallowest depth within one standard error of the best; needs replicates.

    The standard error is that of the best depth's mean over its finite replicates, with the
    spread estimated over n - 1. Growth goes on to the largest depth, or, with `patience`, stops
    as `Plateau` does.

    Reference: Breiman, Friedman, Olshen, Stone, Classification and Regression Trees, 1984,
    section 3.4.3, where the rule picks the simplest tree; here the replicates take the place of
    the cross-validation folds.
    """

    patience: int | None = None

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise InputError(complaint("patience", "be None or at least 1", self.patience))

    def __str__(self) -> str:
        return f"one_standard_error(patience={self.patience})"

    def stop(self, history: History) -> bool:
        return self.patience is not None and Plateau(self.patience).stop(history)

    def select(self, history: History) -> int | None:
        gains = _gains(history)
        if not gains:
            return None
        _, best, score = max(gains, key=lambda gain: gain[1])
        error = score.std / math.sqrt(score.replicates)
        return next(depth for depth, value, _ in gains if value >= best - error)

    def check(self, *, has_validation: bool, replicates: int) -> None:
        _need_validation(self, has_validation)
        if replicates < 2:
            raise InputError(
                "`OneStandardError` needs `replicates` of 2 or more: one run has no spread. "
                f"Received: replicates={replicates}."
            )


def explain(history: History) -> str:
    """Why growth stopped and why this depth was kept, in one sentence."""
    chosen = history.selected_depth
    if chosen is None or history.stop_reason is None:
        return "No depth was chosen."
    score = history.scores()[chosen - 1]
    value = f"{history.monitor} {score.mean:.4f}" if score else history.monitor
    if history.search is not None:
        return (
            f"Depth {chosen} of {len(history.search['validation'])} was chosen by "
            f"{history.depth_rule} on {history.search['rows']:,} rows, then grown on all "
            f"({value})."
        )
    return (
        f"Depth {chosen} of {len(history.stages)} was kept by {history.depth_rule} "
        f"({value}); {history.stop_reason.sentence}."
    )
