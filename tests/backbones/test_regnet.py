"""RegNetX-400MF for CIFAR: one block written out, sizes, number of parameters, what cannot be."""

import pytest
import torch
import torch.nn.functional as F

from localgrad import LocalgradError, localize
from localgrad.backbones import cifar_regnetx_400mf
from localgrad.backbones.regnet import RegNetBlock
from localgrad.methods import Backprop


def test_parameters_and_sizes() -> None:
    backbone = cifar_regnetx_400mf()
    with torch.device("meta"):
        model = localize(backbone, Backprop()).model
    assert sum(parameter.numel() for parameter in model.parameters()) == 4_779_338
    assert [shape[0] for shape in backbone.shapes()] == [64, 32, 64, 64, *[160] * 7, *[384] * 12]
    assert [shape[1] for shape in backbone.shapes()] == [32, 32, 32, 32, *[16] * 7, *[8] * 12]
    assert (backbone.block_names[1], backbone.block_names[-1]) == ("layer1.0", "layer4.11")


@pytest.mark.parametrize(("in_channels", "stride"), [(32, 1), (8, 1), (32, 2)])
def test_block_written_out(in_channels: int, stride: int) -> None:
    spec = RegNetBlock(in_channels, 32, stride)
    block = spec.build().double().eval()
    for parameter in block.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    p = block.state_dict()

    def bn(x: torch.Tensor, name: str) -> torch.Tensor:
        return x / (1 + 1e-5) ** 0.5 * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]

    x = torch.randn(2, in_channels, 6, 5, dtype=torch.float64)
    out = bn(F.conv2d(x, p["conv1.weight"]), "bn1").clamp(min=0)
    out = bn(F.conv2d(out, p["conv2.weight"], stride=stride, padding=1, groups=2), "bn2").clamp(min=0)
    out = bn(F.conv2d(out, p["conv3.weight"]), "bn3")
    changes = stride != 1 or in_channels != 32
    assert changes == ("shortcut.conv.weight" in p)
    out = out + (bn(F.conv2d(x, p["shortcut.conv.weight"], stride=stride), "shortcut.bn") if changes else x)
    torch.testing.assert_close(block(x.clone()), out.clamp(min=0), rtol=1e-12, atol=1e-12)
    assert out.shape[1:] == spec.shape((in_channels, 6, 5))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: RegNetBlock(4, 16).rebuild(in_channels=4, stride=1, groups=2), r"groups must be 1, got 2\."),
        (lambda: cifar_regnetx_400mf(width=0.3), r"multiples of 16 channels .* got 0\.3, which leaves \[10, 19, 48, "),
        (lambda: cifar_regnetx_400mf(image=(3, 0, 8)), r"cifar_regnetx_400mf: image must be"),
    ],
)
def test_what_cannot_be(call, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        call()
