"""Objectives: what a stage minimises. One file each, written with `keras.ops`."""

from layerwise.objectives._contrastive import Contrastive as Contrastive
from layerwise.objectives._heads import on_vectors as on_vectors
from layerwise.objectives._infopro import InfoPro as InfoPro
from layerwise.objectives._mixed import Mixed as Mixed
from layerwise.objectives._names import BY_NAME as BY_NAME
from layerwise.objectives._names import by_name as by_name
from layerwise.objectives._names import name_of as name_of
from layerwise.objectives._protocol import Objective as Objective
from layerwise.objectives._protocol import Targets as Targets
from layerwise.objectives._protocol import check_values as check_values
from layerwise.objectives._protocol import compared as compared
from layerwise.objectives._protocol import finish as finish
from layerwise.objectives._protocol import needs_targets as needs_targets
from layerwise.objectives._protocol import predicts_targets as predicts_targets
from layerwise.objectives._protocol import stage_metrics as stage_metrics
from layerwise.objectives._protocol import stage_target as stage_target
from layerwise.objectives._protocol import takes_again as takes_again
from layerwise.objectives._protocol import takes_epoch as takes_epoch
from layerwise.objectives._protocol import takes_sample_weight as takes_sample_weight
from layerwise.objectives._rbm import RBM as RBM
from layerwise.objectives._reconstruction import Reconstruction as Reconstruction
from layerwise.objectives._redundancy import Redundancy as Redundancy
from layerwise.objectives._similarity import PredSim as PredSim
from layerwise.objectives._similarity import Similarity as Similarity
from layerwise.objectives._supervised import Supervised as Supervised
