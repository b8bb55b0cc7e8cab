"""Pure loss equations, one file per kind: ``(outputs of the auxiliary network, batch) -> named scalars``."""

from localgrad.losses.task import cross_entropy as cross_entropy
from localgrad.losses.types import Loss as Loss
from localgrad.losses.types import Outputs as Outputs
