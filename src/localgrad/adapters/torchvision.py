"""torchvision's detectors on a network that localgrad trained. Nothing here is imported by ``import localgrad``.

Raises LocalgradError where torchvision is not installed.
"""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from localgrad.adapters.stages import Stage, StageMaps, named_stages, stage_maps
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork

try:
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.ops.feature_pyramid_network import FeaturePyramidNetwork, LastLevelMaxPool
except ImportError as error:
    raise LocalgradError(
        f'localgrad.adapters.torchvision needs the package torchvision ({error}): pip install "localgrad[models]"'
    ) from error

WHO = "detection_backbone"
MOST = 4
"""Stages under the pyramid by default, as in torchvision's own."""


@final
class DetectionBackbone(nn.Module):
    """What ``MaskRCNN`` and ``FasterRCNN`` take as ``backbone``: a network's stages under a feature pyramid (FPN).

    ``forward`` gives maps of ``out_channels`` channels by name, as torchvision's ``BackboneWithFPN``: "0" is the finest
    stage, and "pool" a coarser one behind the last. ``stages`` say what is under them.
    """

    def __init__(self, body: StageMaps, out_channels: int) -> None:
        super().__init__()
        self.body = body
        self.stages: tuple[Stage, ...] = tuple(body.stages[index] for index in body.kept)
        self.out_channels = out_channels
        self.fpn = FeaturePyramidNetwork([one.channels for one in self.stages], out_channels, LastLevelMaxPool())

    @property
    def featmap_names(self) -> list[str]:
        """The maps that regions are cut from: all but "pool"."""
        return [str(level) for level in range(len(self.stages))]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """Maps_BCHW by name for images x_BCHW."""
        maps: dict[str, Tensor] = self.fpn(dict(zip(self.featmap_names, self.body(x), strict=True)))
        return maps


def detection_backbone(
    model: LocalNetwork | nn.Module,
    example: Tensor | None = None,
    *,
    stages: Sequence[str] | None = None,
    cuts: Sequence[str] = (),
    out_channels: int = 256,
    trained: int | None = None,
    freeze_batchnorm: bool = True,
) -> DetectionBackbone:
    """A trained network as the backbone of torchvision's detectors: ``MaskRCNN(detection_backbone(net), num_classes)``.

    ``model`` is what ``localize`` gave (``net``), or any network, such as what ``localgrad.load`` gives or one of
    torchvision's or timm's own, with an ``example`` batch (B, C, H, W) to be traced with. It is copied: training the
    detector does not change it. ``stages`` are names such as ``["layer2", "layer3", "layer4"]`` (None: the last four,
    or all); ``cuts`` are submodules of somebody else's network that a block ends behind in any case, as in
    ``localize``. The new pyramid has ``out_channels``. ``trained`` is how many of the stages, from the last, train
    (None: all; the pyramid always does). ``freeze_batchnorm`` keeps the network's BatchNorm statistics, scales and
    shifts as they are, as torchvision does for pretrained networks: the batches of a detector are small.

    Raises LocalgradError for networks without feature maps (ViT, perceptrons), networks that cannot be cut, unknown
    stages and numbers out of range. Source: Lin et al. 2017 (FPN), He et al. 2017 (Mask R-CNN).
    """
    if out_channels < 1:
        raise LocalgradError(f"{WHO}: out_channels must be at least 1, got {out_channels}.")

    def choose(found: Sequence[Stage]) -> Sequence[int]:
        everything = range(len(found))
        return everything[-MOST:] if stages is None else named_stages(WHO, found, stages)

    body = stage_maps(WHO, model, example, choose, cuts=cuts, trained=trained, freeze_batchnorm=freeze_batchnorm)
    return DetectionBackbone(body, out_channels)


def anchor_generator(
    backbone: DetectionBackbone, smallest: int = 32, ratios: Sequence[float] = (0.5, 1.0, 2.0)
) -> AnchorGenerator:
    """Anchors for ``rpn_anchor_generator``: one size per map, doubling from ``smallest`` pixels, as torchvision has it.

    torchvision's default is made for five maps (four stages and "pool"); this one fits any number. Raises
    LocalgradError for a size below 1 and for no ratios.
    """
    if smallest < 1 or not ratios:
        raise LocalgradError(f"anchor_generator: expected a size of 1 or more and ratios, got {smallest} and {ratios}.")
    maps = len(backbone.stages) + 1
    return AnchorGenerator(tuple((smallest * 2**level,) for level in range(maps)), (tuple(ratios),) * maps)
