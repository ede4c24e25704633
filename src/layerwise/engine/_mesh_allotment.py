"""What fits into a memory limit on several devices: all rows, or a part of them at a time."""

from __future__ import annotations

from layerwise.datasets import Split
from layerwise.engine._allotment import SHARE, order_bytes, state_bytes, too_small
from layerwise.engine._deal import DEAL_BYTES, usual_bytes
from layerwise.engine._mesh import Mesh
from layerwise.engine._order import row_bytes
from layerwise.engine._problem import Problem

_DEALS = 5
"""At a time: what is sent, what came, that in its places, and the deals before: one of the training
rows, one of those to validate on."""


def deal_bytes(problem: Problem, limit: int | None, mesh: Mesh, *splits: Split) -> int | None:
    """How many bytes of these splits a device may get at a time; None where it keeps its rows.

    Args:
        problem: whose variables every device of this process has as well.
        limit: of the whole run in each process, in bytes; None for none.
        mesh: the devices.
        splits: that are on them together.

    Raises:
        InputError: the limit does not allow the variables and one batch at a time.
    """
    if limit is None:
        return None
    devices = len(mesh.here)
    free = limit // SHARE - state_bytes(problem, devices)
    # By what the first process has: the last one may have fewer rows, and all must decide alike.
    kept = sum(mesh.each(split.rows) * row_bytes(split) for split in splits)
    if devices * (kept + _DEALS * max(usual_bytes(mesh, split) for split in splits)) <= free:
        return None
    free -= max(order_bytes(split) for split in splits)
    batch = max(mesh.each(problem.batch_size) * row_bytes(split) for split in splits)
    if free < _DEALS * devices * batch:
        raise too_small(limit, limit // SHARE - free + _DEALS * devices * batch, problem)
    return min(DEAL_BYTES, free // _DEALS // devices)
