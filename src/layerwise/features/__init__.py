"""The trunk's outputs for every split: what the next stage trains on, computed once.

`_features` passes the splits through block after block, so many rows at a time as `_chunks` says;
`_shelf` knows under which keys a store has them; `_memory` and `_disk` are the two places
where the outputs may lie, with the face that `_store` fixes, and `_within` chooses between them by
a memory limit; `_entry` is the format on disk, `_coding` what has fewer bits.
"""

from __future__ import annotations

from layerwise.features._chunks import least_bytes as least_bytes
from layerwise.features._coding import CACHE_DTYPES as CACHE_DTYPES
from layerwise.features._coding import Coding as Coding
from layerwise.features._disk import Disk as Disk
from layerwise.features._features import Features as Features
from layerwise.features._memory import Memory as Memory
from layerwise.features._store import Store as Store
from layerwise.features._within import Within as Within
