"""Our side of `tutorials.py`: the recipe as a user runs it, but on the tutorial's rows.

`python _ours.py blobs|cifar10 STAGES EPOCHS [REPLICATES]` prints one JSON object with
seconds for each stage.
"""

import json
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    from layerwise.cli import main

    job, stages, epochs, *replicates = sys.argv[1:]
    recipe = {"blobs": "blobs-supervised", "cifar10": "cifar10-supervised"}[job]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        sys.argv = ["layerwise", "run", recipe, "--out", str(out), "--json"]
        sys.argv += ["--max-depth", stages, "--epochs", epochs, "--head", "carry"]
        # The second tutorial trains on all of its rows; the first holds out 20%, as we do.
        sys.argv += ["--validation-split", "0"] if job == "blobs" else []
        sys.argv += ["--replicates", *replicates] if replicates else []
        try:
            main()
        except SystemExit as end:
            if end.code:
                raise
        history = json.loads((out / "history.json").read_text())
    print(json.dumps({"stages": [stage["seconds"] for stage in history["stages"]]}))
