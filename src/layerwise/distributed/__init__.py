"""Several processes that work on one run: how they meet, talk, and notice that one is gone.

`_link` sends messages over one connection, `_meeting` brings the processes together, `_star`
notices who is gone, `_peers` is what a run sees of the others, `_start` starts JAX in all of them.
"""

from __future__ import annotations

from layerwise.distributed._peers import Peers as Peers
from layerwise.distributed._start import TIMEOUT as TIMEOUT
from layerwise.distributed._start import Place as Place
from layerwise.distributed._start import agreed as agreed
from layerwise.distributed._start import join as join
from layerwise.distributed._start import leads as leads
from layerwise.distributed._start import peers as peers
from layerwise.distributed._start import several as several
