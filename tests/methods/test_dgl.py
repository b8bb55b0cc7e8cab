"""DGL's heads by word, and what it refuses."""

from typing import get_args

import pytest
import torch

from localgrad import Batch, LocalgradError, Sequential, localize
from localgrad.auxnets import CnnHead, ConvFC, MlpSR
from localgrad.backbones import cifar_resnet, resnet32
from localgrad.methods import DGL
from localgrad.methods.dgl import Head
from localgrad.spec import AuxSpec

from ..conftest import random_batch, sgd, tiny_resnet

# Behind 16 channels of 32x32, behind 64 channels of 8x8 of ResNet-32.
EXPECTED: dict[str, tuple[AuxSpec, AuxSpec]] = {
    "mlp-sr": (MlpSR(16, (32, 32), 10), MlpSR(64, (8, 8), 10)),
    "mlp": (MlpSR(16, (32, 32), 10, convs=0), MlpSR(64, (8, 8), 10, convs=0)),
    "cnn": (CnnHead(16, 10), CnnHead(64, 10)),
    "auglocal": (
        MlpSR(16, (32, 32), 10, hidden=2, hidden_bias=False, pooled=(2, 2)),
        MlpSR(64, (8, 8), 10, hidden=2, hidden_bias=False, pooled=(2, 2)),
    ),
    "0c1f": (ConvFC(16, 10, 32, 2, 0, 1), ConvFC(64, 10, 64, 1, 0, 1)),
    "0c2f": (ConvFC(16, 10, 32, 2, 0, 2), ConvFC(64, 10, 64, 1, 0, 2)),
    "1c1f": (ConvFC(16, 10, 32, 2, 1, 1), ConvFC(64, 10, 64, 1, 1, 1)),
    "1c2f": (ConvFC(16, 10, 32, 2, 1, 2), ConvFC(64, 10, 64, 1, 1, 2)),
    "1c3f": (ConvFC(16, 10, 32, 2, 1, 3), ConvFC(64, 10, 64, 1, 1, 3)),
    "2c2f": (ConvFC(16, 10, 32, 2, 2, 2), ConvFC(64, 10, 64, 1, 2, 2)),
    "gndgl-1c1f": (ConvFC(16, 10, 32, 2, 1, 1), ConvFC(64, 10, 128, 2, 1, 1)),
    "gndgl-1c2f": (ConvFC(16, 10, 32, 2, 1, 2), ConvFC(64, 10, 128, 2, 1, 2)),
    "gndgl-1c3f": (ConvFC(16, 10, 32, 2, 1, 3), ConvFC(64, 10, 128, 2, 1, 3)),
    "gndgl-2c2f": (ConvFC(16, 10, 32, 2, 2, 2), ConvFC(64, 10, 128, 2, 2, 2)),
}


def test_every_word_is_here() -> None:
    assert set(get_args(Head)) == EXPECTED.keys()


@pytest.mark.parametrize("head", EXPECTED)
def test_head(head: Head) -> None:
    early, late = EXPECTED[head]
    assert DGL(head=head).auxnet(resnet32(), (16, 32, 32)) == early
    assert DGL(head=head).auxnet(resnet32(), (64, 8, 8)) == late


@pytest.mark.parametrize("head", EXPECTED)
def test_every_head_trains(head: Head) -> None:
    """On one channel, not square, not a power of two."""
    backbone = tiny_resnet(8, image=(1, 7, 10))
    net = localize(backbone, DGL(head=head, mlp_hidden=1, max_hidden=12))
    losses = Sequential(net, sgd).step(random_batch(backbone)).losses
    assert len(losses) == 4
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in losses.values())


def test_arguments_reach_the_heads() -> None:
    shape = (16, 32, 32)
    assert DGL(mlp_hidden=2, max_hidden=20).auxnet(resnet32(), shape) == MlpSR(
        16, (32, 32), 10, hidden=2, max_hidden=20
    )
    assert DGL(head="mlp", mlp_hidden=1).auxnet(resnet32(), shape) == MlpSR(16, (32, 32), 10, convs=0, hidden=1)
    assert DGL(head="1c2f", widen=2).auxnet(resnet32(), shape) == ConvFC(16, 10, 64, 2, 1, 2, hidden=256)
    assert DGL(head="gndgl-1c2f", widen=2).auxnet(resnet32(), shape) == ConvFC(16, 10, 32, 2, 1, 2, hidden=256)


@pytest.mark.parametrize(("size", "pooled"), [((8, 8), (2, 2)), ((4, 4), (1, 1)), ((4, 12), (1, 2)), ((5, 1), (2, 1))])
def test_auglocals_last_pool_is_at_most_a_quarter(size: tuple[int, int], pooled: tuple[int, int]) -> None:
    assert DGL(head="auglocal").auxnet(resnet32(), (64, *size)).pooled == pooled


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"head": "1c2"}, r"DGL: head '1c2' is unknown\. Did you mean .*1c2f"),
        ({"head": "mlpsr"}, r"DGL: head 'mlpsr' is unknown\. Did you mean mlp-sr or mlp"),
        ({"mlp_hidden": 0}, "DGL: mlp_hidden must be at least 1, got 0"),
        ({"max_hidden": 0}, "DGL: max_hidden must be at least 1, got 0"),
        ({"widen": -1}, "DGL: widen must be at least 1, got -1"),
    ],
)
def test_what_cannot_be(arguments: dict, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        DGL(**arguments)


def test_modules_that_no_table_has() -> None:
    with pytest.raises(LocalgradError, match=r"has 1, 2, 3, 4, 8, 16\)\. Take one of these, or partition=equal_blocks"):
        localize(resnet32(), DGL(), 7)


def test_learns() -> None:
    """A few steps on one batch bring every unit's loss down."""
    backbone = cifar_resnet(8, 3, 0.5, (1, 8, 8))
    net = localize(backbone, DGL())
    loop = Sequential(net, sgd)
    y = torch.arange(12) % 3
    x = torch.randn(12, 1, 8, 8) + y.view(-1, 1, 1, 1)
    losses = [loop.step(Batch(x, y)).losses for _ in range(12)]
    assert all(losses[-1][unit]["ce"] < 0.7 * losses[0][unit]["ce"] for unit in losses[0])
