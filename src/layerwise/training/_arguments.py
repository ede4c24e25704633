"""From the arguments of `train` to a data set and settings."""

from __future__ import annotations

from typing import Any

from layerwise.datasets import Dataset
from layerwise.engine import make_engine
from layerwise.errors import InputError
from layerwise.growth import blocks_from
from layerwise.training._settings import (
    Settings,
    callbacks_by_depth,
    count_by_depth,
    head_policy,
    objective_by_depth,
    optimizer_by_depth,
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
    **rest: Any,
) -> tuple[Dataset, Settings]:
    """Check everything that can be checked before a block is built.

    Raises:
        InputError, InputTypeError: an argument cannot be used.
    """
    seed = whole_number("seed", seed, 0)
    if isinstance(x, Dataset):
        if any(given is not None for given in (y, validation_data, test_data, sample_weight)):
            raise InputError(
                "A Dataset brings its own labels, weights and splits. Pass `y`, "
                "`validation_data`, `test_data` and `sample_weight` to `Dataset.from_arrays`."
            )
        data = x
    else:
        data = Dataset.from_arrays(
            x,
            y,
            validation_split=validation_split,
            validation_data=validation_data,
            test_data=test_data,
            sample_weight=sample_weight,
            seed=seed,
        )
    if class_weight is not None:
        data = data.with_class_weight(class_weight)
    blocks = blocks_from(block, tuple(data.train.x.shape[1:]), str(data.train.x.dtype))
    policy, template = head_policy(head, blocks)
    settings = Settings(
        blocks=blocks,
        objective=objective_by_depth(objective),
        optimizer=optimizer_by_depth(optimizer),
        epochs=count_by_depth("epochs", epochs),
        batch_size=count_by_depth("batch_size", batch_size),
        head=policy,
        head_template=template,
        engine=make_engine(engine),
        callbacks=callbacks_by_depth(callbacks),
        seed=seed,
        max_depth=whole_number("max_depth", max_depth, 1),
        replicates=whole_number("replicates", replicates, 1),
        **rest,
    )
    settings.check(data)
    return data, settings
