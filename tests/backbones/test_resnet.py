"""CIFAR ResNets: structure, shapes, one block written out, and what cannot be."""

import pytest
import torch
import torch.nn.functional as F

from localgrad import LocalgradError, Sequential, backbones, localize
from localgrad.backbones import cifar_resnet
from localgrad.backbones.resnet import BasicBlock
from localgrad.count import count_macs
from localgrad.methods import DGL, GNDGL, AugLocal, Backprop
from localgrad.partition import equal_blocks
from tests.conftest import random_batch, sgd


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


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("in_channels", "out_channels", "stride"), [(4, 8, 2), (4, 4, 2), (4, 7, 1), (4, 4, 1)])
def test_option_a_written_out(in_channels: int, out_channels: int, stride: int, channels_last: bool) -> None:
    """Every second row and column, zeros behind the input's channels (methods.md 2.4), gradients too."""
    spec = BasicBlock(in_channels, out_channels, stride, shortcut="A")
    block = spec.build().double()
    assert block.shortcut is None
    assert {name.partition(".")[0] for name, _ in block.named_parameters()} == {"conv1", "bn1", "conv2", "bn2"}
    memory = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(2, in_channels, 6, 5, dtype=torch.float64).to(memory_format=memory).requires_grad_()
    out = block(x)
    assert out.shape[1:] == spec.shape((in_channels, 6, 5))
    assert out.is_contiguous(memory_format=memory)
    residual = block.bn2(block.conv2(F.relu(block.bn1(block.conv1(x)))))
    zeros = torch.zeros(2, out_channels - in_channels, *residual.shape[2:], dtype=torch.float64)
    passed = x[:, :, ::stride, ::stride] if stride == 2 else x
    expected = F.relu(residual + torch.cat([passed, zeros], 1))
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn_like(out)
    ours, theirs = (torch.autograd.grad((one * weight).sum(), x)[0] for one in (out, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


def test_option_a_costs_nothing() -> None:
    """The network of DGL's comparison: the 1x1 convolutions and their BatchNorms are what is missing."""
    plain, bare = (cifar_resnet(20, shortcut=shortcut) for shortcut in ("B", "A"))
    nets = [localize(backbone, Backprop()) for backbone in (plain, bare)]
    with_b, with_a = (count_macs(net.model, plain.image)[0] for net in nets)
    # 16 -> 32 channels on 16x16 positions, 32 -> 64 on 8x8.
    assert with_b["conv"] - with_a["conv"] == 16 * 32 * 16 * 16 + 32 * 64 * 8 * 8
    assert {kind for kind in with_b if with_b[kind] != with_a[kind]} == {"conv", "norm"}
    sizes = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert sizes[0] - sizes[1] == 16 * 32 + 2 * 32 + 32 * 64 + 2 * 64


@pytest.mark.parametrize("method", [DGL(), AugLocal(depth=3), AugLocal(depth=3, selection="repetitive-strided")])
def test_networks_with_option_a_train(method: DGL | AugLocal) -> None:
    backbone = cifar_resnet(14, 3, 0.5, (3, 9, 8), shortcut="A")
    net = localize(backbone, method)
    losses = Sequential(net, sgd).step(random_batch(backbone)).losses
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in losses.values())
    assert not [name for name, _ in net.named_parameters() if ".shortcut." in name]


def test_option_a_makes_no_groups_and_no_narrower_blocks() -> None:
    with pytest.raises(LocalgradError, match=r"neuron groups: blocks with option-A shortcuts cannot be cut .*'B'"):
        localize(cifar_resnet(8, shortcut="A"), GNDGL(), partition=equal_blocks(2))
    with pytest.raises(
        LocalgradError, match="adds channels of zeros and cannot take any away, got 8 channels to make 4"
    ):
        BasicBlock(4, 4, shortcut="A").rebuild(in_channels=8, stride=1)


def test_auxiliary_networks_may_start_as_pytorch_draws_them() -> None:
    nets = [
        localize(cifar_resnet(8, aux_weights=weights), DGL(head="cnn"), 4, seed=2) for weights in ("network", "pytorch")
    ]
    stds = [[p.std().item() for name, p in net.units[2].aux.named_parameters() if "conv" in name] for net in nets]
    he, own = (2 / (9 * 32)) ** 0.5, (1 / (3 * 9 * 32)) ** 0.5
    assert stds[0] == pytest.approx([he, he], rel=0.05)
    assert stds[1] == pytest.approx([own, own], rel=0.05)
    assert torch.equal(*(net.model.get_submodule("layer3.0.conv1").weight for net in nets))


def test_a_block_leaves_its_input() -> None:
    x = torch.randn(2, 4, 6, 6)
    same = x.clone()
    for block in (BasicBlock(4, 4), BasicBlock(4, 8, 2, shortcut="A")):
        block.build()(x)
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
        ({"layers": 8, "shortcut": "a"}, r"shortcut 'a' is unknown\. .*A"),
        ({"layers": 8, "aux_weights": "he"}, r"aux_weights 'he' is unknown\. There are: network, pytorch\."),
    ],
)
def test_what_cannot_be(arguments: dict, text: str) -> None:
    with pytest.raises(LocalgradError, match="cifar_resnet: " + text):
        cifar_resnet(**arguments)
