"""What PredSim's similarity matching loss looks through: one linear map that keeps the shape (methods.md 4)."""

from dataclasses import dataclass
from typing import final

from torch import Tensor, nn

from localgrad.spec import Shape


@final
class SimilarityModule(nn.Module):
    """h_BCHW or h_BF to ``{"features": ...}`` of the same shape."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, h: Tensor) -> dict[str, Tensor]:
        """The features whose similarities are compared with those of the labels."""
        return {"features": self.layer(h)}


@final
@dataclass(frozen=True)
class SimilarityNet:
    """conv3x3 c -> c for a feature map of ``shape`` (C, H, W), Linear n -> n for a vector (F,); both without bias.

    Training runs it, so ``cost.macs`` counts it; AugLocal's reported FLOPs leave it out (its code counts in eval mode).
    """

    shape: Shape

    def build(self) -> nn.Module:
        """A SimilarityModule."""
        width = self.shape[0]
        if len(self.shape) == 3:
            return SimilarityModule(nn.Conv2d(width, width, 3, padding=1, bias=False))
        return SimilarityModule(nn.Linear(width, width, bias=False))
