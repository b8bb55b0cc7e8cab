"""Auxiliary heads that several methods share, and what they can sit behind."""

from localgrad.auxnets import ConvFC
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Shape


def check_map(shape: Shape, who: str) -> None:
    """Raise LocalgradError unless ``shape`` is that of a feature map (C, H, W)."""
    if len(shape) != 3:
        raise LocalgradError(
            f"{who}: its auxiliary networks read feature maps (C, H, W), and a module ends in an output of shape "
            f"{tuple(shape)} per sample. Cut the network before its hidden linear layers, or take PredSim."
        )


def xcyf_head(backbone: Backbone, shape: Shape, outputs: int, family: str = "1c2f", widen: int = 1) -> ConvFC:
    """The XcYf head of InfoPro's code behind features of ``shape`` (C, H, W): methods.md 2.2.

    Its convolution has the backbone's next larger width and stride 2 (16 -> 32, 32 -> 64), at the largest width that
    width and stride 1; hidden layers have 128. ``widen`` multiplies both.
    """
    channels = shape[0]
    wider = [other[0] for other in backbone.shapes() if len(other) == 3 and other[0] > channels]
    out, stride = (min(wider), 2) if wider else (channels, 1)
    return ConvFC(channels, outputs, out * widen, stride, int(family[0]), int(family[2]), 128 * widen)


def gndgl_head(backbone: Backbone, seen: int, outputs: int, channels: int | None = None) -> ConvFC:
    """GN-DGL's 1c2f head on ``seen`` channels: C -> 2C with stride 2 at every width (methods.md 2.2).

    The hidden layer has 8 features per channel of the network's first layer (128 for ResNet-32, 256 for 32x2), and
    fewer where fewer than the module's ``channels`` are seen (released code).
    """
    hidden = 8 * backbone.shapes()[0][0] * seen // (channels or seen)
    return ConvFC(seen, outputs, 2 * seen, 2, convs=1, fcs=2, hidden=hidden)
