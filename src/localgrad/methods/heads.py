"""Auxiliary heads that several methods share, and what they can sit behind."""

from localgrad.auxnets import ConvFC, views_of
from localgrad.errors import LocalgradError
from localgrad.spec import Backbone, Shape


def check_map(shape: Shape, who: str, backbone: Backbone, instead: str = "PredSim") -> None:
    """Raise LocalgradError unless ``shape``, that of a block's output in ``backbone``, is a feature map's (C, H, W).

    ``instead`` is the method that the text recommends.
    """
    if len(shape) == 3:
        return
    if backbone.source is not None:
        raise LocalgradError(
            f"{who}: its auxiliary networks read feature maps (C, H, W), and a border of {backbone.name} carries "
            f"tokens or vectors, which it would see as {tuple(shape)}. Take DGL(max_hidden=1024), AugLocal(depth=2) or "
            "PredSim, or cut the network where it has maps."
        )
    named = list(zip(backbone.block_names, backbone.shapes(), strict=True))
    where = next((f"block {name!r} of {backbone.name}" for name, other in named if other == tuple(shape)), "a module")
    flat = next((index for index, (_, other) in enumerate(named) if len(other) != 3), 0)
    earlier = f", or cut the network before block {named[flat][0]!r}" if flat else ""
    raise LocalgradError(
        f"{who}: its auxiliary networks read feature maps (C, H, W), and {where} has an output of shape "
        f"{tuple(shape)} per sample. Take {instead}{earlier}."
    )


def xcyf_head(backbone: Backbone, shape: Shape, outputs: int, family: str = "1c2f", widen: int = 1) -> ConvFC:
    """The XcYf head of InfoPro's code behind features of ``shape`` (C, H, W): methods.md 2.2.

    Its convolution has the backbone's next larger width and stride 2 (16 -> 32, 32 -> 64), at the largest width that
    width and stride 1; hidden layers have 128. ``widen`` multiplies both. Behind a layer of a DenseNet it has the next
    one of ``head_widths``, chosen by the size of the map: 32, 64 and 64, as behind a ResNet's maps of that size.
    """
    channels = shape[0]
    out, stride = _stage_conv(backbone, shape) if backbone.head_widths else _wider_conv(backbone, channels)
    return ConvFC(channels, outputs, out * widen, stride, int(family[0]), int(family[2]), 128 * widen)


def _wider_conv(backbone: Backbone, channels: int) -> tuple[int, int]:
    """(channels, stride) of the convolution behind so many channels: the network's next larger width."""
    maps = [view.shape for view in views_of(backbone) if len(view.shape) == 3]
    wider = [other[0] for other in maps if other[0] > channels]
    return (min(wider), 2) if wider else (channels, 1)


def _stage_conv(backbone: Backbone, shape: Shape) -> tuple[int, int]:
    """(channels, stride) of the convolution behind a map of this size: the width of the next stage."""
    sizes = dict.fromkeys(other[1:] for other in backbone.shapes())
    # Averaged maps (aux_pool) may have a size between those of two stages.
    following = max(1, sum(size >= shape[1:] for size in sizes))
    return (backbone.head_widths[following], 2) if following < len(sizes) else (backbone.head_widths[following - 1], 1)


def gndgl_head(backbone: Backbone, seen: int, outputs: int, channels: int | None = None) -> ConvFC:
    """GN-DGL's 1c2f head on ``seen`` channels: C -> 2C with stride 2 at every width (methods.md 2.2).

    The hidden layer has 8 features per channel of the network's first layer (128 for ResNet-32, 256 for 32x2), and
    fewer where fewer than the module's ``channels`` are seen (released code).
    """
    hidden = 8 * views_of(backbone)[0].shape[0] * seen // (channels or seen)
    return ConvFC(seen, outputs, 2 * seen, 2, convs=1, fcs=2, hidden=hidden)
