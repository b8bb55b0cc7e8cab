"""What can be learned about a network from outside its training."""

from localgrad.analysis.audit import Audit as Audit
from localgrad.analysis.audit import audit as audit
from localgrad.analysis.cka import block_similarity as block_similarity
from localgrad.analysis.cka import linear_cka as linear_cka
from localgrad.analysis.cka import minibatch_cka as minibatch_cka
from localgrad.analysis.ensemble import logits_ensemble as logits_ensemble
from localgrad.analysis.features import BlockFeatures as BlockFeatures
from localgrad.analysis.features import block_features as block_features
from localgrad.analysis.knn import knn_top1 as knn_top1
from localgrad.analysis.maps import FeatureMap as FeatureMap
from localgrad.analysis.maps import feature_maps as feature_maps
from localgrad.analysis.probe import block_places as block_places
from localgrad.analysis.probe import fit_probes as fit_probes
