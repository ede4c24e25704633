"""What a run leaves behind as plain numbers: a record for each stage, and why it ended."""

from __future__ import annotations

import copy
import enum
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from layerwise.errors import InputError, complaint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SCHEMA = 1

Metric: TypeAlias = float | Mapping[str, Any] | None
"""A number, None where it was not finite, or with replicates `{"mean", "std", "values"}`."""
Metrics: TypeAlias = Mapping[str, Metric]


class StopReason(enum.StrEnum):
    """Why a stage ended."""

    COMPLETED = "completed"
    EARLY_STOPPING = "early_stopping"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"


class RunStopReason(enum.StrEnum):
    """Why growth ended."""

    MAX_DEPTH = "max_depth"
    DEPTH_PLATEAU = "depth_plateau"
    BLOCKS_EXHAUSTED = "blocks_exhausted"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return {
            "max_depth": "growth reached the largest depth allowed",
            "depth_plateau": "deeper networks no longer scored better on validation",
            "blocks_exhausted": "every block of the list was used",
            "diverged": "the newest stage diverged: its loss or weights were not finite",
            "interrupted": "the run was interrupted",
        }[self.value]


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """One stage in numbers; `docs/history.md` describes each field."""

    depth: int
    objective: str
    head: str
    epochs: int
    stop_reason: StopReason
    seconds: float
    parameters: int
    train: Metrics
    validation: Metrics | None
    test: Metrics | None
    curves: Mapping[str, Sequence[float | None]]
    diverged: int | None = None
    """With replicates: how many of them diverged."""
    retries: int | None = None
    """How often it was started again at half the learning rate after a divergence."""
    message: str | None = None
    """Of a divergence: what was not finite, in which epoch, at which learning rate."""
    ledger: Mapping[str, Any] | None = None
    """Seconds by what they were spent on, operations, bytes of features, peak memory."""

    def to_dict(self) -> dict[str, Any]:
        """The record as plain values; what does not apply is left out."""
        optional = ("diverged", "retries", "message", "ledger")
        return {
            key: value
            for key, value in asdict(self).items()
            if key not in optional or value is not None
        }

    @cached_property
    def shared(self) -> dict[str, Any]:
        """`to_dict`, ready for JSON and made once: for reading only."""
        told: dict[str, Any] = finite(self.to_dict())
        return told


class Score(NamedTuple):
    """The monitored metric of one stage over its finite replicates."""

    mean: float
    std: float
    replicates: int


_HIGHER_IS_BETTER = (
    "accuracy",
    "auc",
    "precision",
    "recall",
    "f1",
    "f_beta",
    "r2",
    "iou",
    "similarity",
    "specificity",
)


def higher_is_better(metric: str) -> bool:
    """Whether a larger value of this metric is the better one; losses and errors are not.

    >>> higher_is_better("validation.accuracy"), higher_is_better("validation.loss")
    (True, False)
    """
    name = metric.rsplit(".", 1)[-1].lower()
    return any(word in name for word in _HIGHER_IS_BETTER)


def score_of(metric: Metric) -> Score | None:
    """A metric as it stands in a record, as mean, spread and count; None where not finite."""
    if isinstance(metric, Mapping):
        values = [v for v in metric["values"] if v is not None]
        if metric["mean"] is None or not values:
            return None
        return Score(float(metric["mean"]), float(metric["std"]), len(values))
    if metric is None or not math.isfinite(metric):
        return None
    return Score(float(metric), 0.0, 1)


def finite(value: Any) -> Any:
    """The same plain value with every infinity and NaN replaced by None, as JSON needs it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


@dataclass
class History:
    """The record of a whole run.

    >>> history = History(monitor="validation.accuracy")
    >>> History.from_json(history.to_json()) == history
    True
    """

    stages: list[StageRecord] = field(default_factory=list)
    selected_depth: int | None = None
    depth_rule: str = ""
    monitor: str = ""
    """`"split.metric"`, for example `"validation.accuracy"`."""
    stop_reason: RunStopReason | None = None
    fine_tune: Mapping[str, Any] | None = None
    baseline: Mapping[str, Any] | None = None
    test: Metrics | None = None
    search: Mapping[str, Any] | None = None
    """Of a search on a part of the rows: the part, the depth chosen there, and by what."""
    diagnostics: Mapping[str, Any] | None = None
    """What a look into the network found, each with a line that says how to read it."""

    def scores(self) -> list[Score | None]:
        """The monitored metric of each stage in order of depth; None for a diverged stage."""
        split, _, name = self.monitor.partition(".")
        scores: list[Score | None] = []
        for stage in self.stages:
            metrics: Metrics | None = getattr(stage, split)
            broken = stage.stop_reason == StopReason.DIVERGED or metrics is None
            scores.append(None if broken or metrics is None else score_of(metrics[name]))
        return scores

    def to_dict(self) -> dict[str, Any]:
        """The whole history as plain values, ready for JSON."""
        return copy.deepcopy(self.snapshot())

    def snapshot(self) -> dict[str, Any]:
        """`to_dict`, with records of stages that all snapshots share: for reading only.

        What a listener gets after every stage; made anew each time, the records of a thousand
        stages would take longer than training one.
        """
        optional = {"search": self.search, "diagnostics": self.diagnostics}
        told: dict[str, Any] = {
            "schema": SCHEMA,
            "stages": [],
            "selected_depth": self.selected_depth,
            "depth_rule": self.depth_rule,
            "monitor": self.monitor,
            "stop_reason": self.stop_reason,
            "fine_tune": self.fine_tune,
            "baseline": self.baseline,
            "test": self.test,
            **{name: told for name, told in optional.items() if told is not None},
        }
        return {**finite(told), "stages": list(map(attrgetter("shared"), self.stages))}

    def summary(self) -> dict[str, Any]:
        """`to_dict` without the curves: what `--json` prints."""
        whole = self.to_dict()
        for stage in whole["stages"]:
            del stage["curves"]
        return whole

    def to_json(self) -> str:
        """The history as one JSON document."""
        return json.dumps(self.to_dict(), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> History:
        """Read what `to_json` wrote.

        Raises:
            InputError: the text is no history of schema 1.
        """
        try:
            whole = json.loads(text)
            schema = whole.pop("schema")
            if schema != SCHEMA:
                raise InputError(f"Expected a history of schema {SCHEMA}. Received: {schema!r}.")
            stages = [
                StageRecord(**{**stage, "stop_reason": StopReason(stage["stop_reason"])})
                for stage in whole.pop("stages")
            ]
            reason = whole.pop("stop_reason")
            return cls(stages=stages, stop_reason=reason and RunStopReason(reason), **whole)
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError, RecursionError) as error:
            raise InputError(f"This is not a history written by layerwise: {error}.") from error

    def to_frame(self) -> Any:
        """A data frame with one row a stage, of pandas, polars or PyArrow, the first installed.

        Metrics stand in columns such as `validation.accuracy`; with replicates the column holds
        the mean, and `validation.accuracy.std` the spread.
        """
        from layerwise.frames import stage_frame

        return stage_frame(self.summary()["stages"])

    def plot_depth(self, ax: Axes | None = None) -> Axes:
        """Draw the monitored metric by depth.

        Args:
            ax: matplotlib axes to draw on; default: those of a new figure, which pyplot does not
                know, so that no window opens. `.figure` shows it in a notebook, `.figure.savefig`
                writes it.

        Returns:
            The axes: a line a split, with replicates their spread as a band, and the chosen depth.

        >>> stage = StageRecord(
        ...     depth=1, objective="supervised", head="carry", epochs=2, parameters=9,
        ...     stop_reason=StopReason.COMPLETED, seconds=0.5, train={"loss": 0.5},
        ...     validation={"loss": 0.75}, test=None, curves={"loss": [0.75, 0.5]})
        >>> ax = History([stage], monitor="validation.loss").plot_depth()
        >>> [line.get_label() for line in ax.lines]
        ['train', 'validation']
        """
        from layerwise import plots

        return plots.depth_curve(self.to_dict(), ax=ax)

    def plot_curves(self, metric: str | None = None, ax: Axes | None = None) -> Axes:
        """Draw one metric over all epochs, stage after stage.

        Args:
            metric: such as `"loss"`; default: the monitored one.
            ax: as in `plot_depth`.

        Returns:
            The axes: a line for training and one for validation, thin lines between the stages.

        Raises:
            InputError: no stage reports that metric.
        """
        from layerwise import plots

        names = list(dict.fromkeys(n for stage in self.stages for n in stage.curves))
        known = [name for name in names if not name.startswith("val_")]
        metric = self.monitor.partition(".")[2] if metric is None else metric
        if metric not in known:
            expected = f"be one that the stages report: {', '.join(known) or 'there is none'}"
            raise InputError(complaint("metric", expected, metric))
        return plots.learning_curves(self.to_dict(), metric, ax)

    plot = plot_depth
