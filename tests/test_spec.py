"""Backbone, Span, Partition, Batch and the chain of named modules."""

from dataclasses import FrozenInstanceError

import pytest
import torch
from torch import nn

from localgrad import Batch, LocalgradError, Partition, Span
from localgrad.backbones import vgg6a
from localgrad.spec import Block, chain

from .conftest import tiny_resnet


def test_shapes_follow_the_blocks() -> None:
    backbone = tiny_resnet()
    assert backbone.shapes() == ((8, 8, 8), (8, 8, 8), (8, 8, 8), (16, 4, 4), (16, 4, 4), (32, 2, 2), (32, 2, 2))
    assert backbone.shapes((3, 9, 5))[-1] == (32, 3, 2)
    assert len(backbone.blocks) == len(backbone.block_names) == 7
    assert all(isinstance(block, Block) for block in (*backbone.blocks, backbone.head))


def test_facts_are_the_constructors_arguments() -> None:
    facts = tiny_resnet().facts()
    own = {"name": "resnet14", "layers": 14, "num_classes": 4, "width": 0.5, "image": (3, 8, 8)}
    assert {name: facts[name] for name in own} == own


def test_specs_are_frozen_and_compare_by_value() -> None:
    assert tiny_resnet() == tiny_resnet()
    assert hash(tiny_resnet()) == hash(tiny_resnet())
    with pytest.raises(FrozenInstanceError):
        Span(0, 1).stop = 2  # type: ignore[misc]
    assert len(Span(2, 5)) == 3
    assert len(Partition((Span(0, 1), Span(1, 1)))) == 2
    assert Batch(torch.zeros(1)).y is None


def test_chain_nests_by_dots_and_keeps_the_order() -> None:
    names = ("stem", "a.0", "a.1.deep", "b", "head")
    modules = [nn.Linear(1, 1) for _ in names]
    net = chain(names, modules)
    assert [net.get_submodule(name) for name in names] == modules
    x = torch.ones(1, 1)
    expected = x
    for module in modules:
        expected = module(expected)
    assert torch.equal(net(x), expected)


def test_chain_refuses_an_order_that_it_cannot_keep() -> None:
    with pytest.raises(LocalgradError, match=r"block names: 'a\.1' comes after 'a' was left; keep it together\."):
        chain(("a.0", "b", "a.1"), [nn.Identity() for _ in range(3)])


def test_shapes_of_images_too_small_name_network_and_block() -> None:
    text = r"^vgg6a: block 'conv3': ConvLayer: expected input .* before max-pooling, got \(16, 1, 1\)"
    with pytest.raises(LocalgradError, match=text):
        vgg6a(feat_mult=1 / 32).shapes((3, 4, 4))
