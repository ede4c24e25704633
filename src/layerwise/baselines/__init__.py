"""What the grown network is compared with: networks of the same kind that never grew."""

from __future__ import annotations

from layerwise.baselines._modern import modern as modern
from layerwise.baselines._rivals import Rival as Rival
from layerwise.baselines._rivals import rivals as rivals
from layerwise.baselines._train import Baseline as Baseline
from layerwise.baselines._train import train_baseline as train_baseline
