"""Frozen features of every block: those of the plain network, whatever K is, and nothing is changed."""

import torch
from tests.backbones.foreign_kinds import vit
from tests.conftest import changed, copy_of, tiny_resnet
from torch import Tensor, nn

from localgrad import LocalNetwork, equal_blocks, localize
from localgrad.analysis import block_features
from localgrad.analysis.features import pooled
from localgrad.data import Loader, Split
from localgrad.methods import DGL, DGSSL, Backprop
from localgrad.recipes import digits
from localgrad.train.setup import load_images, make_loaders

BACKBONE = tiny_resnet(image=(1, 8, 8), classes=10)
TEST = make_loaders(digits.dgl(), load_images(digits.dgl()), torch.device("cpu")).test


def test_features_are_those_of_the_plain_network() -> None:
    nets = [localize(BACKBONE, DGSSL(), partition=equal_blocks(count)) for count in (1, 4)]
    nets.append(localize(BACKBONE, Backprop()))
    before = copy_of(nets[1].train())
    found = [block_features(net, TEST) for net in nets]
    assert not changed(before, copy_of(nets[1])) and nets[1].training
    assert list(found[0].blocks) == list(BACKBONE.block_names)
    assert [value.shape for value in found[0].blocks.values()] == [(360, c) for c in (8, 8, 8, 16, 16, 32, 32)]
    batch = TEST.batch(0, 0)
    assert torch.equal(found[1].labels_N, batch.y)
    for one in found:
        assert all(torch.equal(one.blocks[name], found[0].blocks[name]) for name in BACKBONE.block_names)
        assert not any(value.requires_grad for value in one.blocks.values())
    with torch.no_grad():
        torch.testing.assert_close(found[0].blocks[BACKBONE.block_names[-1]], nets[0].eval()(batch.x))


def test_features_of_a_foreign_network_and_of_another_description() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 10))
    net: LocalNetwork = localize(model, DGL(head="0c1f"), 1, example=torch.zeros(2, 1, 8, 8))

    def flat(h: Tensor) -> Tensor:
        return h.flatten(1)

    found = block_features(net, TEST, describe=flat)
    batch = TEST.batch(0, 0)
    with torch.no_grad():
        hidden = model[1](model[0](batch.x)).flatten(1)
    assert any(value.shape == hidden.shape and torch.allclose(value, hidden) for value in found.blocks.values())


def test_tokens_are_pooled_over_positions_not_channels() -> None:
    h_BNC = torch.randn(2, 5, 3)
    torch.testing.assert_close(pooled(h_BNC, 1), h_BNC.mean(1))
    torch.testing.assert_close(pooled(h_BNC), h_BNC.mean(2))
    net: LocalNetwork = localize(vit(), Backprop(), example=torch.zeros(1, 3, 32, 32))
    split = Split(torch.zeros(3, 3, 32, 32, dtype=torch.uint8), torch.arange(3))
    three = Loader(split, mean=(0.5,) * 3, std=(0.5,) * 3, batch_size=2, seed=0, device="cpu", shuffle=False)
    widths = [shape[1] if len(shape) == 2 else shape[0] for shape in net.backbone.shapes()]
    assert any(len(shape) == 2 and shape[0] != shape[1] for shape in net.backbone.shapes())
    assert [value.shape for value in block_features(net, three).blocks.values()] == [(3, width) for width in widths]
