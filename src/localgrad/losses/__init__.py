"""Pure loss equations, one file per kind: ``(outputs of the auxiliary network, batch) -> named scalars``."""

from localgrad.losses.contrast import supcon_loss as supcon_loss
from localgrad.losses.contrast import supervised_contrast as supervised_contrast
from localgrad.losses.diversity import Diversity as Diversity
from localgrad.losses.diversity import diversity as diversity
from localgrad.losses.nt_xent import NTXent as NTXent
from localgrad.losses.nt_xent import cosines as cosines
from localgrad.losses.nt_xent import nt_xent_loss as nt_xent_loss
from localgrad.losses.reconstruction import reconstruction as reconstruction
from localgrad.losses.selection import EMPTY as EMPTY
from localgrad.losses.selection import SELECTION_FIGURES as SELECTION_FIGURES
from localgrad.losses.selection import PairSimilarity as PairSimilarity
from localgrad.losses.selection import SelectiveNTXent as SelectiveNTXent
from localgrad.losses.selection import selective_nt_xent as selective_nt_xent
from localgrad.losses.similarity import SimilarityMatching as SimilarityMatching
from localgrad.losses.similarity import similarity_matrix as similarity_matrix
from localgrad.losses.task import BoundedCrossEntropy as BoundedCrossEntropy
from localgrad.losses.task import cross_entropy as cross_entropy
from localgrad.losses.types import Loss as Loss
from localgrad.losses.types import Outputs as Outputs
