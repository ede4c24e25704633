"""`python -m layerwise.service._torch_worker NETWORK.safetensors OUT.pt2`, on Keras' PyTorch."""

from __future__ import annotations

import sys
from pathlib import Path

from layerwise.checkpoint import read_network


def main(source: str, out: str) -> None:
    """Write the network as a PyTorch program that takes any number of rows."""
    import torch

    rows = torch.export.Dim("batch")
    network = read_network(Path(source))
    network.export(out, format="torch", verbose=False, dynamic_shapes={0: rows})


if __name__ == "__main__":
    main(*sys.argv[1:])
