"""Convolutional VGGs: layers as torchvision has them, sizes, the ImageNet head and weights, what cannot be."""

import pytest
import torch
import torchvision
from torch import nn

from localgrad import LocalgradError, backbones, localize
from localgrad.auxnets import MlpSR, Truncated
from localgrad.backbones import conv_vgg, imagenet_vgg, imagenet_vgg13, vgg19
from localgrad.backbones.vgg import VggClassifier, imagenet_vgg_initialise
from localgrad.methods import DGL, AugLocal, Backprop


def parameter_shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in module.parameters()]


@pytest.mark.parametrize("layers", [13, 16, 19])
def test_convolutions_are_torchvisions(layers: int) -> None:
    with torch.device("meta"):
        theirs = getattr(torchvision.models, f"vgg{layers}_bn")()
        small = localize(getattr(backbones, f"vgg{layers}")(), Backprop()).model
        large = localize(imagenet_vgg(layers), Backprop()).model
    assert parameter_shapes(small)[:-2] == parameter_shapes(theirs.features)
    assert parameter_shapes(small)[-2:] == [(10, 512), (10,)]
    assert parameter_shapes(large) == parameter_shapes(theirs)


def test_imagenet_vgg_computes_what_torchvisions_does() -> None:
    features = torchvision.models.vgg.make_layers([8, "M", 8, "M"], batch_norm=True)
    hidden = [nn.Linear(8 * 49, 16), nn.ReLU(), nn.Dropout(), nn.Linear(16, 16), nn.ReLU(), nn.Dropout()]
    theirs = nn.Sequential(features, nn.AdaptiveAvgPool2d(7), nn.Flatten(), *hidden, nn.Linear(16, 4))
    blocks = conv_vgg((8, 8), (1, 1), 4).blocks
    own = nn.Sequential(*(block.build() for block in blocks), VggClassifier(8, 4, hidden=16).build())
    values = list(theirs.state_dict().values())
    own.load_state_dict(dict(zip(own.state_dict(), values, strict=True)))
    x = torch.randn(2, 3, 28, 28)
    torch.testing.assert_close(own.eval()(x), theirs.eval()(x))


def test_sizes_of_vgg19() -> None:
    """methods.md 10.2: 32, 32, 16, 16, 4 of 8, 4 of 4, 4 of 2; a pooling opens the next block."""
    backbone = vgg19()
    assert [shape[1] for shape in backbone.shapes()] == [32, 32, 16, 16, *[8] * 4, *[4] * 4, *[2] * 4]
    assert [name for name, block in zip(backbone.block_names, backbone.blocks, strict=True) if block.pool] == [
        "layer2.0", "layer3.0", "layer4.0", "layer5.0",
    ]  # fmt: skip


def test_auglocals_auxiliary_networks_pool_where_the_width_changes() -> None:
    """Released code: 64 to 512 channels pools once, and 512 to 512 not at all."""
    backbone = vgg19()
    aux = AugLocal(depth=4).auxnet(backbone, 0, backbone.shapes()[0], 3)
    assert isinstance(aux, Truncated)
    assert [(block.in_channels, block.out_channels, block.pool) for block in aux.blocks] == [
        (64, 256, True),
        (256, 512, True),
        (512, 512, False),
    ]


def test_imagenet_weights() -> None:
    """methods.md 0: convolutions by fan-out, linear layers ~ N(0, 0.01), biases 0; PyTorch's in auxiliary networks."""
    net = localize(imagenet_vgg(13, 4, 0.25, (3, 32, 32), hidden=64), DGL(max_hidden=8))
    conv, linear = net.model.get_submodule("layer3.1.conv"), net.model.get_submodule("head.fc1")
    assert conv.weight.std().item() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert linear.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert not conv.bias.any()
    assert not linear.bias.any()
    hidden = next(part for part in net.units[4].aux.modules() if isinstance(part, nn.Linear))
    assert hidden.bias.any()
    assert hidden.weight.std().item() == pytest.approx((3 * hidden.in_features) ** -0.5, rel=0.1)


def test_dgls_study_network() -> None:
    """methods.md 2.4 and 3: 6 layers, pooled where the channels grow; the head has hidden layers on 2x2 positions."""
    backbone = conv_vgg((16, 32, 64), (1, 2, 3), 5, mlp_hidden=2, weights="pytorch")
    assert [shape[1] for shape in backbone.shapes()] == [32, 16, 16, 8, 8, 8]
    assert backbone.head == MlpSR(64, (8, 8), 5, convs=0, hidden=2)
    net = localize(backbone, DGL(), seed=1)
    head = net.model.get_submodule("head")
    assert [type(part).__name__ for part in head] == [
        "AdaptiveAvgPool2d", "Flatten", *["Linear", "BatchNorm1d", "ReLU"] * 2, "Linear",
    ]  # fmt: skip
    assert [parameter.shape[0] for parameter in head.parameters()] == [256] * 8 + [5] * 2
    assert head(torch.randn(2, 64, 8, 8)).shape == (2, 5)
    # As PyTorch draws them, those of auxiliary networks too: uniform, standard deviation 1 / sqrt(3 * inputs).
    for conv, inputs in ((net.model.get_submodule("layer3.1.conv"), 9 * 64), (net.units[4].aux[1], 64)):
        assert conv.weight.std().item() == pytest.approx((3 * inputs) ** -0.5, rel=0.05)
    assert localize(conv_vgg((16,), (1,)), Backprop()).model.get_submodule("head.fc").in_features == 16


def test_auxiliary_networks_of_dgls_imagenet_vggs_start_as_the_network() -> None:
    net = localize(imagenet_vgg(13, 4, 0.25, (3, 32, 32), hidden=64, aux_weights="network"), DGL(max_hidden=128))
    hidden = next(part for part in net.units[4].aux.modules() if isinstance(part, nn.Linear))
    assert not hidden.bias.any()
    assert hidden.weight.std().item() == pytest.approx(0.01, rel=0.05)


def test_initialise_leaves_meta_tensors() -> None:
    with torch.device("meta"):
        layer = nn.Linear(2, 2)
    imagenet_vgg_initialise(layer)
    assert layer.weight.is_meta


def test_imagenet_vgg13_at_224() -> None:
    backbone = imagenet_vgg13()
    assert backbone.shapes()[-1] == (512, 14, 14)
    with torch.device("meta"):
        head = backbone.head.build()
    assert (head.fc1.in_features, head.drop1.p, head.drop2.p) == (25088, 0.5, 0.5)
    assert backbone.head.rebuild(in_channels=4) == VggClassifier(4, 1000)
    # DGL's code has no dropout.
    assert imagenet_vgg(19, dropout=0.0).head == VggClassifier(512, 1000, dropout=0.0)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: conv_vgg((8, 8), (1,)), r"conv_vgg: channels and stages must be as many, .* stages=\(1,\)"),
        (lambda: conv_vgg((8,), (0,)), r"at least one layer in each stage, got channels=\(8,\), stages=\(0,\)"),
        (lambda: conv_vgg((), ()), r"conv_vgg: channels and stages"),
        (lambda: conv_vgg((8,), (1,), mlp_hidden=-1), r"conv_vgg: mlp_hidden must be a whole number .* 0, got -1\."),
        (lambda: conv_vgg((8,), (1,), mlp_hidden=1.5), r"conv_vgg: mlp_hidden must be a whole number .* got 1\.5\."),
        (lambda: conv_vgg((8,), (1,), weights="torch"), r"conv_vgg: weights 'torch' is unknown\. .*pytorch"),
        (lambda: imagenet_vgg(13, aux_weights="he"), r"imagenet_vgg: aux_weights 'he' is unknown\. There are: network"),
        (
            lambda: vgg19(image=(3, 8, 8)),
            r"vgg19 for images of \(3, 8, 8\): block 'layer5\.0': ConvLayer: .* at least 2x2 before max-pooling, "
            r"got \(512, 1, 1\)",
        ),
        (lambda: vgg19(width=0.001), r"conv_vgg: width must leave at least one channel, got 0\.001\."),
        (lambda: imagenet_vgg(12), r"imagenet_vgg: layers must be one of 11, 13, 16, 19, got 12\."),
        (lambda: imagenet_vgg(13, hidden=0), r"hidden of at least 1 .* got hidden=0, dropout=0\.5\."),
        (lambda: imagenet_vgg(13, dropout=1), r"dropout at least 0 and below 1, got hidden=4096, dropout=1\."),
        (
            lambda: imagenet_vgg(13, image=(3, 16, 16)),
            r"imagenet_vgg13 for images of \(3, 16, 16\): the classifier: .* got \(512, 1, 1\)",
        ),
        (lambda: VggClassifier(4, 3).shape((5, 7, 7)), r"VggClassifier: expected input of shape \(4, H, W\)"),
    ],
)
def test_what_cannot_be(call, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        call()
