"""EfficientNet-B0 (Tan & Le 2019) for CIFAR sizes, as AugLocal uses it: the community version (methods.md 10.2).

The stem has stride 1 and there is no last 1x1 convolution: a stem and 16 blocks.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor, nn

from localgrad.backbones.checks import check_groups, check_task, widened
from localgrad.blocks import conv_shape, he_fan_out
from localgrad.errors import LocalgradError
from localgrad.pooling import GlobalAvgPool
from localgrad.spec import Backbone, Block, Shape

# (expansion, channels, blocks, stride, kernel) of every stage
_STAGES = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip
_DROP = 0.2


@final
class DropPath(nn.Module):
    """Stochastic depth: in training, whole samples become 0 with probability ``rate``, the others are scaled up."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """h_BCHW, or in training a part of its samples."""
        if not self.training or self.rate == 0:
            return h_BCHW
        keep = 1 - self.rate
        # In float32 whatever the precision, so that all precisions drop the same samples.
        kept_B111 = torch.rand((h_BCHW.shape[0], 1, 1, 1), device=h_BCHW.device) < keep
        return h_BCHW * (kept_B111.to(h_BCHW.dtype) / keep)


@final
class SqueezeExcite(nn.Module):
    """x * sigmoid(conv1x1(silu(conv1x1(mean over positions)))), h_BCHW to h_BCHW; both convolutions with bias."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.pool = GlobalAvgPool()
        self.down = nn.Conv2d(channels, squeezed, 1)
        self.act = nn.SiLU(inplace=True)
        self.up = nn.Conv2d(squeezed, channels, 1)

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """Channels scaled by what the whole map says."""
        scale_BC11: Tensor = self.up(self.act(self.down(self.pool(h_BCHW)[:, :, None, None]))).sigmoid()
        return h_BCHW * scale_BC11


@final
class MBConvModule(nn.Module):
    """[conv1x1, BN, SiLU], depthwise conv, BN, SiLU, squeeze-excite, conv1x1, BN [+ x]; h_BCHW to h_BCHW.

    The first convolution is left out at expansion 1; x is added where the shape stays.
    """

    def __init__(self, spec: "MBConv") -> None:
        super().__init__()
        inner = spec.expansion * spec.in_channels
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        if spec.expansion != 1:
            layers["conv1"] = nn.Conv2d(spec.in_channels, inner, 1, bias=False)
            layers["bn1"] = nn.BatchNorm2d(inner)
            layers["act1"] = nn.SiLU(inplace=True)
        layers["conv2"] = nn.Conv2d(inner, inner, spec.kernel, spec.stride, spec.kernel // 2, groups=inner, bias=False)
        layers["bn2"] = nn.BatchNorm2d(inner)
        layers["act2"] = nn.SiLU(inplace=True)
        layers["se"] = SqueezeExcite(inner, max(1, spec.in_channels // 4))
        layers["conv3"] = nn.Conv2d(inner, spec.out_channels, 1, bias=False)
        layers["bn3"] = nn.BatchNorm2d(spec.out_channels)
        self.residual = spec.stride == 1 and spec.in_channels == spec.out_channels
        if self.residual:
            layers["drop"] = DropPath(spec.drop_path)
        self.layers = nn.Sequential(layers)

    def forward(self, h_BCHW: Tensor) -> Tensor:
        """One block."""
        out: Tensor = self.layers(h_BCHW)
        return h_BCHW + out if self.residual else out


@final
@dataclass(frozen=True)
class MBConv:
    """Spec of EfficientNet's block; ``drop_path`` is the probability that a sample skips it (drop-connect)."""

    in_channels: int
    out_channels: int
    expansion: int = 6
    stride: int = 1
    kernel: int = 3
    drop_path: float = 0.0

    def build(self) -> nn.Module:
        """An MBConvModule."""
        return MBConvModule(self)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "MBConv":
        """The same block for another input. Raises LocalgradError for groups."""
        check_groups("MBConv", groups)
        return replace(self, in_channels=in_channels, stride=stride)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "MBConv")


@final
@dataclass(frozen=True)
class ConvBNSiLU:
    """Spec of convolution 3x3 (no bias) + BatchNorm + SiLU: EfficientNet's stem."""

    in_channels: int
    out_channels: int
    stride: int = 1

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of conv, bn, act."""
        conv = nn.Conv2d(self.in_channels, self.out_channels, 3, self.stride, 1, bias=False)
        return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(self.out_channels), act=nn.SiLU(inplace=True)))

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "ConvBNSiLU":
        """The same layer for another input. Raises LocalgradError for groups."""
        check_groups("ConvBNSiLU", groups)
        return replace(self, in_channels=in_channels, stride=stride)

    def shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output."""
        return conv_shape(shape, self.in_channels, self.out_channels, self.stride, "ConvBNSiLU")


@final
@dataclass(frozen=True)
class DropoutPooledLinear:
    """Global average pooling, dropout, Linear: h_BCHW to logits_BK."""

    in_channels: int
    num_classes: int
    dropout: float = _DROP

    def build(self) -> nn.Module:
        """A ``nn.Sequential`` of pool, dropout, fc."""
        return nn.Sequential(
            OrderedDict[str, nn.Module](
                pool=GlobalAvgPool(),
                dropout=nn.Dropout(self.dropout),
                fc=nn.Linear(self.in_channels, self.num_classes),
            )
        )

    def rebuild(self, *, in_channels: int, stride: int = 1, groups: int = 1) -> "DropoutPooledLinear":
        """The same classifier for another number of channels."""
        return replace(self, in_channels=in_channels)

    def shape(self, shape: Shape) -> Shape:
        """(K,), the classes."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise LocalgradError(
                f"DropoutPooledLinear: expected input of shape ({self.in_channels}, H, W), got {tuple(shape)}."
            )
        return (self.num_classes,)


def cifar_efficientnet_b0(
    num_classes: int = 10, width: float = 1, image: tuple[int, int, int] = (3, 32, 32), drop: float = _DROP
) -> Backbone:
    """CIFAR EfficientNet-B0 of 17 blocks: ``stem``, ``layer1.0`` ... ``layer7.0``, then the classifier ``head``.

    ``width`` multiplies all channels. ``drop`` is the dropout before the classifier, and what drop-connect grows
    towards along the depth. Convolutions ~ N(0, sqrt(2 / (kh kw C_out))). Raises LocalgradError for too narrow a width,
    a drop outside [0, 1) and fewer than 2 classes.
    """
    who = "cifar_efficientnet_b0"
    check_task(who, num_classes, image)
    if not 0 <= drop < 1:
        raise LocalgradError(f"{who}: drop must be at least 0 and below 1, got {drop}.")
    first, *inner = widened(who, (32, *(stage[1] for stage in _STAGES)), width)
    blocks: list[Block] = [ConvBNSiLU(image[0], first)]
    names, channels = ["stem"], first
    depth = sum(stage[2] for stage in _STAGES)
    for number, ((expansion, _, size, stride, kernel), out) in enumerate(zip(_STAGES, inner, strict=True), start=1):
        for index in range(size):
            rate = drop * (len(blocks) - 1) / depth
            blocks.append(MBConv(channels, out, expansion, stride if index == 0 else 1, kernel, rate))
            names.append(f"layer{number}.{index}")
            channels = out
    return Backbone(
        name=who,
        constructor=who,
        arguments=(("num_classes", num_classes), ("width", width), ("image", tuple(image)), ("drop", drop)),
        blocks=tuple(blocks),
        block_names=tuple(names),
        head=DropoutPooledLinear(channels, num_classes, drop),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=he_fan_out,
    )
