"""Leaps: what the module computes, which blocks the default rule takes, and what does not fit."""

import pytest
import torch

from localgrad import LocalgradError
from localgrad.auxnets import Leap, default_leaps, leap_shape
from localgrad.auxnets.leap import LeapModule
from localgrad.backbones import resnet32, vgg16
from localgrad.blocks import PooledLinear
from localgrad.methods.mlaan_leaps import LEAPS

from ..conftest import tiny_resnet


def built(averaged: int, leaps: tuple[int, ...] = (3, 5, 6)) -> LeapModule:
    """Leaps over the blocks 3, 5 and 6 of the tiny network, two heads."""
    backbone = tiny_resnet()
    heads = (("logits", PooledLinear(32, 4)), ("other", PooledLinear(32, 3)))
    module = Leap(tuple(backbone.blocks[leap] for leap in leaps), heads, averaged).build()
    assert isinstance(module, LeapModule)
    return module


@pytest.mark.parametrize("averaged", [0, 1, 3])
def test_averaged_copies_are_added(averaged: int) -> None:
    module, h = built(averaged), torch.randn(2, 8, 8, 8)
    before = h.clone()
    outputs = module(h)
    z = h
    for j in range(3):
        z = module.trained[j](z) + (module.averaged[j](z) if j < averaged else 0)
    assert len(module.averaged) == averaged
    assert torch.equal(outputs["logits"], module.heads["logits"](z))
    assert torch.equal(outputs["other"], module.heads["other"](z))
    assert torch.equal(h, before)


@pytest.mark.parametrize("trained", [False, True])
def test_averaged_copies_have_no_gradient_unless_asked(trained: bool) -> None:
    module = Leap(tiny_resnet().blocks[5:6], (("logits", PooledLinear(32, 4)),), 1, trained).build()
    module(torch.randn(2, 16, 4, 4))["logits"].sum().backward()
    assert {p.grad is not None for p in module.averaged.parameters()} == {trained}
    assert all(p.grad is not None for p in module.trained.parameters())


def test_default_rule_on_the_papers_network() -> None:
    """The code's lists in stages 1 and 3 but for a (3, 2) in place of a (3, 3); in stage 2 one block fewer."""
    backbone = resnet32()
    lists = LEAPS["resnet32"][15]

    def ours(end: str) -> tuple[tuple[int, int], ...]:
        names = [backbone.block_names[leap] for leap in default_leaps(backbone, backbone.block_names.index(end))]
        return tuple((int(name[5]), int(name[7:])) for name in names)

    ends = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(5)][:-1]
    same = {end for end, leaps in zip(ends, lists, strict=True) if ours(end) == leaps}
    assert same == {"layer1.0", "layer1.1", "layer1.3", *(f"layer3.{block}" for block in range(4))}
    assert ours("layer1.2") == ((2, 0), (3, 0), (3, 2), (3, 4))
    assert ours("layer2.1") == ((3, 0), (3, 2), (3, 4))
    assert ours("layer3.4") == ()


@pytest.mark.parametrize("backbone", [tiny_resnet(), tiny_resnet(26), vgg16()], ids=lambda backbone: backbone.name)
def test_default_leaps_lead_to_the_last_shape(backbone) -> None:
    maps = [shape for shape in backbone.shapes() if len(shape) == 3]
    for end in range(len(maps)):
        leaps = default_leaps(backbone, end)
        assert list(leaps) == sorted(set(leaps))
        assert all(leap > end for leap in leaps)
        assert leap_shape(backbone, end, leaps, "test") == maps[-1]


def test_a_block_of_another_width() -> None:
    backbone = tiny_resnet()
    with pytest.raises(LocalgradError) as error:
        leap_shape(backbone, 1, (3, 6), "MLAAN")
    assert str(error.value) == (
        "MLAAN: a leap from 'layer2.0' to 'layer3.1' cannot be: 'layer2.0' gives (16, 4, 4), and 'layer3.1' reads 32 "
        "channels. Put the blocks between them that change the width into the list, or leap to blocks of the same "
        "width."
    )
