"""Is pretraining worth it? Test scores by number of labels, with and without it."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from layerwise import plots
from layerwise.datasets import Dataset
from layerwise.depth import FixedDepth
from layerwise.errors import InputError, complaint
from layerwise.finetune import FineTune
from layerwise.history import higher_is_better, score_of
from layerwise.optimizers import at_rate, fresh, optimizer_by_depth
from layerwise.training import train

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class LabelCurve:
    """Test scores by number of labels.

    Attributes:
        metric: `accuracy` or `mean_squared_error`, on the test rows.
        counts: numbers of labels, validation included.
        pretrained: for each count one score a seed, of the network grown without labels on all
            rows and then fine-tuned.
        scratch: the same network from random weights, trained like the fine-tuning.
    """

    metric: str
    counts: tuple[int, ...]
    pretrained: tuple[tuple[float, ...], ...]
    scratch: tuple[tuple[float, ...], ...]

    def gains(self) -> list[tuple[float, float]]:
        """For each count by how much pretraining is better: mean and spread over the seeds.

        A pair of runs has the same rows with labels. The spread is the standard deviation of the
        differences, 0 for a single seed.
        """
        sign = 1 if higher_is_better(self.metric) else -1
        gains = []
        for ours, theirs in zip(self.pretrained, self.scratch, strict=True):
            pairs = [sign * (a - b) for a, b in zip(ours, theirs, strict=True)]
            spread = statistics.stdev(pairs) if len(pairs) > 1 else 0.0
            gains.append((statistics.fmean(pairs), spread))
        return gains

    def verdict(self) -> list[str]:
        """A sentence for each count."""
        points = self.metric == "accuracy"
        said = []
        for count, (mean, spread) in zip(self.counts, self.gains(), strict=True):
            shown = f"{100 * mean:+.2f} points (spread {100 * spread:.2f})"
            if not points:
                shown = f"{mean:+.4g} (spread {spread:.4g})"
            helps = "helps" if mean > spread else "hurts" if -mean > spread else "changes little"
            said.append(f"{count} labels: pretraining {helps}, {shown}.")
        return said

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "schema": 1,
            "metric": self.metric,
            "labels": list(self.counts),
            "pretrained": [list(scores) for scores in self.pretrained],
            "scratch": [list(scores) for scores in self.scratch],
            "verdict": self.verdict(),
        }

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw the means with their spread over the seeds, and return the matplotlib axes."""
        curves = {"pretrained": self.pretrained, "from random weights": self.scratch}
        return plots.label_curve(self.counts, curves, self.metric, ax)


def label_curve(
    data: Dataset,
    counts: Sequence[int],
    *,
    seeds: int = 5,
    validation_split: float = 0.2,
    listen: Callable[[LabelCurve, str], None] = lambda curve, done: None,
    **arguments: Any,
) -> LabelCurve:
    """Train at several numbers of labels, with and without stages that need none.

    For each count and seed, so many rows keep their labels and all others lose them. Once the
    network grows on all rows by the objective, and is fine-tuned on the labels; once the same
    network is trained from random weights as the fine-tuning does. Both are scored on the test
    rows.

    Args:
        data: with labels and test rows.
        counts: numbers of labels; a share `validation_split` of them chooses the best epoch.
        seeds: how often, each with other rows and other weights.
        validation_split: above 0.
        listen: called after each pair of runs with the curve so far and a line about the pair.
        **arguments: of `layerwise.train`; `objective` must need no labels, and `fine_tune` and
            `max_depth` must be given.

    Raises:
        InputError: there is nothing to compare, or too few rows.

    Example:
        >>> import keras, layerwise
        >>> curve = layerwise.label_curve(
        ...     layerwise.load_dataset("digits"), [50, 200], seeds=1, objective="reconstruction",
        ...     block=lambda depth: keras.layers.Dense(32, "relu"), max_depth=1, epochs=2,
        ...     fine_tune=layerwise.FineTune(1e-2, epochs=2))
        >>> curve.counts
        (50, 200)
    """
    check(data, counts, seeds, arguments)
    metric = "mean_squared_error" if data.classes is None else "accuracy"
    ours: list[tuple[float, ...]] = [()] * len(counts)
    theirs: list[tuple[float, ...]] = [()] * len(counts)
    # Another rule might compare networks of different depths.
    fixed = {"depth_rule": FixedDepth(keep="last"), "verbose": 0}
    for seed in range(seeds):
        for i, count in enumerate(counts):
            few = data.with_labels(count, validation_split=validation_split, seed=seed)
            pair = [
                _score(train(few, **{**how, "seed": seed, **fixed}).test, metric)
                for how in (arguments, from_scratch(arguments, metric))
            ]
            ours[i], theirs[i] = (*ours[i], pair[0]), (*theirs[i], pair[1])
            done = sum(1 for scores in ours if scores)
            curve = LabelCurve(
                metric, tuple(counts[:done]), tuple(ours[:done]), tuple(theirs[:done])
            )
            listen(
                curve,
                f"{count} labels, seed {seed}: {metric.replace('_', ' ')} {pair[0]:.4f} "
                f"pretrained, {pair[1]:.4f} from random weights",
            )
    return curve


def check(data: Dataset, counts: Sequence[int], seeds: int, arguments: Mapping[str, Any]) -> None:
    """Raise `InputError` where there is nothing to compare."""
    if data.labels is None or data.test is None:
        raise InputError("A label curve needs labels and test rows: pass a Dataset with both.")
    if not isinstance(arguments.get("fine_tune"), FineTune):
        raise InputError("A label curve compares fine-tuned networks: pass `fine_tune=FineTune()`.")
    if arguments.get("objective", "supervised") == "supervised":
        raise InputError(
            "A label curve compares stages that need no labels with none: pass an objective such "
            'as "reconstruction".'
        )
    if not callable(arguments.get("block")) or isinstance(arguments["block"], keras.Layer):
        raise InputError("A label curve builds the network twice: pass `block` as a callable.")
    if not counts or any(count < 2 for count in counts):
        raise InputError(complaint("counts", "be numbers of at least 2", list(counts)))
    if seeds < 1:
        raise InputError(complaint("seeds", "be at least 1", seeds))


def from_scratch(arguments: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """The arguments that train the same network as one block, as the fine-tuning would."""
    tune: FineTune = arguments["fine_tune"]
    stages = optimizer_by_depth(arguments.get("optimizer", "adam"))
    block, depth = arguments["block"], arguments.get("max_depth", 10)

    def whole(_: int) -> keras.Layer:
        return keras.Sequential([block(d) for d in range(1, depth + 1)])

    optimizer = fresh(tune.optimizer) if tune.optimizer else stages(depth)
    given = {
        "block": whole,
        "max_depth": 1,
        "objective": "supervised",
        "optimizer": at_rate(optimizer, tune.learning_rate),
        "epochs": tune.epochs,
        "callbacks": lambda _: tune.stopping(metric),
        "fine_tune": None,
    }
    batch = tune.batch_size or arguments.get("batch_size")
    shared = ("engine", "augment", "on_divergence", "class_weight")
    kept = {name: arguments[name] for name in shared if name in arguments}
    return {**kept, **given, **({} if batch is None else {"batch_size": batch})}


def _score(metrics: Any, metric: str) -> float:
    score = score_of(metrics[metric])
    assert score is not None
    return score.mean
