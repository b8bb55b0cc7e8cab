"""Projection heads of contrastive learning (SimCLR, DGSSL), and what pair selection adds: a teacher, thresholds.

Legend: V = 2N views, D features.
"""

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from localgrad.auxnets.features import NamedFeatures
from localgrad.auxnets.quantiles import RunningThresholds
from localgrad.blocks import ConvBNReLU
from localgrad.losses import PairSimilarity
from localgrad.pooling import GlobalAvgPool
from localgrad.spec import Block, Shape


@final
@dataclass(frozen=True)
class Projector:
    """[conv3x3, BN, ReLU], pooling, Linear, [BN], ReLU, Linear: ``1c2f`` with the convolution, ``0c2f`` without.

    ``shape`` is that of its input, (C, H, W) or (C,), which is not pooled. ``conv`` is (channels, stride) of the
    convolution, None without. Maps h of V rows to ``{"features": features_VD}`` of ``out`` features. The thesis gives
    the number of layers and of outputs; ``hidden`` and BatchNorm are those of the code that its other settings are
    from (methods.md 8).
    """

    shape: Shape
    conv: tuple[int, int] | None = None
    hidden: int = 512
    out: int = 128
    batch_norm: bool = True

    def layers(self) -> "OrderedDict[str, nn.Module]":
        """The layers by name."""
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        channels = self.shape[0]
        if self.conv is not None:
            layers["conv"] = ConvBNReLU(channels, self.conv[0], stride=self.conv[1]).build()
            channels = self.conv[0]
        if len(self.shape) == 3:
            layers["pool"] = GlobalAvgPool()
        layers["fc1"] = nn.Linear(channels, self.hidden, bias=not self.batch_norm)
        if self.batch_norm:
            layers["bn1"] = nn.BatchNorm1d(self.hidden)
        layers["relu1"] = nn.ReLU(inplace=True)
        layers["fc2"] = nn.Linear(self.hidden, self.out)
        return layers

    def build(self) -> nn.Module:
        """A ``NamedFeatures`` of the layers."""
        return NamedFeatures(self.layers())


@final
class Teacher(nn.Module):
    """A slow copy of a unit: ``body`` and ``projector`` follow the unit's own and have no gradient."""

    def __init__(self, body: nn.Module, projector: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.projector = projector
        self.requires_grad_(False)

    @torch.no_grad()
    def forward(self, h_in: Tensor) -> Tensor:
        """features_VD from the input of the unit."""
        features_VD: Tensor = self.projector(self.body(h_in))["features"]
        return features_VD


@final
class SelectingProjector(nn.Module):
    """A projector beside what chooses pairs: a teacher on the unit's input, thresholds that follow similarities.

    In training it is given, by name, its unit's input ``h_in`` where it has a teacher, and ``pair_similarity`` (V, V)
    where the thresholds follow those of a pretrained network. Without them, as in an evaluation, it projects only.
    """

    def __init__(
        self,
        projector: nn.Module,
        teacher: Teacher | None,
        thresholds: RunningThresholds | None,
        similarity: PairSimilarity,
    ) -> None:
        super().__init__()
        self.projector = projector
        self.teacher = teacher
        self.thresholds = thresholds
        self.similarity = similarity

    def forward(
        self, h: Tensor, *, h_in: Tensor | None = None, pair_similarity: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Tensors by name: "features" (features_VD); what else there is: "teacher" (features_VD), "alpha", "beta"."""
        outputs: dict[str, Tensor] = dict(self.projector(h))
        if self.teacher is not None and h_in is not None:
            outputs["teacher"] = self.teacher(h_in)
        if self.thresholds is not None:
            if self.training:
                self._follow(outputs, pair_similarity)
            # Copies: the next step changes the buffers in place.
            outputs["alpha"], outputs["beta"] = self.thresholds.alpha.clone(), self.thresholds.beta.clone()
        return outputs

    def _follow(self, outputs: dict[str, Tensor], pair_similarity: Tensor | None) -> None:
        assert self.thresholds is not None
        if self.similarity == "pretrained":
            if pair_similarity is not None:
                self.thresholds.follow_matrix(pair_similarity)
            return
        features = outputs.get("teacher" if self.similarity == "teacher" else "features")
        if features is not None:
            self.thresholds.follow_features(features)


@final
@dataclass(frozen=True)
class Selecting:
    """``projector`` and what a pair selection needs beside it.

    ``blocks`` are those of the unit's body where the similarity is that of a ``teacher``: what it copies, and that it
    follows, is said by ``objective.Follow`` (parts ``teacher.body.N`` and ``teacher.projector``). ``ratios`` are the
    shares of positive and negative pairs to keep where the thresholds are running quantiles, which keep ``momentum``
    of themselves in every step.
    """

    projector: Projector
    similarity: PairSimilarity = "own"
    blocks: tuple[Block, ...] = ()
    ratios: tuple[float, float] | None = None
    momentum: float = 0.9

    def build(self) -> nn.Module:
        """A ``SelectingProjector``."""
        projector = self.projector.build()
        teacher = None
        if self.similarity == "teacher":
            # Copied, because a block of a foreign network builds the network's own module.
            body = nn.Sequential(*(copy.deepcopy(block.build()) for block in self.blocks))
            teacher = Teacher(body, copy.deepcopy(projector))
        thresholds = None if self.ratios is None else RunningThresholds(*self.ratios, self.momentum)
        return SelectingProjector(projector, teacher, thresholds, self.similarity)
