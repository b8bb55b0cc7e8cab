"""Later blocks of foreign networks, rebuilt behind other features with fresh weights."""

import copy
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import localgrad as lg
from localgrad.backbones.module import wrap
from localgrad.backbones.wrapped import WrappedBlock
from localgrad.errors import LocalgradError
from localgrad.rng import seeded
from localgrad.spec import AdaptableBlock, Backbone, Shape

from .foreign_kinds import convnext, mixer, resnet, sgd, swin, vit

KINDS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet": (resnet, 32),
    "convnext": (convnext, 32),
    "vit": (vit, 32),
    "swin": (swin, 64),
    "mixer": (mixer, 32),
}


def wrapped(name: str) -> Backbone:
    make, size = KINDS[name]
    return wrap(make(), torch.zeros(1, 3, size, size))


def block_of(backbone: Backbone, index: int) -> WrappedBlock:
    block = backbone.blocks[index]
    assert isinstance(block, WrappedBlock)
    return block


class Activated(nn.Module):
    """A block that activates its input in place before it adds to it, as old pre-activation ResNets do."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(2))

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.conv2(self.conv1(F.relu(h, inplace=True)))
        return out


class InPlace(nn.Module):
    """Blocks that write into their input, and one of two calls with a parameter of the top level: a graph module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.full((4, 1, 1), 9.0))
        self.stage = nn.Sequential(Activated(), Activated(), Activated())
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stage(self.conv(x) * self.scale)
        out: Tensor = self.fc(F.dropout(h, 0.5, self.training).mean((2, 3)))
        return out


@pytest.mark.parametrize("name", KINDS)
def test_every_block_behind_every_earlier_one(name: str) -> None:
    """Shapes as said, on the meta device too; the network's parameters are neither used nor shared."""
    backbone = wrapped(name)
    assert backbone.source is not None
    shapes, axes = backbone.shapes(), backbone.channel_axes()
    own = {value.data_ptr() for value in backbone.source.module.state_dict().values()}
    last = len(shapes) - 1
    for start, stop in [(0, last), (0, 1), (1, last - 1), (last, 1)]:
        made = block_of(backbone, stop).behind(shapes[start], axes[start])
        assert isinstance(made, AdaptableBlock)
        assert made.shape(shapes[start]) == shapes[stop]
        assert made.out_axis == axes[stop]
        module = made.build()
        out = module(torch.randn(2, *shapes[start]))
        assert tuple(out.shape[1:]) == shapes[stop] and bool(out.isfinite().all())
        assert own.isdisjoint(value.data_ptr() for value in module.state_dict().values())
        with torch.device("meta"):
            module = made.build()
            assert tuple(module(torch.empty(2, *shapes[start])).shape[1:]) == shapes[stop]
        assert {value.device.type for value in module.state_dict().values()} == {"meta"}


def test_a_block_that_fits_is_a_copy_alone() -> None:
    backbone = wrapped("vit")
    block = block_of(backbone, 3)
    made = block.behind(backbone.shapes()[1], 1)
    built = made.build()
    assert type(built) is type(block.module) and built is not block.module
    assert copy.deepcopy(made).build().state_dict().keys() == block.module.state_dict().keys()


def test_weights_are_a_function_of_the_seed() -> None:
    backbone = wrapped("convnext")

    def draw(seed: int) -> list[Tensor]:
        with seeded(seed):
            module = block_of(backbone, 4).behind(backbone.shapes()[0]).build()
        return list(module.parameters())

    assert all(torch.equal(a, b) for a, b in zip(draw(0), draw(0), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(draw(0), draw(1), strict=True))


@pytest.mark.parametrize(
    ("name", "index", "in_channels", "stride", "given"),
    [
        ("resnet", 1, 5, 1, (5, 8, 8)),
        ("resnet", 1, 5, 2, (5, 16, 16)),
        ("resnet", 3, 5, 1, (5, 4, 4)),
        ("vit", 2, 9, 2, (68, 9)),
        ("swin", 2, 9, 2, (32, 32, 9)),
    ],
)
def test_rebuild(name: str, index: int, in_channels: int, stride: int, given: Shape) -> None:
    backbone = wrapped(name)
    made = block_of(backbone, index).rebuild(in_channels=in_channels, stride=stride)
    expected = backbone.shapes()[index]
    assert made.shape(given) == expected
    assert tuple(made.build()(torch.randn(2, *given)).shape[1:]) == expected
    again = made.rebuild(in_channels=in_channels + 1, stride=stride)
    assert again.adapter.given[made.out_axis] == in_channels + 1


def test_other_images_and_wrong_channels() -> None:
    backbone = wrapped("resnet")
    made = block_of(backbone, 4).behind((4, 8, 8))
    assert made.shape((4, 8, 8)) == backbone.shapes()[4]
    assert made.shape((4, 12, 16)) == tuple(made.build()(torch.randn(2, 4, 12, 16)).shape[1:])
    with pytest.raises(LocalgradError, match=r"rebuilt block made for features of shape \(4, 8, 8\) cannot read"):
        made.shape((5, 8, 8))
    with pytest.raises(LocalgradError, match=r"'layer1.0' belongs to a foreign network: .*with groups=2"):
        block_of(backbone, 1).rebuild(in_channels=4, stride=1, groups=2)


def test_what_is_written_in_place_is_a_copy() -> None:
    backbone = wrap(InPlace(), torch.zeros(1, 3, 8, 8))
    block = block_of(backbone, 2)
    made = block.behind(block.in_shape)
    assert made.copies
    h = torch.randn(2, *block.in_shape)
    before = h.clone()
    made.build()(h)
    assert torch.equal(h, before)
    assert not block.behind((7, 4, 4)).copies  # what is adapted is new already
    net = lg.localize(InPlace(), lg.methods.AugLocal(depth=2), 4, example=torch.zeros(1, 3, 8, 8))
    data = lg.Batch(x=torch.randn(2, 3, 8, 8), y=torch.tensor([0, 1]))
    sent = [unit(data.x) for unit in net.unit_list()[:1]]
    outputs = lg.Sequential(net, optimizer=sgd).updates
    assert torch.equal(net.unit_list()[0].step(data.x, data, outputs[0])[0], sent[0])


def test_a_graph_with_a_parameter_of_the_top_level() -> None:
    model = InPlace()
    backbone = wrap(model, torch.zeros(1, 3, 8, 8))
    block = next(b for b in backbone.blocks if isinstance(b, WrappedBlock) and b.borrowed)
    assert isinstance(block.module, torch.fx.GraphModule)
    copied = block.behind(block.in_shape).build()
    scales = [p for p in copied.parameters() if p.shape == (4, 1, 1)]
    assert len(scales) == 1 and scales[0] is not model.scale
    assert torch.equal(scales[0], torch.ones(4, 1, 1))
