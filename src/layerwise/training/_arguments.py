"""From the arguments of `train` to a data set and settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from layerwise._random import Stream, derive
from layerwise.datasets import Dataset, augmented, weighted
from layerwise.engine import make_engine
from layerwise.errors import InputError
from layerwise.growth import Policy, blocks_from
from layerwise.memory import bytes_from, return_freed_memory
from layerwise.optimizers import optimizer_by_depth
from layerwise.training._consistency import check_consistency
from layerwise.training._settings import (
    Settings,
    augmentation_from,
    callbacks_by_depth,
    count_by_depth,
    diagnostics_from,
    head_policy,
    objective_by_depth,
    whole_number,
)


def read_arguments(
    x: Any,
    y: Any,
    *,
    block: Any,
    objective: Any,
    optimizer: Any,
    epochs: Any,
    batch_size: Any,
    head: Any,
    engine: Any,
    callbacks: Any,
    validation_split: float,
    validation_data: Any,
    test_data: Any,
    sample_weight: Any,
    class_weight: Any,
    seed: int,
    max_depth: int,
    replicates: int,
    window: int,
    freeze: Any,
    augment: Any,
    augment_views: int | None,
    unlabeled: Any,
    unlabeled_label: Any,
    diagnostics: Any,
    memory_limit: Any,
    **rest: Any,
) -> tuple[Dataset, Settings]:
    """Check everything that can be checked before a block is built.

    Raises:
        InputError, InputTypeError: an argument cannot be used.
    """
    seed = whole_number("seed", seed, 0)
    limit = None if memory_limit is None else bytes_from("memory_limit", memory_limit)
    if limit is not None:
        return_freed_memory()
    parts = {
        "y": y,
        "validation_data": validation_data,
        "test_data": test_data,
        "sample_weight": sample_weight,
        "unlabeled": unlabeled,
        "unlabeled_label": unlabeled_label,
    }
    data = _dataset(x, parts, validation_split=validation_split, seed=seed, memory_limit=limit)
    if class_weight is not None:
        data = weighted(data, class_weight)
    augmentation = augmentation_from(augment)
    if augment_views is not None:
        data, augmentation = _augmented(data, augmentation, augment_views, seed), None
    blocks = blocks_from(block, data.train.shape, data.train.dtype)
    policy, template = head_policy(head, blocks)
    if rest["schedule"] == "simultaneous" and policy == "carry":
        policy = "fresh"  # The default; there is no trained head below to carry.
    settings = Settings(
        blocks=blocks,
        objective=objective_by_depth(objective),
        optimizer=optimizer_by_depth(optimizer),
        epochs=count_by_depth("epochs", epochs),
        batch_size=count_by_depth("batch_size", batch_size),
        head=policy,
        head_template=template,
        engine=make_engine(engine, limit),
        callbacks=callbacks_by_depth(callbacks),
        seed=seed,
        max_depth=whole_number("max_depth", max_depth, 1),
        replicates=whole_number("replicates", replicates, 1),
        policy=Policy(whole_number("window", window, 1), freeze),
        augment=augmentation,
        diagnostics=diagnostics_from(diagnostics),
        memory_limit=limit,
        **rest,
    )
    check_consistency(settings, data)
    return data, settings


def _dataset(x: Any, parts: Mapping[str, Any], **options: Any) -> Dataset:
    """The data of a run: a `Dataset` as it is, or one of arrays."""
    if not isinstance(x, Dataset):
        return Dataset.from_arrays(x, **parts, **options)
    if any(given is not None for given in parts.values()):
        raise InputError(
            "A Dataset brings its own labels, weights and splits. Pass `y`, `validation_data`, "
            "`test_data`, `sample_weight`, `unlabeled` and `unlabeled_label` to "
            "`Dataset.from_arrays`."
        )
    return x


def _augmented(
    data: Dataset, augmentation: Callable[[int], Any] | None, views: Any, seed: int
) -> Dataset:
    """The data with so many augmented copies of every training row in place of the row."""
    count = whole_number("augment_views", views, 1)
    if augmentation is None:
        raise InputError("`augment_views` needs `augment`, the layers that make the views.")
    layer = augmentation(derive(seed, Stream.AUGMENTATION))
    return augmented(data, count, lambda rows: layer(rows, training=True))
