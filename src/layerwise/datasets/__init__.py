"""Data sets: splits made before anything is fitted, checked, and with a fingerprint."""

from layerwise.datasets._dataset import Dataset as Dataset
from layerwise.datasets._image_preparation import ImagePreparation as ImagePreparation
from layerwise.datasets._image_preparation import image_files as image_files
from layerwise.datasets._image_preparation import is_of_images as is_of_images
from layerwise.datasets._images import refusal as refusal
from layerwise.datasets._images import said_of as said_of
from layerwise.datasets._named import NAMES as NAMES
from layerwise.datasets._named import load_dataset as load_dataset
from layerwise.datasets._split import Split as Split
from layerwise.datasets._subsets import augmented as augmented
from layerwise.datasets._subsets import of_pixels as of_pixels
from layerwise.datasets._subsets import sampled as sampled
from layerwise.datasets._subsets import share_of as share_of
from layerwise.datasets._subsets import weighted as weighted
