"""The events of a run, as plain values that anyone may listen to.

`layerwise.train(..., listeners=[...])` hands each event to each listener as it comes: perhaps some
`Noted`, then one `RunStarted`; for each depth `StageStarted` and `EpochsDone` of each replicate and
one `StageFinished`; a `PhaseStarted` and `EpochsDone` for each work outside the stages; last
`RunFinished`, also of a run that was interrupted.

>>> import keras, layerwise
>>> from layerwise.progress import StageFinished
>>> def tell(event):
...     if isinstance(event, StageFinished):
...         print("stage", event.history["stages"][-1]["depth"])
>>> result = layerwise.train(
...     layerwise.load_dataset("wine"), block=lambda depth: keras.layers.Dense(4, "relu"),
...     epochs=1, max_depth=2, verbose=0, listeners=tell)
stage 1
stage 2
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias


@dataclass(frozen=True)
class RunStarted:
    """The arguments were accepted and the first block fits; nothing is trained yet."""

    facts: Mapping[str, Any]
    """What was asked and on which data, ready for JSON."""
    monitor: str
    """The metric that chooses the depth, as `split.metric`."""
    max_depth: int
    replicates: int
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Title to SVG."""
    phases: tuple[str, ...] = ()
    """What follows growth, beside the final score."""


@dataclass(frozen=True)
class StageStarted:
    """A stage of one replicate begins, or is taken from its checkpoint."""

    depth: int
    """Counted from 1."""
    replicate: int
    """Counted from 0."""
    epochs: int
    """How many there will be at most."""


@dataclass(frozen=True)
class EpochsDone:
    """Some epochs are done: `epoch` of them so far, the last with these metrics.

    Several at once where they are short. A classifier beside a stage counts its own from 1 again.
    """

    epoch: int
    logs: Mapping[str, float]


@dataclass(frozen=True)
class StageFinished:
    """All replicates of a stage are trained and scored; `history` holds its record last, and is for
    reading only."""

    history: Mapping[str, Any]
    restored: bool = False
    """It was trained in an earlier session of a run that is resumed."""


@dataclass(frozen=True)
class PhaseStarted:
    """Work outside the stages: fine-tuning, a baseline, the final score."""

    name: str
    epochs: int


@dataclass(frozen=True)
class Noted:
    """Something that the user should know, in a sentence; the run goes on."""

    text: str


@dataclass(frozen=True)
class RunFinished:
    """The depth is chosen; `history` is complete."""

    history: Mapping[str, Any]
    explanation: str
    """Why this depth, in a sentence."""
    pictures: Mapping[str, str] = field(default_factory=dict)
    """Title to SVG."""


Event: TypeAlias = (
    RunStarted | StageStarted | EpochsDone | StageFinished | PhaseStarted | Noted | RunFinished
)
Listener: TypeAlias = Callable[[Event], None]
