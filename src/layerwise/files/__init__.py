"""The only room that writes: whole files or folders or nothing, each with its hash.

`_system` is every call that changes the disk, `_write` what is built of them, `_lines` a log that
grows, `_read` how files that a stranger may have touched are opened, `_folder` what a run may use,
`_lock` who owns it, `_owner` what a lock says, `_scratch` files that nobody else sees.
"""

from __future__ import annotations

from layerwise.files._folder import check_folder as check_folder
from layerwise.files._folder import claim_folder as claim_folder
from layerwise.files._lines import append_line as append_line
from layerwise.files._lines import mend_lines as mend_lines
from layerwise.files._lock import RunLock as RunLock
from layerwise.files._read import open_plain as open_plain
from layerwise.files._read import read_bytes as read_bytes
from layerwise.files._scratch import scratch_array as scratch_array
from layerwise.files._system import write_new as write_new
from layerwise.files._write import TEMPORARY_PREFIX as TEMPORARY_PREFIX
from layerwise.files._write import check_room as check_room
from layerwise.files._write import digest_file as digest_file
from layerwise.files._write import digest_json as digest_json
from layerwise.files._write import discard as discard
from layerwise.files._write import free_bytes as free_bytes
from layerwise.files._write import make_folders as make_folders
from layerwise.files._write import publish as publish
from layerwise.files._write import remove as remove
from layerwise.files._write import remove_leftovers as remove_leftovers
from layerwise.files._write import replacing as replacing
from layerwise.files._write import replacing_folder as replacing_folder
from layerwise.files._write import scratch_folder as scratch_folder
from layerwise.files._write import touch as touch
from layerwise.files._write import write_blocks as write_blocks
from layerwise.files._write import write_bytes as write_bytes
from layerwise.files._write import write_json as write_json
from layerwise.files._write import write_text as write_text
