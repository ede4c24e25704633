"""A Keras network as plain JSON data, and back, without running anything that a file names.

`_schema` is the closed list of what a description may hold, `_check` holds one against it,
`_describe` makes one, `_rebuild` makes the network again, `_interpret` walks through a network call
by call.

A description is a dictionary of five keys: `"format"` (1), `"inputs"` (shape and dtype of each),
`"variables"` (how many), `"trainable"` (a flag for each) and `"network"`. Every object in the
network has the form that Keras gives it, `{"module", "class_name", "config", "registered_name"}`,
and must be on the list; its class is taken from Keras' public namespace, and nothing is imported
by name or taken from Keras' registries. What is not on the list, such as a user's own layer, is
`{"class_name", "own": true, "name", "trainable", "config"}`, and only code that the caller hands
to `rebuild` makes it again.
"""

from __future__ import annotations

from layerwise.architecture._describe import describe as describe
from layerwise.architecture._interpret import Operation as Operation
from layerwise.architecture._interpret import interpret as interpret
from layerwise.architecture._rebuild import rebuild as rebuild
