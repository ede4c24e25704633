"""Draw the README's pictures of reports from real runs: `python docs/images/screenshots.py`.

Needs Chromium and the extra `browser`. With the name of a folder of data files as an argument, the
report of CIFAR-10 is drawn as well (some minutes on two cores; 2 epochs a stage).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

RUNS = {
    "digits": ["digits", "--baseline", "full", "--diagnostics"],
    "blobs-autoencoder": [
        *("blobs-autoencoder", "--replicates", "3", "--baseline", "quick", "--diagnostics"),
    ],
}
CIFAR10 = ["cifar10-supervised", "--baseline", "quick", "--diagnostics", "--epochs", "2"]
WIDTH, HEIGHT = 1000, 1500
MAIN = "from layerwise.cli import main; main()"


def main() -> None:
    """Run each recipe in a folder of its own, and take a picture of its report."""
    runs = dict(RUNS)
    if len(sys.argv) > 1:
        runs["cifar10-supervised"] = [*CIFAR10, "--data-dir", sys.argv[1]]
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, arguments in runs.items():
            out = Path(folder, name)
            command = [sys.executable, "-c", MAIN, "run", *arguments, "--out", str(out)]
            subprocess.run(command, check=True)
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto((out / "report.html").as_uri())
            page.screenshot(path=Path(__file__).with_name(f"report-{name}.png"))
            page.close()


if __name__ == "__main__":
    main()
