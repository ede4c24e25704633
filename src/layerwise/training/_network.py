"""Networks put together of the stages that a replicate grew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

import keras

from layerwise.datasets import Dataset
from layerwise.growth import Stage, audit, stitch
from layerwise.objectives import Supervised
from layerwise.training._assemble import assembler
from layerwise.training._replica import Replica
from layerwise.training._settings import Settings


class Networks(Sequence[keras.Model | None]):
    """The network of each replicate at a depth, each put together when it is first asked for.

    Of thirty replicates most users look at one.

    Args:
        replicas: None for one that has none.
        depth: of the networks.

    Raises:
        FreezeError: a block changed since it froze.
    """

    def __init__(self, replicas: Sequence[Replica | None], depth: int) -> None:
        self._replicas, self._depth = replicas, depth
        self._made: dict[int, keras.Model] = {}
        for replica in replicas:
            if replica is not None:
                audit(replica.stages[:depth])

    @overload
    def __getitem__(self, index: int) -> keras.Model | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[keras.Model | None]: ...
    def __getitem__(self, index: int | slice) -> keras.Model | list[keras.Model | None] | None:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(
                f"There is a network for each of {len(self)} replicates. Received index {index}."
            )
        number = index % len(self)
        replica = self._replicas[number]
        if replica is None:
            return None
        if number not in self._made:
            self._made[number] = network(replica, self._depth)
        return self._made[number]

    def __len__(self) -> int:
        return len(self._replicas)


def network(replica: Replica, depth: int) -> keras.Model:
    """The stitched and compiled network of one replicate at a depth.

    Raises:
        FreezeError: a block changed since it froze.
    """
    stages = replica.stages[:depth]
    audit(stages)
    data = replica.data
    model = _stitched(replica, stages)
    compile_for(model, data, replica.settings, depth)
    return model


def untrained(replica: Replica, depth: int, seed: int) -> keras.Model:
    """The same architecture as `network` with freshly drawn weights."""
    return _stitched(replica, replica.stages[:depth], seed=seed)


def _stitched(replica: Replica, stages: Sequence[Stage], *, seed: int | None = None) -> keras.Model:
    data, objective = replica.data, replica.settings.objective(len(stages))
    shape, dtype = data.train.shape, data.train.dtype
    assemble = assembler(objective, data)
    return stitch(stages, stages[-1].predictor, shape, dtype, seed=seed, assemble=assemble)


def compile_for(model: keras.Model, data: Dataset, settings: Settings, depth: int) -> None:
    """Compile for `evaluate` and further `fit`, as far as there are labels to predict."""
    if data.labels is None:
        return
    optimizer = settings.optimizer(depth)
    optimizer.build(model.trainable_variables)
    staged = settings.objective(depth)
    objective = staged if isinstance(staged, Supervised) else settings.predictor
    classes = data.classes is not None
    loss = objective.loss_on_numbers(classes, model.output_shape[-1])
    model.compile(optimizer, loss=loss, metrics=["accuracy" if classes else "mean_squared_error"])
