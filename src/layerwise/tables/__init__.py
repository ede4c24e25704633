"""Files and frames with named columns as numbers, and what was found in them.

`_read` opens files and frames, `_csv` reads the text form, `_column` is one column as it came,
`_kinds` finds out what a column holds, `_code` turns one into numbers, `_preparation` turns all,
`_fit` learns how from the training rows, `_leak` looks for columns that give the target away,
`_target` is the column to predict, `_json` reads a preparation that a stranger may have touched.
"""

from __future__ import annotations

from layerwise.tables._column import Column as Column
from layerwise.tables._findings import Findings as Findings
from layerwise.tables._findings import Found as Found
from layerwise.tables._fit import fit as fit
from layerwise.tables._preparation import NewArray as NewArray
from layerwise.tables._preparation import Preparation as Preparation
from layerwise.tables._preparation import Report as Report
from layerwise.tables._preparation import column_of as column_of
from layerwise.tables._read import Table as Table
from layerwise.tables._read import open_table as open_table
from layerwise.tables._read import require_pyarrow as require_pyarrow
from layerwise.tables._target import Target as Target
from layerwise.tables._target import find_target as find_target
