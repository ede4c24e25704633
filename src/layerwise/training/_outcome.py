"""What one replicate reports of one stage, and the same as plain facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from layerwise.engine import Snapshot
from layerwise.history import StopReason, finite
from layerwise.training._trained import number


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one replicate reports of one stage."""

    objective: str
    head: str
    parameters: int
    epochs: int
    stop_reason: StopReason
    message: str
    seconds: float
    metrics: Mapping[str, Mapping[str, float]]
    """Split to metric to value; NaN where the stage diverged."""
    curves: Mapping[str, Sequence[float]]
    retries: int = 0
    """How often the stage was started again at half the learning rate."""
    ledger: Mapping[str, Any] = field(default_factory=dict)
    """Seconds by what they were spent on, operations and bytes."""
    restored: bool = False
    """It was trained in an earlier session."""

    def snapshot(self) -> Snapshot:
        """The outcome as facts to keep."""
        return Snapshot({}, {"outcome": finite(asdict(self))})

    @classmethod
    def restored_from(cls, snapshot: Snapshot) -> Outcome:
        """What `snapshot` kept."""
        kept = snapshot.facts["outcome"]
        metrics = {
            split: {name: number(value) for name, value in values.items()}
            for split, values in kept["metrics"].items()
        }
        curves = {name: [number(v) for v in values] for name, values in kept["curves"].items()}
        reason = StopReason(kept["stop_reason"])
        changed = {"metrics": metrics, "curves": curves, "stop_reason": reason, "restored": True}
        return cls(**{**kept, **changed})
