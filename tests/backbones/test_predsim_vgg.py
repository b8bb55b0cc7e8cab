"""PredSim's VGGs: layouts, sizes, the large-image stem, weights, and what cannot be."""

import pytest
import torch
from torch import nn

from localgrad import LocalgradError, backbones, localize
from localgrad.backbones import predsim_vgg, vgg6a, vgg8b, vgg11b
from localgrad.backbones.vgg_layers import ConvLayer, HiddenLayer
from localgrad.methods import Backprop


def test_vgg6a() -> None:
    """methods.md 4: 8192 and 1024 features enter the two linear layers."""
    backbone = vgg6a()
    assert backbone.block_names == ("conv0", "conv1", "conv2", "conv3", "fc")
    assert backbone.shapes() == ((128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4), (1024,))
    assert [block.pool for block in backbone.blocks] == [False, True, True, True, False]
    hidden = backbone.blocks[-1]
    assert isinstance(hidden, HiddenLayer)
    assert hidden.build().fc.in_features == 8192
    assert backbone.head.build().fc.in_features == 1024


@pytest.mark.parametrize(
    ("name", "channels", "sizes", "features"),
    [
        ("vgg6b", "128 256 512 512", "32 16 8 4", 512 * 4),
        ("vgg8b", "128 256 256 512 512 512", "32 32 16 16 8 4", 512 * 4),
        ("vgg11b", "128 128 128 256 256 512 512 512 512", "32 32 32 32 16 16 8 8 4", 512 * 4),
        ("vgg16a", "64 64 128 128 256 256 256 512 512 512 512 512 512", "32 32 16 16 8 8 8 4 4 4 2 2 2", 512 * 4),
        ("vgg19a", "64 64 128 128" + " 256" * 4 + " 512" * 8, "32 32 16 16" + " 8" * 4 + " 4" * 4 + " 2" * 4, 512 * 4),
    ],
)
def test_layouts(name: str, channels: str, sizes: str, features: int) -> None:
    backbone = getattr(backbones, name)(num_classes=7)
    assert backbone.name == name
    maps = backbone.shapes()[:-1]
    assert [shape[0] for shape in maps] == [int(word) for word in channels.split()]
    assert [shape[1] for shape in maps] == [int(word) for word in sizes.split()]
    with torch.device("meta"):
        assert backbone.blocks[-1].build().fc.in_features == features
    assert backbone.num_classes == 7


def test_feat_mult_widens_convolutions_only() -> None:
    backbone = vgg6a(feat_mult=3)
    assert [shape[0] for shape in backbone.shapes()] == [384, 768, 1536, 1536, 1024]


def test_dropout_is_on_every_input_but_the_images() -> None:
    backbone = vgg8b(dropout=0.2)
    assert [block.dropout for block in backbone.blocks] == [0.0, *[0.2] * 6]
    assert backbone.head.dropout == 0.2
    assert not any(isinstance(part, nn.Dropout | nn.Dropout2d) for part in localize(vgg8b(), Backprop()).modules())


def test_large_images_enter_through_a_wide_convolution_of_stride_2() -> None:
    backbone = vgg8b(image=(3, 96, 96))
    assert backbone.blocks[0] == ConvLayer(3, 128, kernel=7, stride=2)
    assert backbone.shapes()[0] == (128, 48, 48)
    assert localize(backbone, Backprop()).eval()(torch.randn(1, 3, 96, 96)).shape == (1, 10)
    assert vgg8b(image=(3, 64, 64)).blocks[0] == ConvLayer(3, 128)


def test_weights_are_those_that_pytorch_draws() -> None:
    """No He initialisation: a convolution's weights are uniform within 1 / sqrt(9 C_in)."""
    weight = localize(vgg6a(feat_mult=0.25), Backprop()).model.conv1.conv.weight.detach()
    bound = (9 * 32) ** -0.5
    assert weight.abs().max() <= bound
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_own_layout() -> None:
    backbone = predsim_vgg([8, "M", 8, 16, "M"], 4, image=(1, 8, 8))
    assert backbone.shapes() == ((8, 8, 8), (8, 4, 4), (16, 4, 4), (1024,))
    assert backbone.name == "predsim_vgg3"
    assert dict(backbone.arguments)["layout"] == (8, "M", 8, 16, "M")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"layout": ()}, r"layout must be channels of convolutions, .* got \(\)"),
        ({"layout": ("M", 8)}, r"layout must be"),
        ({"layout": (8, "M", "M", 8)}, r"layout must be"),
        ({"layout": (8, "P", 8)}, r"layout must be"),
        ({"layout": (8, 0)}, r"layout must be"),
        ({"layout": (8,), "num_classes": 1}, r"num_classes must be at least 2, got 1\."),
        ({"layout": (8,), "feat_mult": 0.01}, r"feat_mult must leave at least one channel, got 0\.01\."),
        ({"layout": (8,), "dropout": 1.0}, r"dropout must be at least 0 and below 1, got 1\.0\."),
        ({"layout": (8,), "nonlinearity": "leaky"}, r"nonlinearity 'leaky' is unknown\. Did you mean leaky_relu\?"),
        ({"layout": (8,), "image": (8, 8)}, r"image must be \(channels, height, width\), all above 0, got \(8, 8\)\."),
        (
            {"layout": (8, "M", 8, "M"), "image": (3, 3, 3)},
            r"predsim_vgg2 for images of \(3, 3, 3\): block 'fc': HiddenLayer: .* got \(8, 1, 1\)",
        ),
    ],
)
def test_what_cannot_be(arguments: dict, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        predsim_vgg(**arguments)


def test_names_say_which_network() -> None:
    with pytest.raises(LocalgradError, match=r"^vgg11b: num_classes"):
        vgg11b(num_classes=0)
