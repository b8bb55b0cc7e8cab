"""What methods make of foreign networks, and what they refuse."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import localgrad as lg
from localgrad.auxnets import Truncated, VectorMLP, View
from localgrad.auxnets.views import Viewed
from localgrad.backbones.module import wrap
from localgrad.backbones.rebuilding import RebuiltBlock
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, InfoPro, Lambdas, PredSim
from localgrad.methods.auglocal_adapted import adapted_blocks
from localgrad.methods.reconstruction import Reconstruction
from localgrad.spec import AuxSpec, Backbone

from ..backbones.foreign_kinds import batch, resnet, sgd, swin, vit

LAMBDAS = Lambdas(first=(2, 0.5), last=(0.5, 1))
SIZES = {resnet: 32, swin: 64, vit: 32}


@pytest.fixture(scope="module")
def wrapped() -> dict[Any, Backbone]:
    """A network of maps, one of maps with channels last, one of tokens."""
    return {make: wrap(make(), torch.zeros(1, 3, size, size)) for make, size in SIZES.items()}


def aux_of(backbone: Backbone, method: Any, modules: int = 4) -> list[AuxSpec]:
    """The first auxiliary network of every unit but the last."""
    return [unit.objectives[0].aux for unit in method.units(backbone, lg.equal_blocks(modules)(backbone))[:-1]]


def names(aux: AuxSpec) -> list[str]:
    """Names of the blocks that an auxiliary network of AugLocal copies."""
    inner = aux.head if isinstance(aux, Viewed) else aux
    assert isinstance(inner, Truncated)
    return [block.source.name for block in inner.blocks if isinstance(block, RebuiltBlock)]


def test_dgl_on_tokens(wrapped: dict[Any, Backbone]) -> None:
    view = View((17, 32), 1)
    assert aux_of(wrapped[vit], DGL(max_hidden=64)) == [Viewed(view, VectorMLP(32, 5, 3, 64))] * 3
    assert aux_of(wrapped[vit], DGL(mlp_hidden=1)) == [Viewed(view, VectorMLP(32, 5, 1))] * 3
    assert aux_of(wrapped[vit], DGL(head="auglocal"))[0] == Viewed(view, VectorMLP(32, 5, 2, hidden_bias=False))


def test_dgl_on_channels_last_is_that_of_maps(wrapped: dict[Any, Backbone]) -> None:
    method = DGL(max_hidden=64)
    for head, shape in zip(aux_of(wrapped[swin], method), [(8, 16, 16), (16, 8, 8), (32, 4, 4)], strict=True):
        assert isinstance(head, Viewed)
        assert head.view.shape == shape
        assert head.head == method.auxnet(wrapped[swin], shape)
    (wide,) = {aux.head.conv_channels for aux in aux_of(wrapped[swin], DGL(head="1c2f"))[:1]}  # type: ignore[attr-defined]
    assert wide == 16  # the next larger width of the network, whose channels are on the last axis


def test_auglocal_copies_later_blocks(wrapped: dict[Any, Backbone]) -> None:
    backbone = wrapped[vit]
    assert backbone.block_names[1] == "blocks.0"
    depth = AugLocal(depth=3, tau=0)
    assert names(aux_of(backbone, depth, 7)[0]) == ["blocks.2", "blocks.5"]
    assert names(aux_of(backbone, AugLocal(depth=3, tau=0, selection="sequential"), 7)[0]) == ["blocks.0", "blocks.1"]
    assert names(aux_of(backbone, AugLocal(depth=3, tau=0, selection="repetitive"), 7)[1]) == ["blocks.0"] * 2
    aux = aux_of(backbone, depth, 7)[0]
    assert isinstance(aux, Truncated) and isinstance(aux.head, Viewed)
    assert aux.head.head == VectorMLP(32, 5, hidden=0)
    strict = aux_of(backbone, AugLocal(depth=2, tail="strict"))[0]
    assert isinstance(strict, Truncated)
    assert strict.head == Viewed(View((17, 32), 1), VectorMLP(32, 5, hidden=0, batch_norm=True))


def test_every_block_keeps_the_size_that_it_has_in_the_network(wrapped: dict[Any, Backbone]) -> None:
    backbone = wrapped[swin]
    blocks, behind = adapted_blocks("uniform", backbone, 0, View((8, 16, 16)), 2)
    sources = [block.source for block in blocks if isinstance(block, RebuiltBlock)]
    assert len(sources) == 2 and behind == View(backbone.shapes()[-1], 2)
    shape: tuple[int, ...] = (8, 16, 16)
    for block, source in zip(blocks, sources, strict=True):
        shape = block.shape(shape)
        assert shape == source.out_shape


@pytest.mark.parametrize("make", SIZES)
def test_aux_pool(make: Callable[[], nn.Module], wrapped: dict[Any, Backbone]) -> None:
    backbone, method = wrapped[make], AugLocal(depth=2, aux_pool=2)
    if make is vit:
        with pytest.raises(LocalgradError, match=r"behind block 'blocks.0' .*: aux_pool=2 averages .*got .*\(17, 32\)"):
            aux_of(backbone, method)
        with pytest.raises(LocalgradError, match=r"aux_pool=2 averages"):
            aux_of(backbone, DGL(aux_pool=2))
        return
    shape = backbone.shapes()[0]
    aux = method.auxnet(backbone, 0, shape, 1)
    assert aux.build()(torch.randn(2, *shape)).shape == (2, 5)


def test_a_reconstruction_behind_channels_last() -> None:
    method = AugLocal(depth=2, reconstruction=Reconstruction(LAMBDAS))
    net = lg.localize(swin(), method, 4, example=torch.zeros(1, 3, 64, 64))
    assert [list(unit.auxnets) for unit in net.unit_list()[:-1]] == [["task", "reconstruction"]] * 2
    assert set(lg.Sequential(net, optimizer=sgd).step(batch(64)).losses[0]) == {"task.ce", "reconstruction.bce"}


MAPS = "its auxiliary networks read feature maps (C, H, W), and a border of VisionTransformer carries tokens or vectors"
REFUSED: list[tuple[Callable[[], nn.Module], Any, str]] = [
    (vit, InfoPro(lambdas=LAMBDAS), f"InfoPro: {MAPS}, which it would see as (32,). Take DGL(max_hidden=1024)"),
    (vit, GNDGL(groups=1, extra_head=False), f"GNDGL: {MAPS}"),
    (vit, DGL(head="1c2f"), f"DGL: {MAPS}"),
    (vit, MLAAN(base="infopro"), f"MLAAN: {MAPS}"),
    (swin, MLAAN(aux_pool=2), "MLAAN: aux_pool=2 averages maps (C, H, W) before leaps, and the border behind 'layers."),
    (
        swin,
        DGL(head="1c2f", match=AugLocal(depth=2)),
        "match compares auxiliary networks on feature maps (C, H, W), and",
    ),
    (
        resnet,
        AugLocal(depth=2, selection="conv3x3"),
        "selection 'conv3x3' makes blocks of other strides or convolutions of its own, and ResNet is a foreign network",
    ),
]


@pytest.mark.parametrize(("make", "method", "text"), REFUSED, ids=[text[:20] for _, _, text in REFUSED])
def test_what_is_refused(make: Callable[[], nn.Module], method: Any, text: str, wrapped: dict[Any, Backbone]) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        aux_of(wrapped[make], method)


def test_leaps_fit_by_channels_wherever_they_are(wrapped: dict[Any, Backbone]) -> None:
    net = lg.LocalNetwork(wrapped[vit], MLAAN(cascade=2).units(wrapped[vit], lg.equal_blocks(4)(wrapped[vit])))
    assert [len(list(unit.aux.get_submodule("cascade.trained"))) for unit in net.unit_list()[1:-1]] == [3, 1]
    wrong = MLAAN(leaps=(("layers.2.blocks.0",),) * 3, cascade=2)
    with pytest.raises(LocalgradError, match=r"leap from .* cannot be: .* and 'layers.2.blocks.0' reads 32 channels"):
        aux_of(wrapped[swin], wrong)


def test_predsim_on_tokens_reads_their_mean(wrapped: dict[Any, Backbone]) -> None:
    (sim, pred), *_ = (unit.objectives for unit in PredSim().units(wrapped[vit], lg.equal_blocks(4)(wrapped[vit])))
    for objective in (sim, pred):
        assert isinstance(objective.aux, Viewed) and objective.aux.view == View((17, 32), 1)
