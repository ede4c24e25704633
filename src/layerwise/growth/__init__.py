"""Growing a network: blocks from what the user gave, stages as values, stitching, freezing."""

from layerwise.growth._blocks import Blocks as Blocks
from layerwise.growth._blocks import blocks_from as blocks_from
from layerwise.growth._build import attach as attach
from layerwise.growth._build import copy_layer as copy_layer
from layerwise.growth._build import copy_weights as copy_weights
from layerwise.growth._build import duplicate as duplicate
from layerwise.growth._exits import early_exits as early_exits
from layerwise.growth._exits import ensemble as ensemble
from layerwise.growth._frozen import Frozen as Frozen
from layerwise.growth._frozen import digest as digest
from layerwise.growth._initial import start_as_copy as start_as_copy
from layerwise.growth._initial import start_as_identity as start_as_identity
from layerwise.growth._key import config_key as config_key
from layerwise.growth._key import layer_key as layer_key
from layerwise.growth._policy import Policy as Policy
from layerwise.growth._prefix import Decode as Decode
from layerwise.growth._prefix import Prefix as Prefix
from layerwise.growth._stage import Stage as Stage
from layerwise.growth._stage import audit as audit
from layerwise.growth._stage import digest_of as digest_of
from layerwise.growth._stage import path as path
from layerwise.growth._stage import stitch as stitch
