"""EfficientNet-B0 for CIFAR: one block written out, drop-connect, sizes, number of parameters, what cannot be."""

import pytest
import torch
import torch.nn.functional as F

from localgrad import LocalgradError, localize
from localgrad.backbones import cifar_efficientnet_b0
from localgrad.backbones.efficientnet import ConvBNSiLU, DropoutPooledLinear, DropPath, MBConv
from localgrad.methods import Backprop


def test_parameters_and_sizes() -> None:
    backbone = cifar_efficientnet_b0()
    with torch.device("meta"):
        model = localize(backbone, Backprop()).model
    assert sum(parameter.numel() for parameter in model.parameters()) == 3_598_598
    assert [shape[1] for shape in backbone.shapes()] == [32, 32, 16, 16, 8, 8, *[4] * 6, *[2] * 5]
    channels = [32, 16, 24, 24, 40, 40, *[80] * 3, *[112] * 3, *[192] * 4, 320]
    assert [shape[0] for shape in backbone.shapes()] == channels
    assert [block.kernel for block in backbone.blocks[1:]] == [3, 3, 3, 5, 5, 3, 3, 3, *[5] * 7, 3]


def test_drop_connect_grows_along_the_depth() -> None:
    backbone = cifar_efficientnet_b0()
    rates = [block.drop_path for block in backbone.blocks[1:]]
    assert rates == [pytest.approx(0.2 * i / 16) for i in range(16)]
    assert backbone.head == DropoutPooledLinear(320, 10, 0.2)
    assert {block.drop_path for block in cifar_efficientnet_b0(drop=0.0).blocks[1:]} == {0.0}


@pytest.mark.parametrize(
    "spec", [MBConv(8, 8, 3, 1, 5), MBConv(8, 6, 3, 1), MBConv(8, 8, 3, 2, 5), MBConv(8, 8, 1), MBConv(3, 6, 2)]
)
def test_block_written_out(spec: MBConv) -> None:
    block = spec.build().double().eval()
    for parameter in block.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    p, inner = block.layers.state_dict(), spec.expansion * spec.in_channels

    def bn(x: torch.Tensor, name: str) -> torch.Tensor:
        return x / (1 + 1e-5) ** 0.5 * p[f"{name}.weight"][:, None, None] + p[f"{name}.bias"][:, None, None]

    def swish(x: torch.Tensor) -> torch.Tensor:
        return x * x.sigmoid()

    x = out = torch.randn(2, spec.in_channels, 6, 5, dtype=torch.float64)
    assert ("conv1.weight" in p) == (spec.expansion != 1)
    if spec.expansion != 1:
        out = swish(bn(F.conv2d(x, p["conv1.weight"]), "bn1"))
    kernel = p["conv2.weight"]
    assert kernel.shape == (inner, 1, spec.kernel, spec.kernel)
    out = swish(bn(F.conv2d(out, kernel, stride=spec.stride, padding=spec.kernel // 2, groups=inner), "bn2"))
    squeezed = F.conv2d(out.mean((2, 3), keepdim=True), p["se.down.weight"], p["se.down.bias"])
    # A quarter of the block's input channels.
    assert squeezed.shape[1] == max(1, spec.in_channels // 4)
    out = out * F.conv2d(swish(squeezed), p["se.up.weight"], p["se.up.bias"]).sigmoid()
    out = bn(F.conv2d(out, p["conv3.weight"]), "bn3")
    if spec.stride == 1 and spec.in_channels == spec.out_channels:
        out = out + x
    torch.testing.assert_close(block(x.clone()), out, rtol=1e-12, atol=1e-12)
    assert out.shape[1:] == spec.shape((spec.in_channels, 6, 5))


def test_drop_path() -> None:
    h = torch.rand(2000, 2, 2, 2) + 1
    drop = DropPath(0.25)
    ratio = (drop(h) / h).flatten(1)
    torch.testing.assert_close(ratio.amin(1), ratio.amax(1))
    assert ratio.mean().item() == pytest.approx(1, abs=0.05)
    assert (ratio[:, 0] == 0).float().mean().item() == pytest.approx(0.25, abs=0.04)
    assert torch.equal(drop.eval()(h), h)
    assert torch.equal(DropPath(0.0)(h), h)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: MBConv(4, 4).rebuild(in_channels=4, stride=1, groups=2), r"MBConv: .* groups must be 1, got 2\."),
        (lambda: ConvBNSiLU(4, 4).rebuild(in_channels=4, stride=1, groups=2), r"ConvBNSiLU: .* must be 1, got 2\."),
        (lambda: DropoutPooledLinear(4, 3).shape((4,)), r"DropoutPooledLinear: .* shape \(4, H, W\), got \(4,\)"),
        (lambda: cifar_efficientnet_b0(drop=1), r"cifar_efficientnet_b0: drop must be at least 0 and below 1, got 1\."),
        (lambda: cifar_efficientnet_b0(width=0.01), r"cifar_efficientnet_b0: width must leave at least one channel"),
    ],
)
def test_what_cannot_be(call, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        call()


def test_rebuild() -> None:
    assert MBConv(4, 8, 6, 2, 5, 0.1).rebuild(in_channels=2, stride=1) == MBConv(2, 8, 6, 1, 5, 0.1)
    assert ConvBNSiLU(3, 8).rebuild(in_channels=8, stride=2) == ConvBNSiLU(8, 8, 2)
    assert DropoutPooledLinear(4, 3).rebuild(in_channels=5) == DropoutPooledLinear(5, 3)
