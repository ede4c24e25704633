"""The grown network and those that never grew, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from layerwise.history import Metric


@dataclass(frozen=True)
class Row:
    """A network of the comparison; time and operations are those of one seed."""

    name: str
    about: str
    validation: Mapping[str, Metric]
    test: Mapping[str, Metric]
    parameters: int | None
    epochs: int
    seconds: float
    compiling: float
    """Of these seconds."""
    operations: float | None
    peak_bytes: int | None
    chosen: bool = False


def comparison_rows(history: Mapping[str, Any]) -> list[Row]:
    """The chosen network first, then every baseline; empty where there are none."""
    baselines = history["baseline"]
    if not baselines or history["selected_depth"] is None:
        return []
    return [_grown(history), *(_rival(name, one) for name, one in baselines.items())]


def _rival(name: str, record: Mapping[str, Any]) -> Row:
    ledger = record.get("ledger") or {}
    return Row(
        name=name.replace("_", " "),
        about=record.get("about", ""),
        validation=record["validation"] or {},
        test=record["test"] or {},
        parameters=record["parameters"],
        epochs=record["epochs"],
        seconds=record["seconds"],
        compiling=ledger.get("seconds", {}).get("compiling", 0.0),
        operations=ledger.get("operations"),
        peak_bytes=ledger.get("peak_bytes"),
    )


def _grown(history: Mapping[str, Any]) -> Row:
    """All of growing: stages beyond the chosen depth are part of the price."""
    depth, tuned, stages = history["selected_depth"], history["fine_tune"], history["stages"]
    kept = stages[depth - 1]
    is_tuned = bool(tuned and tuned["kept"])
    spent = [*stages, tuned] if tuned else stages
    replicates = _replicates(kept)
    whole = history["baseline"].get("end_to_end") or {}
    return Row(
        name="greedy",
        about=f"grown to depth {len(stages)}, of which {depth} kept"
        + (", then fine-tuned" if is_tuned else ""),
        validation=(tuned["validation_after"] if is_tuned else kept["validation"]) or {},
        test=history["test"] or {},
        parameters=whole.get("parameters"),
        epochs=sum(stage["epochs"] for stage in stages),
        seconds=sum(one["seconds"] for one in spent) / replicates,
        compiling=sum(
            (one.get("ledger") or {"seconds": {}})["seconds"].get("compiling", 0.0) for one in spent
        )
        / replicates,
        operations=_sum([(one.get("ledger") or {}).get("operations") for one in spent], replicates),
        peak_bytes=_largest([(one.get("ledger") or {}).get("peak_bytes") for one in spent]),
        chosen=True,
    )


def _replicates(stage: Mapping[str, Any]) -> int:
    metric = next(iter(stage["train"].values()), None)
    return len(metric["values"]) if isinstance(metric, Mapping) else 1


def _sum(values: Sequence[float | None], replicates: int) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / replicates if len(known) == len(values) else None


def _largest(values: Sequence[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)
