"""CIFAR ResNets: structure, shapes, one block written out, and what cannot be."""

import pytest
import torch
import torch.nn.functional as F

from localgrad import LocalgradError, backbones, localize
from localgrad.backbones import cifar_resnet
from localgrad.backbones.resnet import BasicBlock
from localgrad.methods import Backprop


@pytest.mark.parametrize(
    ("name", "blocks"), [("resnet20", 10), ("resnet32", 16), ("resnet44", 22), ("resnet56", 28), ("resnet110", 55)]
)
def test_number_of_blocks(name: str, blocks: int) -> None:
    backbone = getattr(backbones, name)(num_classes=7, width=2)
    assert len(backbone.blocks) == blocks
    assert backbone.name == name
    assert [shape[0] for shape in (backbone.shapes()[0], backbone.shapes()[-1])] == [32, 128]
    assert backbone.num_classes == 7
    assert (backbone.block_names[0], backbone.block_names[-1]) == ("stem", f"layer3.{(blocks - 1) // 3 - 1}")


@pytest.mark.parametrize("image", [(3, 8, 8), (1, 8, 8), (3, 5, 12), (2, 1, 1)])
@pytest.mark.parametrize("width", [0.5, 1, 2])
def test_any_image_and_width(image: tuple[int, int, int], width: float) -> None:
    backbone = cifar_resnet(8, 5, width, image)
    net = localize(backbone, Backprop()).eval()
    h = torch.randn(2, *image)
    for name, shape in zip(backbone.block_names, backbone.shapes(), strict=True):
        h = net.model.get_submodule(name)(h)
        assert h.shape[1:] == shape
    assert net.model.get_submodule("head")(h).shape == (2, 5)


@pytest.mark.parametrize(("in_channels", "out_channels", "stride"), [(4, 4, 1), (4, 8, 2), (4, 8, 1), (4, 4, 2)])
def test_basic_block_written_out(in_channels: int, out_channels: int, stride: int) -> None:
    spec = BasicBlock(in_channels, out_channels, stride)
    block = spec.build().double().eval()
    for parameter in block.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    for name, buffer in block.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand_like(buffer) + 0.5)
    p = block.state_dict()

    def bn(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var, weight, bias = (
            p[f"{name}.{key}"][:, None, None] for key in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / (var + 1e-5).sqrt() * weight + bias

    x = torch.randn(2, in_channels, 6, 5, dtype=torch.float64)
    out = bn(F.conv2d(x, p["conv1.weight"], stride=stride, padding=1), "bn1").clamp(min=0)
    out = bn(F.conv2d(out, p["conv2.weight"], padding=1), "bn2")
    changes = stride != 1 or in_channels != out_channels
    assert changes == ("shortcut.conv.weight" in p)
    out = out + (bn(F.conv2d(x, p["shortcut.conv.weight"], stride=stride), "shortcut.bn") if changes else x)
    torch.testing.assert_close(block(x.clone()), out.clamp(min=0), rtol=1e-12, atol=1e-12)
    assert block(x).shape[1:] == spec.shape((in_channels, 6, 5))


def test_a_block_leaves_its_input() -> None:
    x = torch.randn(2, 4, 6, 6)
    same = x.clone()
    BasicBlock(4, 4).build()(x)
    assert torch.equal(x, same)


def test_rebuild() -> None:
    assert BasicBlock(4, 8, 2).rebuild(in_channels=2, stride=1, groups=2) == BasicBlock(2, 8, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"layers": 33}, r"layers must be 6n \+ 2 \(8, 14, 20, 26, 32, \.\.\.\), got 33\. Nearest: 32\."),
        ({"layers": 2}, r"layers must be 6n \+ 2 .* got 2\. Nearest: 8\."),
        ({"layers": -4}, r"layers must be 6n \+ 2 .* got -4\. Nearest: 8\."),
        ({"layers": 8, "num_classes": 1}, r"num_classes must be at least 2, got 1\."),
        ({"layers": 8, "width": 0.01}, r"width must leave at least one channel, got 0\.01 \(16 \* width < 1\)\."),
        ({"layers": 8, "width": -1}, r"width must leave at least one channel, got -1"),
        ({"layers": 8, "image": (32, 32)}, r"image must be \(channels, height, width\), all above 0, got \(32, 32\)"),
        ({"layers": 8, "image": (3, 0, 8)}, r"image must be .* got \(3, 0, 8\)"),
    ],
)
def test_what_cannot_be(arguments: dict, text: str) -> None:
    with pytest.raises(LocalgradError, match="cifar_resnet: " + text):
        cifar_resnet(**arguments)
