"""Whether the arguments of `train` fit one another and the data."""

from __future__ import annotations

from typing import Any

from layerwise.datasets import Dataset, sampled
from layerwise.depth import DepthRule, FixedDepth
from layerwise.errors import InputError, InputTypeError, complaint
from layerwise.features import CACHE_DTYPES, least_bytes
from layerwise.finetune import FineTune
from layerwise.growth import Policy
from layerwise.memory import megabytes
from layerwise.objectives import (
    has_views,
    name_of,
    one_layer,
    predicts_targets,
)
from layerwise.training._settings import Settings
from layerwise.training._view import View

_CHOICES: dict[str, tuple[str | None, ...]] = {
    "baseline": ("none", "quick", "full"),
    "cache_dtype": (None, *CACHE_DTYPES),
    "init": ("fresh", "identity", "copy"),
    "schedule": ("sequential", "simultaneous"),
    "on_divergence": ("stop", "retry"),
}


def check_consistency(settings: Settings, data: Dataset) -> None:
    """Raise `InputError` or `InputTypeError` where something does not fit; say what."""
    for name, choices in _CHOICES.items():
        _one_of(name, getattr(settings, name), choices)
    if settings.baseline != "none" and data.labels is None:
        raise InputError("`baseline` compares predictions, so it needs labels. Pass `y`.")
    if settings.score_test_each_stage and data.test is None:
        raise InputError("`score_test_each_stage` needs `test_data`.")
    if not settings.checkpoint_every > 0:
        raise InputError(
            complaint("checkpoint_every", "be above 0 seconds", settings.checkpoint_every)
        )
    if not isinstance(settings.depth_rule, DepthRule):
        raise InputTypeError(
            complaint("depth_rule", "have the methods stop, select and check", settings.depth_rule)
        )
    settings.depth_rule.check(
        has_validation=data.validation is not None, replicates=settings.replicates
    )
    _check_memory(settings, data)
    _check_search(settings, data)
    _check_schedule(settings)
    _check_window(settings)
    _check_augmentation(settings)
    if settings.fine_tune is not None:
        if not isinstance(settings.fine_tune, FineTune):
            raise InputTypeError(complaint("fine_tune", "be a FineTune", settings.fine_tune))
        settings.fine_tune.check(data)
        if settings.fine_tune.when != "after":
            _check_trunk(settings, settings.fine_tune, data)


def _one_of(name: str, value: Any, choices: tuple[str | None, ...]) -> None:
    if value not in choices:
        *most, last = [f'"{choice}"' if choice else "None" for choice in choices]
        raise InputError(complaint(name, f"be {', '.join(most)} or {last}", value))


def _check_memory(settings: Settings, data: Dataset) -> None:
    """Whether features can be computed; the engine says whether the stage can be trained."""
    limit, least = settings.memory_limit, least_bytes(data.splits)
    if limit is not None and limit < least:
        raise InputError(
            f"`memory_limit` is {limit:,} bytes, and features are computed {megabytes(least)} "
            "at a time. Allow so many at least."
        )


def _check_search(settings: Settings, data: Dataset) -> None:
    fraction = settings.search_fraction
    if fraction is None:
        return
    if not isinstance(fraction, float) or not 0 < fraction < 1:
        raise InputError(complaint("search_fraction", "lie between 0 and 1", fraction))
    if data.validation is None:
        raise InputError("`search_fraction` chooses the depth, and there is no validation data.")
    if settings.depth_rule == FixedDepth(keep="last"):
        raise InputError(
            'With `FixedDepth(keep="last")` there is no depth to search for: leave out '
            "`search_fraction`."
        )
    sampled(data, fraction, settings.seed)


def _check_schedule(settings: Settings) -> None:
    usual = (settings.policy, settings.init, settings.head) == (Policy(), "fresh", "fresh")
    if settings.schedule == "simultaneous" and not usual:
        raise InputError(
            'With `schedule="simultaneous"` all stages start at once, each with a head of its '
            "own: `window`, `freeze`, `init` and `head` have no meaning."
        )


def _check_window(settings: Settings) -> None:
    settings.policy.check(settings.max_depth)
    for depth in range(2, settings.deepest + 1):
        objective = settings.objective(depth)
        if settings.policy.lowest(depth) < depth and one_layer(objective):
            raise InputError(
                f'"{name_of(objective)}" needs a block that is one Dense layer, so no two train '
                "together: leave out `window` and `freeze`."
            )


def _check_augmentation(settings: Settings) -> None:
    first = settings.objective(1)
    if has_views(first) and (settings.augment is not None or settings.schedule == "simultaneous"):
        raise InputError(
            f'"{name_of(first)}" trains on cached views of its own, stage by stage: neither '
            '`augment` nor `schedule="simultaneous"` goes with it.'
        )
    for name in ("cache_dir", "cache_dtype"):
        if settings.augment is not None and getattr(settings, name) is not None:
            raise InputError(
                "`augment` changes the rows in every epoch, so no features can be cached. Leave "
                f"out `{name}`, or cache augmented copies with `augment_views`."
            )


def _check_trunk(settings: Settings, spec: FineTune, data: Dataset) -> None:
    """Whether the objectives can train all blocks at once on the data, and leave a classifier to be
    added."""
    objectives = [settings.objective(depth) for depth in range(1, settings.deepest + 1)]
    for depth, objective in enumerate(objectives, start=1):
        what = f'`FineTune(when="{spec.when}")` cannot go with "{name_of(objective)}"'
        if predicts_targets(objective):
            raise InputError(f"{what}: its stages predict the labels already.")
        if has_views(objective) or (depth > 1 and one_layer(objective)):
            raise InputError(f"{what}: it trains a single layer, not several together.")
    raw = View(data, ["train"], settings.engine)
    for objective in objectives:
        rows = raw.rows("train", objective)
        raw.check(objective, rows)
