"""Data sets: splits made before anything is fitted, checked, and with a fingerprint."""

from layerwise.datasets._dataset import Dataset as Dataset
from layerwise.datasets._named import NAMES as NAMES
from layerwise.datasets._named import load_dataset as load_dataset
from layerwise.datasets._split import Split as Split
