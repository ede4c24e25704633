"""What a run leaves on disk, and how a later session goes on from it.

`_folder` is the run folder, `_sums` vouches for its files, `_journal` keeps the trainings that are
done and the one in progress, `_shared` tells all processes of a run what it holds, `_format` is one
checkpoint as files, `_network` the chosen network as data, `_network_file` a network as one file to
give away, `_events` the log of what happened, `_pages` what it shows.
"""

from __future__ import annotations

from layerwise.checkpoint._folder import PREPARATION as PREPARATION
from layerwise.checkpoint._folder import NoFolder as NoFolder
from layerwise.checkpoint._folder import Room as Room
from layerwise.checkpoint._folder import RunFolder as RunFolder
from layerwise.checkpoint._journal import Journal as Journal
from layerwise.checkpoint._journal import RunWatch as RunWatch
from layerwise.checkpoint._network import load as load
from layerwise.checkpoint._network import load_exits as load_exits
from layerwise.checkpoint._network_file import read_network as read_network
from layerwise.checkpoint._network_file import write_network as write_network
from layerwise.checkpoint._pages import PICTURES as PICTURES
from layerwise.checkpoint._pages import draw as draw
from layerwise.checkpoint._shared import SharedJournal as SharedJournal
from layerwise.checkpoint._sums import read_finished as read_finished
from layerwise.checkpoint._sums import read_sums as read_sums
