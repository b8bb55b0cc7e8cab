"""How auxiliary networks see tokens, maps with channels last, and vectors."""

import torch
from torch import nn

from localgrad import backbones
from localgrad.auxnets import PooledDecoder, VectorMLP, View, views_of
from localgrad.blocks import PooledLinear


def test_maps_and_vectors_are_seen_as_they_are() -> None:
    head = PooledLinear(4, 3)
    assert View((4, 8, 8)).of(head) is head
    assert View((4,)).of(head) is head
    backbone = backbones.resnet20()
    assert [view.shape for view in views_of(backbone)] == list(backbone.shapes())
    assert all(view.of(head) is head for view in views_of(backbone))


def test_channels_last_are_moved_to_the_front() -> None:
    view = View((6, 5, 4), 2)
    assert view.shape == (4, 6, 5)
    built = view.of(PooledDecoder(view.shape, 3, 4)).build()
    h = torch.randn(2, 6, 5, 4)
    (seen, head) = built.children()
    assert torch.equal(seen(h), h.permute(0, 3, 1, 2))
    assert torch.equal(built(h), head(h.permute(0, 3, 1, 2)))


def test_of_tokens_the_mean_behind_a_norm() -> None:
    h = torch.randn(2, 9, 4) * 50
    for view, tokens in ((View((9, 4), 1), h), (View((4, 9), 0), h.transpose(1, 2)), (View((3, 3, 1, 4), 3), h)):
        assert view.shape == (4,)
        built = view.of(VectorMLP(4, 3, hidden=0)).build()
        expected = nn.functional.layer_norm(h, (4,)).mean(1)
        assert torch.allclose(built[0](tokens.reshape(2, *view.features)), expected, atol=1e-5)
        assert built(tokens.reshape(2, *view.features)).shape == (2, 3)


def test_an_axis_in_the_middle() -> None:
    view = View((5, 4, 6), 1)
    assert view.shape == (4, 5, 6)
    assert view.of(PooledLinear(4, 3)).build()(torch.randn(2, 5, 4, 6)).shape == (2, 3)
