"""What a training hands back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from layerwise import depth as depths
from layerwise import files
from layerwise.checkpoint import draw
from layerwise.errors import InputError, complaint
from layerwise.growth import audit, early_exits, ensemble, path
from layerwise.history import History, Metrics
from layerwise.training._assemble import assembler
from layerwise.training._facts import run_facts
from layerwise.training._network import compile_for, network
from layerwise.training._pictures import Pictures
from layerwise.training._replica import Replica


@dataclass(repr=False)
class TrainResult(Pictures):
    """The networks that were grown, the one that was chosen, and the record of it all.

    Attributes:
        history: the record; `history.to_frame()`, `history.plot_curves()`,
            `history.to_json()`.
        models: the network at the chosen depth of each replicate, fine-tuned if that was kept, and
            else put together when it is first asked for; None for a replicate that diverged before
            that depth.
        classes: the labels in the order of the model's outputs; None for values or without labels.
        run_dir: the run folder, or None.
    """

    history: History
    models: Sequence[keras.Model | None]
    classes: Any
    run_dir: Path | None
    best: int = 0
    """Which of `models` is `model`: the replicate with the best monitored metric."""
    _replicas: Sequence[Replica] = field(default_factory=list)
    _drawn: Mapping[str, str] = field(default_factory=dict)
    """Pictures of the diagnostics for the report, title to SVG."""

    def __repr__(self) -> str:
        return f"TrainResult({depths.explain(self.history)})"

    @property
    def model(self) -> keras.Model:
        """The chosen network: a plain Keras model, compiled, ready for `predict` and `save`."""
        model = self.models[self.best]
        assert model is not None
        return model

    @property
    def selected_depth(self) -> int:
        """How many blocks the chosen network has."""
        chosen = self.history.selected_depth
        assert chosen is not None
        return chosen

    @property
    def test(self) -> Metrics | None:
        """The metrics of the chosen model on the test data, or None without test data."""
        return self.history.test

    def model_at(self, depth: int) -> keras.Model:
        """The network as it stood at a depth, counted from 1, before any fine-tuning.

        Raises:
            InputError: that depth was not reached.
        """
        replica = self._replicas[self.best]
        if not 1 <= depth <= len(replica.stages):
            raise InputError(complaint("depth", f"lie in 1 to {len(replica.stages)}", depth))
        return network(replica, depth)

    def early_exits(self) -> keras.Model:
        """What every depth up to the chosen one predicts, in one pass, before any fine-tuning.

        Returns:
            A plain Keras model, not compiled, whose output is `{"depth_1": ..., "depth_2": ...}`.

        Raises:
            InputError: there are no labels, or no one trunk that all heads fit.

        Example:
            >>> import keras, layerwise
            >>> data = layerwise.load_dataset("wine")
            >>> result = layerwise.train(
            ...     data, block=lambda depth: keras.layers.Dense(8, "relu"), epochs=2,
            ...     max_depth=2, depth_rule=layerwise.FixedDepth("last"), verbose=0)
            >>> sorted(result.early_exits()(data.test.x))
            ['depth_1', 'depth_2']
        """
        replica = self._replicas[self.best]
        stages = replica.stages[: self.selected_depth]
        audit(stages)
        if assembler(replica.settings.objective(len(stages)), replica.data) is not None:
            raise InputError("The networks of this objective are no chain, so it has no exits.")
        shape, dtype = replica.data.train.shape, replica.data.train.dtype
        return early_exits(stages, shape, dtype)

    def ensemble(self, weights: Sequence[float] | None = None) -> keras.Model:
        """The weighted mean of what all depths up to the chosen one predict.

        Args:
            weights: for each depth, from the lowest, 0 or more; default: 1, 2, 4, ..., as deeper
                heads know more.

        Returns:
            A plain Keras model, compiled; one pass gives all predictions.

        Raises:
            InputError: as `early_exits`, or the weights do not fit.

        Reference: Belilovsky, Eickenberg, Oyallon, Greedy Layerwise Learning Can Scale to ImageNet,
        2019. There, too, each weight is twice the one below (from memory).
        """
        depth = self.selected_depth
        given = [2.0**i for i in range(depth)] if weights is None else list(weights)
        if len(given) != depth or not all(0 <= w < math.inf for w in given) or not sum(given):
            raise InputError(
                complaint("weights", f"be {depth} finite numbers of at least 0, not all 0", weights)
            )
        replica = self._replicas[self.best]
        model = ensemble(self.early_exits(), given)
        compile_for(model, replica.data, replica.settings, depth)
        return model

    def report(self, path: str | Path) -> None:
        """Write the report of the run: one HTML file that needs no network.

        Args:
            path: of the file, such as `"report.html"`.
        """
        replica = self._replicas[self.best]
        facts = run_facts(replica.data, replica.settings)
        said = depths.explain(self.history)
        files.write_text(Path(path), draw(self.history.to_dict(), facts, said, self._drawn)[1])

    @property
    def blocks(self) -> list[keras.Layer]:
        """The blocks of the network at the chosen depth, from the lowest up, before any
        fine-tuning."""
        stages = self._replicas[self.best].stages[: self.selected_depth]
        return [block.layer for block in path(stages)]


def best_replicate(values: Sequence[float | None], higher: bool) -> int:
    """The index of the best finite value; 0 where there is none."""
    finite: Mapping[int, float] = {i: v for i, v in enumerate(values) if v is not None}
    if not finite:
        return 0
    return (max if higher else min)(finite, key=lambda index: finite[index])
