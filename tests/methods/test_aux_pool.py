"""``aux_pool`` of every method: what gets cheaper, what stays as it is, what is refused."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from localgrad import Backbone, LocalgradError, LocalNetwork, Sequential, localize
from localgrad.analysis import audit
from localgrad.auxnets import Decoder, PooledFirst
from localgrad.backbones import cifar_densenet, resnet32, vgg19
from localgrad.cost import macs
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, InfoPro, Lambdas, PredSim
from localgrad.methods.reconstruction import Reconstruction
from localgrad.objective import UnitSpec
from localgrad.recipes import cifar10, digits

from ..conftest import random_batch, sgd, tiny_resnet

LAMBDAS = Lambdas(first=(2, 0.5), last=(0.5, 1))
METHODS: list[Any] = [
    DGL(),
    DGL("1c2f"),
    AugLocal(depth=2),
    AugLocal(depth=3, reconstruction=Reconstruction(LAMBDAS)),
    PredSim(framework="blockwise"),
    PredSim("sim"),
    InfoPro("contrast", LAMBDAS),
    GNDGL(),
    GNDGL(layerwise=True, groups=1),
    MLAAN(cascade=2),
    MLAAN(base="infopro", leaps=False),
]


def pooled(method: Any) -> Any:
    """The method with averages of 2x2."""
    if isinstance(method, GNDGL) and method.layerwise:
        return replace(method, signals=replace(method.signals, aux_pool=2))
    return replace(method, aux_pool=2)


def units(method: Any, backbone: Backbone, modules: int | None = None) -> tuple[UnitSpec, ...]:
    return tuple(method.units(backbone, method.cut(backbone, modules)(backbone)))


def aux_macs(net: LocalNetwork) -> int:
    return sum(part.aux_conv_linear or 0 for part in macs(net).parts.values())


@pytest.mark.parametrize("method", METHODS)
def test_cheaper_and_still_local(method: Any) -> None:
    backbone = tiny_resnet(8, image=(3, 12, 11))
    plain, cheap = localize(backbone, method, seed=0), localize(backbone, pooled(method), seed=0)
    before, after = macs(plain), macs(cheap)
    assert after.total < before.total
    assert after.inference == before.inference
    batch = random_batch(backbone, rows=4)
    assert audit(cheap, batch).problems == ()
    step = Sequential(cheap, sgd).step(batch)
    assert all(torch.isfinite(torch.tensor(list(terms.values()))).all() for terms in step.losses.values())


@pytest.mark.parametrize("method", METHODS)
def test_small_maps_and_one_module_stay_as_they_are(method: Any) -> None:
    small = tiny_resnet(8, image=(3, 8, 8))
    assert units(pooled(method), small) == units(method, small)
    if not isinstance(method, GNDGL) or (method.groups == 1 and not method.layerwise):
        large = tiny_resnet(8, image=(3, 16, 16))
        assert units(pooled(method), large, 1) == units(method, large, 1)


@pytest.mark.parametrize("method", METHODS)
def test_the_networks_own_head_is_never_behind_an_average(method: Any) -> None:
    backbone = tiny_resnet(8, image=(3, 64, 64))
    (*_, last) = units(pooled(method), backbone)
    assert all(objective.aux is backbone.head for objective in last.objectives)
    (*_, last) = units(GNDGL(final_head="1c2f", aux_pool=2), backbone)
    (objective,) = last.objectives
    assert objective.aux is last.head
    assert not isinstance(last.head, PooledFirst)


def test_convolutions_cost_a_quarter_where_maps_are_larger_than_8x8() -> None:
    """ResNet-32: 32x32, then 16x16, then 8x8, where nothing changes. The same layers with the same weights."""
    backbone = resnet32()
    nets = [localize(backbone, AugLocal(depth=6, aux_pool=pool), 16) for pool in (1, 2)]
    plain, cheap = (macs(net).parts for net in nets)
    for (key, before), after in zip(plain.items(), cheap.values(), strict=True):
        assert before.aux_by_kind is not None and after.aux_by_kind is not None
        side = 32 if key[0] < 6 else 16 if key[0] < 11 else 8
        if key[0] < len(plain) - 1:
            assert before.aux_by_kind["conv"] == (1 if side == 8 else 4) * after.aux_by_kind["conv"]
        assert before.aux_params == after.aux_params


def test_decoders_read_the_whole_map() -> None:
    backbone = tiny_resnet(8, image=(3, 16, 16))
    for method in (InfoPro("softmax", LAMBDAS, aux_pool=2), METHODS[3]):
        for unit in units(pooled(method), backbone)[:-1]:
            decoders = [objective.aux for objective in unit.objectives if objective.name == "reconstruction"]
            assert [type(decoder) for decoder in decoders] == [Decoder]


def test_heads_are_those_of_the_stage() -> None:
    """A DenseNet's convolutional heads go by the size of the map: that of the network, not of the average."""
    backbone = cifar_densenet(22)
    plain, cheap = (units(DGL("1c2f", aux_pool=pool), backbone)[:-1] for pool in (1, 2))
    inner = [one.aux.aux if isinstance(one.aux, PooledFirst) else one.aux for (one,) in (u.objectives for u in cheap)]
    assert inner == [unit.objectives[0].aux for unit in plain]
    assert isinstance(cheap[0].objectives[0].aux, PooledFirst)


def test_copies_inside_start_as_the_networks_blocks_and_follow_them() -> None:
    backbone = tiny_resnet(14, image=(3, 12, 12))
    net = localize(backbone, MLAAN(aux_pool=2), seed=0)
    unit = net.unit_list()[2]
    assert isinstance(unit.spec.objectives[-1].aux, PooledFirst)
    averaged = [follow for follow in unit.spec.follows if follow.rate is not None]
    (follow,) = averaged
    part, block = unit.auxnets["cascade"].get_submodule(follow.part), dict(net.model.named_modules())
    source = block[backbone.block_names[follow.block]]
    before = [parameter.detach().clone() for parameter in part.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, source.parameters(), strict=True))
    loop = Sequential(net, sgd)
    for step in range(2):
        theirs = [parameter.detach().clone() for parameter in source.parameters()]
        before = [parameter.detach().clone() for parameter in part.parameters()]
        loop.step(random_batch(backbone, seed=step))
    for old, new, other in zip(before, part.parameters(), theirs, strict=True):
        torch.testing.assert_close(new, 0.995 * old + 0.005 * other)


def test_matching_costs() -> None:
    """With ``match`` the heads get wider, not cheaper; 3x3 reads the auxiliary networks behind their averages."""
    backbone = tiny_resnet(14, image=(3, 16, 16))
    target = aux_macs(localize(backbone, AugLocal(depth=3)))
    for method in (DGL("1c2f", match=AugLocal(depth=3), aux_pool=2), DGL("3x3", match=AugLocal(depth=3), aux_pool=2)):
        assert aux_macs(localize(backbone, method)) == pytest.approx(target, rel=0.05)
    cheap = aux_macs(localize(backbone, AugLocal(depth=3, aux_pool=2)))
    assert aux_macs(localize(backbone, DGL("3x3", match=AugLocal(depth=3, aux_pool=2)))) == pytest.approx(
        cheap, rel=0.05
    )


@pytest.mark.parametrize("method", [AugLocal(depth=3, aux_pool=2), DGL(aux_pool=2), MLAAN(aux_pool=2)])
def test_networks_that_pool_themselves(method: Any) -> None:
    """VGG-19 halves its maps five times, to 1x1: an average before leaves enough for later layers."""
    backbone = vgg19(image=(3, 32, 32))
    assert any(isinstance(one.aux, PooledFirst) for unit in units(method, backbone, 16) for one in unit.objectives)
    with torch.device("meta"):
        net = localize(backbone, method, 16)
    assert aux_macs(net) > 0


def test_foreign_networks_with_maps() -> None:
    layers = [nn.Conv2d(3 if i == 0 else 8, 8, 3, padding=1) for i in range(3)]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    net = localize(model, DGL(max_hidden=16, aux_pool=2), 3, example=torch.zeros(2, 3, 12, 12))
    plain = localize(model, DGL(max_hidden=16), 3, example=torch.zeros(2, 3, 12, 12))
    assert aux_macs(net) < aux_macs(plain)
    batch = random_batch(net.backbone, rows=4)
    assert audit(net, batch).problems == ()


@pytest.mark.parametrize("method", [DGL(max_hidden=16, aux_pool=2), AugLocal(2, tail="strict", aux_pool=2)])
def test_tokens_are_no_map(method: Any) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 4, 4), nn.Flatten(2), nn.Linear(9, 8), nn.Linear(8, 8), nn.Flatten(), nn.Linear(64, 4)
    )
    with pytest.raises(LocalgradError, match=r"aux_pool=2 averages .* got features of shape \(\d.* Take aux_pool=1"):
        localize(model, method, 3, example=torch.zeros(2, 3, 12, 12))


@pytest.mark.parametrize("value", [0, -2, 2.0, True, None, "2"])
@pytest.mark.parametrize("kind", [DGL, AugLocal, PredSim, InfoPro, GNDGL, MLAAN])
def test_bad_values(kind: Any, value: object) -> None:
    with pytest.raises(LocalgradError, match=rf"{kind.__name__}: aux_pool .* whole number of at least 1 .* got "):
        kind(aux_pool=value)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: DGL("mlp", aux_pool=2), "DGL: aux_pool=2 changes nothing with head='mlp'. Leave it out."),
        (lambda: DGL("0c2f", aux_pool=2), "DGL: aux_pool=2 changes nothing with head='0c2f'. Leave it out."),
        (
            lambda: GNDGL(layerwise=True, aux_pool=2),
            "GNDGL: aux_pool=2 changes nothing with layerwise=True, where signals=PredSim(aux_pool=...) has it.",
        ),
        (
            lambda: MLAAN(base="dgl", dgl=DGL(aux_pool=2)),
            "MLAAN: aux_pool is an option of its own: leave it out of dgl=DGL(...) and give MLAAN(aux_pool=...).",
        ),
    ],
)
def test_what_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        make()


def test_recipes_take_it() -> None:
    for recipe in (digits.dgl, digits.auglocal, digits.predsim, digits.infopro, digits.gndgl, digits.mlaan):
        assert (recipe().method.aux_pool, recipe(aux_pool=2).method.aux_pool) == (1, 2)  # type: ignore[attr-defined]
    resnets = (
        cifar10.dgl_resnet32,
        cifar10.auglocal_resnet32,
        cifar10.predsim_resnet32,
        cifar10.infopro_resnet32,
        cifar10.gndgl_resnet32,
        cifar10.mlaan_resnet32,
    )
    for recipe in resnets:
        assert (recipe().method.aux_pool, recipe(aux_pool=2).method.aux_pool) == (1, 2)  # type: ignore[attr-defined]
