"""All stages at once: each learns on the output of the one below, and sends nothing down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from layerwise._typing import Array, Tree
from layerwise.objectives._protocol import Objective, Targets, loss_of, stage_metrics


class InStep:
    """The sum of the losses of all stages, with stopped gradients between their blocks.

    What a block hands up is its output in inference mode, the features that the next stage would
    be given if it came later.

    Args:
        objectives: one for each stage, from the lowest up.
        targets: what each of them predicts.
    """

    def __init__(self, objectives: Sequence[Objective], targets: Sequence[Targets]) -> None:
        self._stages = {
            in_step(depth): pair
            for depth, pair in enumerate(zip(objectives, targets, strict=True), start=1)
        }

    def head(self, feature_shape: Any, targets: Targets) -> keras.Layer | None:
        """None: the heads are grown one by one."""
        return None

    def metrics(self, targets: Targets) -> dict[str, keras.metrics.Metric]:
        """Those that keep state, under the name of their stage."""
        return {
            f"{stage}_{name}": metric
            for stage, (objective, own) in self._stages.items()
            for name, metric in stage_metrics(objective, own).items()
        }

    def loss(
        self,
        block: Any,
        head: Any,
        x: Array,
        y: Tree,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
        sample_weight: Array | None = None,
        epoch: Array | None = None,
    ) -> tuple[Array, Mapping[str, Any]]:
        total: Any = 0.0
        metrics: dict[str, Any] = {}
        stages = zip(self._stages.items(), block.layers, strict=True)
        for (stage, (objective, _)), own_block in stages:
            loss, said = loss_of(
                objective,
                own_block,
                head.parts.get(stage),
                x,
                y.get(stage),
                seed=seed,
                training=training,
                sample_weight=sample_weight,
                epoch=epoch,
            )
            total = total + loss
            metrics[f"{stage}_loss"] = loss
            metrics |= {f"{stage}_{name}": value for name, value in said.items()}
            x = ops.stop_gradient(own_block(x, training=False))
        return total, metrics


def in_step(depth: int) -> str:
    """What a stage is called among those that train in step."""
    return f"depth_{depth}"
