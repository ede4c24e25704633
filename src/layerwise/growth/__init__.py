"""Growing a network: blocks from what the user gave, stages as values, stitching, freezing."""

from layerwise.growth._blocks import Blocks as Blocks
from layerwise.growth._blocks import blocks_from as blocks_from
from layerwise.growth._build import attach as attach
from layerwise.growth._build import copy_layer as copy_layer
from layerwise.growth._build import copy_weights as copy_weights
from layerwise.growth._stage import Stage as Stage
from layerwise.growth._stage import audit as audit
from layerwise.growth._stage import digest as digest
from layerwise.growth._stage import stitch as stitch
