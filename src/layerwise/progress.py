"""The events of a run, as plain values that anyone may listen to."""

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


@dataclass(frozen=True)
class StageStarted:
    depth: int
    replicate: int
    epochs: int


@dataclass(frozen=True)
class EpochsDone:
    """Some epochs of a stage are done; `epoch` of them so far, the last with these metrics."""

    epoch: int
    logs: Mapping[str, float]


@dataclass(frozen=True)
class StageFinished:
    """All replicates of a stage are trained and scored; `history` holds its record last."""

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


Event: TypeAlias = (
    RunStarted | StageStarted | EpochsDone | StageFinished | PhaseStarted | Noted | RunFinished
)
Listener: TypeAlias = Callable[[Event], None]
