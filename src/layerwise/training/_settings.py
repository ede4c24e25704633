"""The arguments of `train`, checked and brought into one form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from layerwise._typing import HeadPolicy
from layerwise.depth import DepthRule
from layerwise.diagnostics import NAMES
from layerwise.engine import Engine
from layerwise.errors import InputError, InputTypeError, complaint
from layerwise.finetune import FineTune
from layerwise.growth import Blocks, Policy, copy_layer
from layerwise.objectives import Objective, Supervised, by_name
from layerwise.optimizers import described, fresh
from layerwise.progress import Listener


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything about a run but its data. Whatever may depend on depth is a callable of depth."""

    blocks: Blocks
    objective: Callable[[int], Objective]
    optimizer: Callable[[int], keras.Optimizer]
    epochs: Callable[[int], int]
    batch_size: Callable[[int], int]
    max_depth: int
    depth_rule: DepthRule
    head: HeadPolicy
    head_template: Callable[[int], keras.Layer] | None
    monitor: str | None
    fine_tune: FineTune | None
    replicates: int
    seed: int
    engine: Engine
    callbacks: Callable[[int], Sequence[keras.callbacks.Callback]]
    score_test_each_stage: bool
    baseline: str
    on_divergence: str = "stop"
    checkpoint_every: float = 30.0
    cache_dir: Path | None = None
    cache_limit: int | None = None
    memory_limit: int | None = None
    cache_dtype: str | None = None
    policy: Policy = field(default_factory=Policy)
    init: str = "fresh"
    schedule: str = "sequential"
    augment: Callable[[int], keras.Layer] | None = None
    search_fraction: float | None = None
    diagnostics: tuple[str, ...] = ()
    predictor: Supervised = field(default_factory=Supervised)
    """What trains a classifier or regressor where the objective's own head is none."""

    @property
    def deepest(self) -> int:
        """The most stages that there can be."""
        return min(self.max_depth, self.blocks.count or self.max_depth)


def objective_by_depth(value: Any) -> Callable[[int], Objective]:
    """Read `objective`: a name, an object, or a callable of depth that gives either."""

    if isinstance(value, str | type | Objective):
        fixed = by_name(value)
        return lambda depth: fixed
    if callable(value):
        return lambda depth: by_name(value(depth))
    return lambda depth: by_name(value)


def whole_number(name: str, value: Any, least: int) -> int:
    """A whole number of at least `least`.

    Raises:
        InputError: it is none, or smaller.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__") or value.__index__() < least:
        raise InputError(complaint(name, f"be a whole number of at least {least}", value))
    return int(value)


def count_by_depth(name: str, value: Any) -> Callable[[int], int]:
    """Read a whole number of at least 1, or a callable of depth that gives one."""
    if callable(value):
        return lambda depth: whole_number(name, value(depth), 1)
    fixed = whole_number(name, value, 1)
    return lambda depth: fixed


def head_policy(value: Any, blocks: Blocks) -> tuple[HeadPolicy, Callable[[int], Any] | None]:
    """Read `head`: what happens to the head between stages, and what it is made from."""
    template = blocks.head
    from_template = None if template is None else lambda depth: copy_layer(template)
    if value in ("carry", "fresh", "frozen"):
        return value, from_template
    if callable(value) and not isinstance(value, (keras.Layer, type)):
        return "fresh", value
    raise InputError(
        complaint("head", 'be "carry", "fresh", "frozen" or a callable of depth', value)
    )


def augmentation_from(value: Any) -> Callable[[int], keras.Layer] | None:
    """Read `augment`: a preprocessing layer or several; every call gives a copy from a seed."""
    if value is None:
        return None
    several = isinstance(value, Sequence) and not isinstance(value, str)
    given = list(value) if several else [value]
    for layer in given:
        if not isinstance(layer, keras.Layer):
            raise InputTypeError(
                complaint("augment", "be a Keras preprocessing layer or a list of them", layer)
            )
        if layer.trainable_variables:
            raise InputError(f"`augment` has weights to train in {layer.name}: nothing would.")

    def fresh(seed: int) -> keras.Layer:
        return keras.Sequential([copy_layer(layer, seed + i) for i, layer in enumerate(given)])

    return fresh


def callbacks_by_depth(value: Any) -> Callable[[int], Sequence[keras.callbacks.Callback]]:
    """Read `callbacks`: a sequence, copied for every stage, or a callable of depth.

    A copy is shallow: a counter starts anew in each stage, while a list that the callback appends
    to is the user's own.
    """
    import copy

    def checked(given: Any) -> list[keras.callbacks.Callback]:
        if isinstance(given, keras.callbacks.Callback):
            given = [given]
        if not isinstance(given, Sequence):
            raise InputTypeError(complaint("callbacks", "be Keras callbacks", given))
        for callback in given:
            if not isinstance(callback, keras.callbacks.Callback):
                raise InputTypeError(complaint("callbacks", "be Keras callbacks", callback))
        return list(given)

    if callable(value) and not isinstance(value, keras.callbacks.Callback):
        return lambda depth: checked(value(depth))
    fixed = checked(value)
    return lambda depth: [copy.copy(callback) for callback in fixed]


def listeners_from(value: Any) -> tuple[Listener, ...]:
    """Read `listeners`: a callable, or a sequence of them."""
    given = (value,) if callable(value) else value
    if not isinstance(given, Sequence) or isinstance(given, str):
        expected = "be a callable that takes an event, or a sequence of them"
        raise InputTypeError(complaint("listeners", expected, value))
    for listener in given:
        if not callable(listener) or isinstance(listener, type | keras.callbacks.Callback):
            advice = "Keras callbacks go into `callbacks`, and a class is to be called first."
            expected = "hold callables that take an event"
            raise InputTypeError(complaint("listeners", expected, listener, advice))
    return tuple(given)


def diagnostics_from(value: Any) -> tuple[str, ...]:
    """Read `diagnostics`: True for all, False for none, a name or several."""
    if isinstance(value, bool):
        return NAMES if value else ()
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, Sequence) or not set(given) <= set(NAMES):
        raise InputError(
            complaint("diagnostics", f"be True, False or some of {', '.join(NAMES)}", value)
        )
    return tuple(name for name in NAMES if name in given)


def described_tuning(spec: FineTune) -> dict[str, Any]:
    """A fine-tuning as plain values; what was left at its default, beside the first two, is not
    told."""
    told: dict[str, Any] = {
        "learning_rate": spec.learning_rate,
        "epochs": spec.epochs,
        "when": spec.when,
    }
    if spec.optimizer is not None:
        told["optimizer"] = described(fresh(spec.optimizer))
    usual = FineTune()
    for name in ("head", "batch_size", "patience", "top", "gradual", "layer_decay"):
        if getattr(spec, name) != getattr(usual, name):
            told[name] = getattr(spec, name)
    return told
