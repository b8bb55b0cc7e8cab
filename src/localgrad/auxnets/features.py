"""An auxiliary network whose output is a feature vector and no logits of classes."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from localgrad.spec import AuxSpec


@final
class NamedFeatures(nn.Sequential):
    """The layers of a network, their output under the name "features"; parameter names stay those of the layers."""

    def forward(self, h_BCHW: Tensor) -> dict[str, Tensor]:
        """``{"features": features_BD}``."""
        features_BD: Tensor = super().forward(h_BCHW)  # type: ignore[no-untyped-call]
        return {"features": features_BD}


@final
@dataclass(frozen=True)
class Features:
    """``head`` with its output named features, so that nobody takes them for classes. Maps h_BCHW to features_BD."""

    head: AuxSpec

    def build(self) -> nn.Module:
        """A ``NamedFeatures`` of the head's layers."""
        return NamedFeatures(OrderedDict(self.head.build().named_children()))
