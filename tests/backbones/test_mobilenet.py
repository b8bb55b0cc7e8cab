"""MobileNetV2 for CIFAR: one block written out, sizes, the known number of parameters, what cannot be."""

import pytest
import torch
import torch.nn.functional as F

from localgrad import LocalgradError, localize
from localgrad.backbones import cifar_mobilenetv2
from localgrad.backbones.mobilenet import InvertedResidual
from localgrad.methods import Backprop


def test_parameters_and_sizes() -> None:
    backbone = cifar_mobilenetv2()
    with torch.device("meta"):
        model = localize(backbone, Backprop()).model
    # As the community version's well-known count for 10 classes.
    assert sum(parameter.numel() for parameter in model.parameters()) == 2_296_922
    assert [shape[1] for shape in backbone.shapes()] == [32, 32, 32, 32, *[16] * 3, *[8] * 7, *[4] * 5]
    assert [backbone.shapes()[i][0] for i in (0, 1, 3, 6, 10, 13, 16, 17, 18)] == [
        32, 16, 24, 32, 64, 96, 160, 320, 1280,
    ]  # fmt: skip
    assert (backbone.block_names[1], backbone.block_names[-2:]) == ("layer1.0", ("layer7.0", "conv"))


@pytest.mark.parametrize(("out_channels", "stride"), [(4, 1), (6, 1), (4, 2)])
def test_block_written_out(out_channels: int, stride: int) -> None:
    """A block of stride 1 has a shortcut, a convolution where the channels change; the last BatchNorm has no ReLU."""
    spec = InvertedResidual(4, out_channels, 3, stride)
    block = spec.build().double().eval()
    for parameter in block.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    p = block.state_dict()

    def bn(x: torch.Tensor, name: str) -> torch.Tensor:
        return x / (1 + 1e-5) ** 0.5 * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]

    x = torch.randn(2, 4, 6, 5, dtype=torch.float64)
    out = bn(F.conv2d(x, p["conv1.weight"]), "bn1").clamp(min=0)
    assert out.shape[1] == 12
    out = bn(F.conv2d(out, p["conv2.weight"], stride=stride, padding=1, groups=12), "bn2").clamp(min=0)
    out = bn(F.conv2d(out, p["conv3.weight"]), "bn3")
    if stride == 1:
        out = out + (x if out_channels == 4 else bn(F.conv2d(x, p["shortcut.conv.weight"]), "shortcut.bn"))
    torch.testing.assert_close(block(x.clone()), out, rtol=1e-12, atol=1e-12)
    assert out.shape[1:] == spec.shape((4, 6, 5))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: InvertedResidual(4, 4).rebuild(in_channels=4, stride=1, groups=2), r"groups must be 1, got 2\."),
        (lambda: InvertedResidual(4, 4).shape((5, 8, 8)), r"InvertedResidual: expected input of shape \(4, H, W\)"),
        (lambda: cifar_mobilenetv2(width=0.01), r"cifar_mobilenetv2: width must leave at least one channel"),
        (lambda: cifar_mobilenetv2(1), r"cifar_mobilenetv2: num_classes must be at least 2, got 1\."),
    ],
)
def test_what_cannot_be(call, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        call()
