"""Tiny foreign networks of each kind: maps, tokens, channels last."""

from typing import Any

import timm
import torch
from timm.models.mlp_mixer import MlpMixer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

import localgrad as lg

CLASSES = 5


def vit(**changes: Any) -> nn.Module:
    """Tokens with a class token: (17, 32) for images of 32 pixels."""
    sizes: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 6, "num_heads": 2}
    return VisionTransformer(**{**sizes, "num_classes": CLASSES, **changes})


def mixer() -> nn.Module:
    """Tokens that a layer mixes: (16, 32) for images of 32 pixels."""
    return MlpMixer(num_classes=CLASSES, img_size=32, patch_size=8, num_blocks=4, embed_dim=32)


def swin(embed_dim: int = 8) -> nn.Module:
    """Maps with channels last and masks for shifted windows: (16, 16, 8) to (4, 4, 32) for images of 64 pixels."""
    model: nn.Module = timm.create_model(
        "swin_tiny_patch4_window7_224", img_size=64, window_size=4, embed_dim=embed_dim, depths=(2, 2, 2),
        num_heads=(1, 2, 2), num_classes=CLASSES,
    )  # fmt: skip
    return model


def convnext(**changes: Any) -> nn.Module:
    """Maps, with layers over channels last inside the blocks."""
    sizes = {"dims": (8, 16, 16, 32), "depths": (1, 2, 2, 1), "num_classes": CLASSES, **changes}
    model: nn.Module = timm.create_model("convnext_atto", **sizes)
    return model


def resnet() -> nn.Module:
    """Maps, bottlenecks of ResNet-26 with few channels."""
    return timm.models.resnet.ResNet(
        timm.models.resnet.Bottleneck, (2, 2, 1, 1), num_classes=CLASSES, channels=(4, 8, 8, 16), stem_width=4
    )


def batch(size: int, rows: int = 4) -> lg.Batch:
    """Images of 3 channels with every field that a method may need."""
    x = torch.randn(rows, 3, size, size, generator=torch.Generator().manual_seed(0))
    return lg.Batch(x=x, y=torch.arange(rows) % CLASSES, image=x.sigmoid())


def sgd(parameters: object) -> torch.optim.Optimizer:
    """Plain steps."""
    return torch.optim.SGD(parameters, lr=0.01)  # type: ignore[arg-type]


def logits(net: lg.LocalNetwork, x: Tensor) -> Tensor:
    """What the network says in evaluation mode."""
    with torch.no_grad():
        out: Tensor = net.eval()(x)
    return out
