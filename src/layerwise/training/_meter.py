"""Where the time of a stage goes, and what it computes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from layerwise.engine import Engine, Problem, Result, compile_seconds, matrix_rate
from layerwise.growth import Frozen
from layerwise.peak import forget_peak, peak_bytes


class Meter:
    """Adds up seconds by what they were spent on, operations and bytes, from `start` on.

    Args:
        engine: what computes.
        counts: whether to count operations, which takes a moment for every new shape.
    """

    def __init__(self, engine: Engine, counts: bool = False) -> None:
        self._engine, self.counts = engine, counts
        self._sees_peak = False
        self._forget()

    def start(self) -> None:
        """Begin anew, the peak of memory too."""
        self._forget()
        self._sees_peak = forget_peak()

    def _forget(self) -> None:
        self._seconds: dict[str, float] = defaultdict(float)
        self._operations: float | None = 0.0 if self.counts else None
        self._feature_bytes = 0

    @contextmanager
    def spent_on(self, what: str) -> Iterator[None]:
        """Time that goes to `what`, less that of spans inside this one, and of compiling."""
        before, compiled = dict(self._seconds), compile_seconds()
        started = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - started
            spent -= sum(self._seconds.values()) - sum(before.values())
            # Programs compile in this thread, those of spans inside in theirs.
            inside = self._seconds["compiling"] - before.get("compiling", 0.0)
            compiling = min(compile_seconds() - compiled - inside, spent)
            self._seconds["compiling"] += compiling
            self._seconds[what] += spent - compiling

    def trained(self, problem: Problem, result: Result) -> None:
        """Count the steps of a training, and its looks at the validation rows."""
        if self._operations is None:
            return
        each = self._engine.operations(problem)
        if each is None:
            self._operations = None
            return
        held = 0 if problem.validation is None else problem.validation.rows
        batches = problem.train.rows * each.train + held * each.look
        self._operations += result.epochs * batches / min(problem.batch_size, problem.train.rows)

    def earlier(self, seconds: float) -> None:
        """What an earlier session of a resumed run has spent on training."""
        self._seconds["training"] += seconds

    def uncounted(self) -> None:
        """Something was computed that nobody counted."""
        self._operations = None

    def passed(self, block: Frozen, shape: tuple[int, ...], dtype: str, rows: int) -> None:
        """Count the rows that passed a frozen block."""
        if self._operations is not None:
            each = self._engine.forward_operations(block.layer, shape, dtype)
            self._operations = None if each is None else self._operations + rows * each

    def holds(self, feature_bytes: int) -> None:
        """So many bytes of features are what the stage trains on."""
        self._feature_bytes = max(self._feature_bytes, feature_bytes)

    def read(self) -> dict[str, Any]:
        """The ledger so far, as `docs/history.md` describes it."""
        return {
            "seconds": {name: max(0.0, spent) for name, spent in sorted(self._seconds.items())},
            "operations": self._operations,
            "matrix_rate": None if self._operations is None else matrix_rate(),
            "feature_bytes": self._feature_bytes,
            "peak_bytes": peak_bytes() if self._sees_peak else None,
        }


def together(ledgers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The ledger of several replicates: sums, and the largest of what is held at a time."""
    names = {name for ledger in ledgers for name in ledger["seconds"]}
    counted = [ledger["operations"] for ledger in ledgers]
    rates = [ledger["matrix_rate"] for ledger in ledgers if ledger.get("matrix_rate")]
    peaks = [ledger["peak_bytes"] for ledger in ledgers if ledger["peak_bytes"] is not None]
    return {
        "seconds": {
            n: sum(ledger["seconds"].get(n, 0.0) for ledger in ledgers) for n in sorted(names)
        },
        "operations": None if None in counted else sum(counted),
        "matrix_rate": max(rates, default=None),
        "feature_bytes": max(ledger["feature_bytes"] for ledger in ledgers),
        "peak_bytes": max(peaks, default=None),
    }
