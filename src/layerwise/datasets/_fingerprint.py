"""What tells one data set from another."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from layerwise.datasets._mapped import looked_through
from layerwise.datasets._split import Split

if TYPE_CHECKING:
    from layerwise.datasets._dataset import Dataset


def every_split(data: Dataset) -> dict[str, Split]:
    """The splits that are there, by name, and the rows without labels."""
    more = {} if data.unlabeled is None else {"unlabeled": data.unlabeled}
    return {**data.splits, **more}


def fingerprint_of(data: Dataset) -> str:
    """SHA-256 over every split: names, shapes, types, bytes and what these stand for."""
    whole = hashlib.sha256()
    if data.classes is not None:
        whole.update(repr(data.classes.tolist()).encode())
    for name, split in every_split(data).items():
        whole.update(b"pixels" * split.pixels)
        for part, array in split.tree().items():
            whole.update(f"{name}.{part}{array.dtype}{array.shape}".encode())
            looked_through(array, lambda rows: whole.update(np.ascontiguousarray(rows).data))
    if data.preparation is not None:
        whole.update(data.preparation.to_json().encode())
    return whole.hexdigest()
