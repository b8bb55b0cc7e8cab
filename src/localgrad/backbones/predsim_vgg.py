"""The VGG networks of PredSim (Nokland & Eidnes 2019), GN-DGL and DGSSL: conv layers, one hidden layer, a classifier.

Every layer is a block, the hidden fully connected one among them, so that each can be a local layer (methods.md 4).
"""

from collections.abc import Sequence
from itertools import count, pairwise
from typing import Literal, get_args

from localgrad.backbones.checks import check_task, widened
from localgrad.backbones.vgg_layers import ConvLayer, HiddenLayer, LinearHead, Nonlinearity, pytorch_default
from localgrad.errors import LocalgradError, nearest
from localgrad.spec import Backbone, Block, Shape, shape_behind

Layout = tuple[int | Literal["M"], ...]
"""Output channels of the convolutions, "M" for a max-pooling of 2."""

_LAYOUTS: dict[str, Layout] = {
    "vgg6a": (128, "M", 256, "M", 512, "M", 512),
    "vgg6b": (128, "M", 256, "M", 512, "M", 512, "M"),
    "vgg8b": (128, 256, "M", 256, 512, "M", 512, "M", 512, "M"),
    "vgg11b": (128, 128, 128, 256, "M", 256, 512, "M", 512, 512, "M", 512, "M"),
    # DGSSL gives names and numbers of layers only: VGG16 and VGG19 without their last max-pooling, as in vgg6a.
    "vgg16a": (64, 64, "M", 128, 128, "M", *(256,) * 3, "M", *(512,) * 3, "M", *(512,) * 3),
    "vgg19a": (64, 64, "M", 128, 128, "M", *(256,) * 4, "M", *(512,) * 4, "M", *(512,) * 4),
}
_HIDDEN = 1024


def _checked(
    who: str, layout: Layout, num_classes: int, feat_mult: float, dropout: float, image: Shape
) -> tuple[int, ...]:
    """Channels of the convolutions. Raises LocalgradError for values that make no network."""
    check_task(who, num_classes, image)
    if not 0 <= dropout < 1:
        raise LocalgradError(f"{who}: dropout must be at least 0 and below 1, got {dropout}.")
    wrong = [entry for entry in layout if entry != "M" and (type(entry) is not int or entry < 1)]
    if wrong or not layout or layout[0] == "M" or ("M", "M") in pairwise(layout):
        raise LocalgradError(
            f"{who}: layout must be channels of convolutions, with single 'M's for max-poolings behind them, "
            f"such as {_LAYOUTS['vgg6a']}, got {layout}."
        )
    return widened(who, [entry for entry in layout if entry != "M"], feat_mult, "feat_mult")


def predsim_vgg(
    layout: Sequence[int | Literal["M"]],
    num_classes: int = 10,
    feat_mult: float = 1.0,
    dropout: float = 0.0,
    nonlinearity: Nonlinearity = "relu",
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """A VGG of conv3x3 (with bias) + BatchNorm + nonlinearity, a hidden linear layer of 1024 features, a classifier.

    ``layout`` lists output channels, ``"M"`` is a max-pooling of 2 in front of the next block. ``feat_mult`` multiplies
    the channels, not the hidden features. ``dropout`` is Dropout2d on every feature map that a layer reads (before
    pooling), Dropout before the classifier. Images above 64 pixels enter through a 7x7 convolution of stride 2. Blocks
    are ``conv0``, ``conv1``, ..., ``fc``; the classifier is ``head``. Weights are PyTorch's defaults.

    Raises LocalgradError for a layout, number of classes, width, dropout, nonlinearity or image that makes no network.
    """
    entries: Layout = tuple(layout)
    convolutions = len(entries) - entries.count("M")
    name = next((known for known, other in _LAYOUTS.items() if other == entries), f"predsim_vgg{convolutions}")
    widths = _checked(name, entries, num_classes, feat_mult, dropout, image)
    if nonlinearity not in get_args(Nonlinearity):
        raise LocalgradError(
            f"{name}: nonlinearity {nonlinearity!r} is unknown. {nearest(str(nonlinearity), get_args(Nonlinearity))}"
        )
    large = max(image[1:]) > 64
    blocks: list[Block] = []
    shape: Shape = image
    pool, index = False, count()
    for entry in entries:
        if entry == "M":
            pool = True
            continue
        conv = ConvLayer(
            shape[0],
            widths[next(index)],
            pool=pool,
            # The network's input is not dropped.
            dropout=dropout if blocks else 0.0,
            nonlinearity=nonlinearity,
            kernel=7 if large and not blocks else 3,
            stride=2 if large and not blocks else 1,
        )
        where = f"{name} for images of {tuple(image)}: block"
        shape, pool = shape_behind(conv, shape, f"{where} 'conv{len(blocks)}'"), False
        blocks.append(conv)
    names = [f"conv{i}" for i in range(len(blocks))]
    hidden = HiddenLayer(shape[0], (shape[1], shape[2]), _HIDDEN, pool, dropout, nonlinearity)
    shape_behind(hidden, shape, f"{where} 'fc'")
    arguments = (
        ("layout", entries),
        ("num_classes", num_classes),
        ("feat_mult", feat_mult),
        ("dropout", dropout),
        ("nonlinearity", nonlinearity),
        ("image", tuple(image)),
    )
    return Backbone(
        name=name,
        constructor="predsim_vgg",
        arguments=arguments,
        blocks=(*blocks, hidden),
        block_names=(*names, "fc"),
        head=LinearHead(_HIDDEN, num_classes, dropout),
        head_name="head",
        num_classes=num_classes,
        image=tuple(image),
        initialise=pytorch_default,
    )


def vgg6a(
    num_classes: int = 10,
    feat_mult: float = 1.0,
    dropout: float = 0.0,
    nonlinearity: Nonlinearity = "relu",
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """VGG6a: 4 convolutions and the hidden layer (5 blocks); PredSim; GN-DGL's and DGSSL's VGG. See ``predsim_vgg``."""
    return predsim_vgg(_LAYOUTS["vgg6a"], num_classes, feat_mult, dropout, nonlinearity, image)


def vgg6b(
    num_classes: int = 10,
    feat_mult: float = 1.0,
    dropout: float = 0.0,
    nonlinearity: Nonlinearity = "relu",
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """VGG6b: VGG6a with a max-pooling at the end (5 blocks); PredSim. See ``predsim_vgg``."""
    return predsim_vgg(_LAYOUTS["vgg6b"], num_classes, feat_mult, dropout, nonlinearity, image)


def vgg8b(
    num_classes: int = 10,
    feat_mult: float = 1.0,
    dropout: float = 0.0,
    nonlinearity: Nonlinearity = "relu",
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """VGG8b: 6 convolutions and the hidden layer (7 blocks); PredSim. See ``predsim_vgg``."""
    return predsim_vgg(_LAYOUTS["vgg8b"], num_classes, feat_mult, dropout, nonlinearity, image)


def vgg11b(
    num_classes: int = 10,
    feat_mult: float = 1.0,
    dropout: float = 0.0,
    nonlinearity: Nonlinearity = "relu",
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """VGG11b: 9 convolutions and the hidden layer (10 blocks); PredSim. See ``predsim_vgg``."""
    return predsim_vgg(_LAYOUTS["vgg11b"], num_classes, feat_mult, dropout, nonlinearity, image)


def vgg16a(
    num_classes: int = 10,
    feat_mult: float = 1.0,
    dropout: float = 0.0,
    nonlinearity: Nonlinearity = "relu",
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """VGG16a: 13 convolutions and the hidden layer (14 blocks); DGSSL; layout inferred. See ``predsim_vgg``."""
    return predsim_vgg(_LAYOUTS["vgg16a"], num_classes, feat_mult, dropout, nonlinearity, image)


def vgg19a(
    num_classes: int = 10,
    feat_mult: float = 1.0,
    dropout: float = 0.0,
    nonlinearity: Nonlinearity = "relu",
    image: tuple[int, int, int] = (3, 32, 32),
) -> Backbone:
    """VGG19a: 16 convolutions and the hidden layer (17 blocks); DGSSL; layout inferred. See ``predsim_vgg``."""
    return predsim_vgg(_LAYOUTS["vgg19a"], num_classes, feat_mult, dropout, nonlinearity, image)
