"""MLAAN: which losses a module has, what its copies follow, the papers' lists, and errors."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from localgrad import Batch, LocalgradError, LocalNetwork, Sequential, cost, equal_blocks, localize
from localgrad.auxnets import ConvFC, Leap, MlpSR, Truncated, leap_shape
from localgrad.backbones import imagenet_resnet34, imagenet_resnet101, imagenet_resnet152, resnet32, resnet110
from localgrad.blocks import PooledLinear
from localgrad.count import count_macs
from localgrad.methods import DGL, MLAAN, AugLocal
from localgrad.methods.mlaan_leaps import LEAPS, published_leaps
from localgrad.objective import UnitSpec
from localgrad.unit import Unit

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet


def units_of(method: MLAAN, modules: int = 7) -> tuple[UnitSpec, ...]:
    backbone = tiny_resnet()
    return method.units(backbone, method.cut(backbone, modules)(backbone))


def losses_of(method: MLAAN) -> list[list[tuple[str, float, int]]]:
    """Name, weight and reach of every loss of every unit."""
    return [[(o.name, round(o.weight, 6), o.reach) for o in unit.objectives] for unit in units_of(method)]


OWN, CASCADE = ("own", 0.001, 1), ("cascade", 0.999, 3)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        (MLAAN(), [[OWN]] * 2 + [[OWN, CASCADE]] * 5),
        (MLAAN(first_own=False), [[]] * 2 + [[OWN, CASCADE]] * 5),
        (MLAAN(last_own=False), [[OWN]] * 2 + [[OWN, CASCADE]] * 4 + [[("cascade", 1.0, 3)]]),
        (MLAAN(cascade=1), [[("leap", 1.0, 1)]] * 6 + [[("task", 1.0, 1)]]),
        (
            MLAAN(base="dgl", leaps=False, cascade=2),
            [[("own", 0.01, 1)]] + [[("own", 0.01, 1), ("cascade", 0.99, 2)]] * 6,
        ),
        (MLAAN(base="dgl"), [[OWN]] * 2 + [[OWN, CASCADE]] * 5),
        (MLAAN(leaps=False, weights=(0.5, 2)), [[("own", 0.5, 1)]] * 2 + [[("own", 0.5, 1), ("cascade", 2, 3)]] * 5),
        (
            MLAAN.released(),
            [[]] + [[OWN, ("cascade", 0.999, 2)]] * 5 + [[("cascade", 1.0, 2)]],
        ),
    ],
    ids=["both", "no first own", "no last own", "LAM", "MLM on DGL", "both on DGL", "weights", "released"],
)
def test_losses(method: MLAAN, expected: list[list[tuple[str, float, int]]]) -> None:
    assert losses_of(method) == expected


def test_infopro_weighs_both_losses_along_the_modules() -> None:
    """(5, 0.5) at the first module, (0, 0) at the last local one, times the weights of MLAAN."""
    method = MLAAN(base="infopro", cascade=2)
    assert method.needs == {"y", "image"}
    ratios = [1 - module / 5 for module in range(6)]
    for ratio, losses in zip(ratios, losses_of(method)[:-1], strict=True):
        expected = [("own", 0.001 * 0.5 * ratio, 1), ("own_image", 0.001 * 5 * ratio, 1)]
        if ratio < 1:
            expected += [("cascade", 0.999 * 0.5 * ratio, 2), ("cascade_image", 0.999 * 5 * ratio, 2)]
        assert losses == [(name, pytest.approx(weight, abs=1e-6), reach) for name, weight, reach in expected]
    units = units_of(method)
    task, image = units[3].objectives[2:]
    assert task.aux is image.aux
    assert isinstance(task.aux, Leap)
    assert isinstance(dict(task.aux.heads)["logits"], ConvFC)


def test_heads() -> None:
    plain, dgl = units_of(MLAAN())[2], units_of(MLAAN(base="dgl", dgl=DGL(mlp_hidden=2)))[2]
    assert [objective.aux for objective in plain.objectives] == [
        PooledLinear(8, 4),
        Leap(tuple(tiny_resnet().blocks[leap] for leap in (3, 5, 6)), (("logits", PooledLinear(32, 4)),)),
    ]
    own, cascade = (objective.aux for objective in dgl.objectives)
    assert own == MlpSR(8, (8, 8), 4, hidden=2)
    assert isinstance(cascade, Leap)
    assert cascade.heads == (("logits", MlpSR(32, (2, 2), 4, hidden=2)),)
    without = units_of(MLAAN(leaps=False))[2].objectives[1].aux
    assert without == Leap((), (("logits", PooledLinear(8, 4)),), 0)


def averaged(unit: Unit, name: str = "cascade") -> nn.ModuleList:
    """The averaged copies of a unit."""
    copies = unit.auxnets[name].averaged
    assert isinstance(copies, nn.ModuleList)
    return copies


def stepped(method: MLAAN, steps: int = 2) -> tuple[LocalNetwork, list[dict[str, torch.Tensor]]]:
    """A network after some steps, and its tensors before each of them and at the end."""
    net = localize(tiny_resnet(), method)
    loop, states = Sequential(net, sgd), [copy_of(net)]
    for index in range(steps):
        batch = random_batch(net.backbone, seed=index)
        loop.step(Batch(batch.x, batch.y, batch.image))
        states.append(copy_of(net))
    return net, states


def test_copies_start_as_the_networks_blocks() -> None:
    net = localize(tiny_resnet(), MLAAN(), seed=3)
    aux = net.unit_list()[3].auxnets["cascade"]
    for block, copies in ((5, [aux.trained[0], aux.averaged[0]]), (6, [aux.trained[1]])):
        source = net.model.get_submodule(net.backbone.block_names[block])
        for part in copies:
            for name, value in source.state_dict().items():
                assert torch.equal(part.state_dict()[name], value)
                assert part.state_dict()[name].data_ptr() != value.data_ptr()


@pytest.mark.parametrize("cascade", [1, 3])
@pytest.mark.parametrize(("source", "path"), [("network", "model.layer3.0"), ("copy", "aux.{}.trained.0")])
def test_averaged_copies_follow_what_was_there_before_the_update(source: Any, path: str, cascade: int) -> None:
    """After step t: r * copy + (1 - r) * source, both as they were before step t."""
    _, states = stepped(MLAAN(cascade=cascade, ema_rate=0.9, ema_source=source))
    aux = "layer2.0." + ("cascade" if cascade > 1 else "leap")
    for before, after in pairwise(states):
        for name in ("conv1.weight", "bn2.bias", "shortcut.conv.weight"):
            mine, theirs = before[f"aux.{aux}.averaged.0.{name}"], before[f"{path.format(aux)}.{name}"]
            expected = 0.9 * mine + 0.1 * theirs
            torch.testing.assert_close(after[f"aux.{aux}.averaged.0.{name}"], expected, rtol=1e-6, atol=1e-7)
    assert not torch.equal(*(state[f"aux.{aux}.averaged.0.conv1.weight"] for state in states[1:]))


def test_statistics_of_averaged_copies_are_their_own() -> None:
    net, _ = stepped(MLAAN(), steps=1)
    aux = net.unit_list()[3].auxnets["cascade"]
    own = aux.averaged[0].bn1
    assert int(own.num_batches_tracked) == 1
    assert not torch.equal(own.running_mean, net.model.get_submodule("layer3.0").bn1.running_mean)


def test_which_copies_move() -> None:
    """All, or as in the released CIFAR code those before the last module only."""
    for method, moving in ((MLAAN(ema_rate=0.5), {2, 3, 4, 5}), (replace(MLAAN.released(), ema_rate=0.5), {5})):
        net, (before, *_, after) = stepped(method)
        names = {index: f"aux.{unit.name}.cascade.averaged.0.conv1.weight" for index, unit in enumerate(net.units)}
        assert {
            i for i, name in names.items() if name in after and not torch.equal(before[name], after[name])
        } == moving


def test_averaged_copies_on_every_leap_and_trained() -> None:
    net, (before, after) = stepped(MLAAN(ema_on="all", ema_trained=True), steps=1)
    unit = net.unit_list()[2]
    assert len(averaged(unit)) == 3
    parameters = set(unit.trained_parameters())
    assert all(parameter in parameters for parameter in averaged(unit).parameters())
    for j in range(3):
        name = f"aux.layer1.1.cascade.averaged.{j}.conv1.weight"
        # The average would leave copies that are still equal where they are.
        assert float((before[name] - after[name]).abs().max()) > 1e-5


def test_a_user_s_own_lists() -> None:
    lists = ((), (), ("layer2.0", "layer2.1"), ("layer2.1",), ("layer3.0",), ("layer3.1",))
    units = units_of(MLAAN(leaps=lists))
    blocks = [[follow.block for follow in unit.follows if follow.rate is None] for unit in units]
    assert blocks == [[], [], [3, 4], [4], [5], [6], []]
    _, (_, after) = stepped(MLAAN(leaps=lists), steps=1)
    assert all(value.isfinite().all() for value in after.values())


@pytest.mark.parametrize(
    ("backbone", "modules", "k_in_the_paper"),
    [
        (resnet32, 8, None),
        (resnet32, 15, 16),
        (resnet110, 32, None),
        (resnet110, 54, 55),
        (imagenet_resnet34, 16, 17),
        (imagenet_resnet101, 33, 34),
        (imagenet_resnet152, 50, 51),
    ],
)
def test_papers_lists_fit_the_papers_networks(backbone, modules: int, k_in_the_paper: int | None) -> None:
    network = backbone()
    partition = MLAAN().cut(network, k_in_the_paper or modules)(network)
    assert len(partition) == modules
    lists = published_leaps(network, partition)
    assert len(lists) == len(LEAPS[network.name][modules]) == modules - 1
    for span, leaps in zip(partition.spans, lists, strict=False):
        assert leap_shape(network, span.stop - 1, leaps, "MLAAN")[0] in (64, 512, 2048)
    units = MLAAN().units(network, partition)
    copied = [sum(follow.part.startswith("trained.") for follow in unit.follows) for unit in units]
    assert copied == [0, 0, *(len(leaps) for leaps in lists[2:]), 0]


def test_another_cut_takes_the_rule() -> None:
    network = resnet32()
    assert published_leaps(network, equal_blocks(5)(network)) is None
    units = MLAAN().units(network, equal_blocks(5)(network))
    assert [follow.block for follow in units[2].follows] == [11, 13, 15, 11]


def test_own_heads_on_imagenet() -> None:
    """ResNet-34 widens and narrows 64 and 128 channels before its own classifiers; everything else is pooled."""
    heads = {}
    for name, network, modules in (("34", imagenet_resnet34(), 17), ("101", imagenet_resnet101(), 34)):
        method = MLAAN()
        for unit in method.units(network, method.cut(network, modules)(network))[:-1]:
            heads[name, network.shapes()[unit.span.stop - 1][0]] = unit.objectives[0].aux
    for channels in (64, 128):
        aux = heads["34", channels]
        assert isinstance(aux, Truncated)
        assert [(b.in_channels, b.out_channels, b.kernel) for b in aux.blocks] == [
            (channels, 2 * channels, 1),
            (2 * channels, channels, 1),
        ]
        assert aux.head == PooledLinear(channels, 1000)
    pooled = {key: aux for key, aux in heads.items() if key not in {("34", 64), ("34", 128)}}
    assert pooled == {
        (name, channels): PooledLinear(channels, 1000)
        for name, channels in (("34", 256), ("34", 512), ("101", 256), ("101", 512), ("101", 1024), ("101", 2048))
    }


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"cascade": 0}, "MLAAN: cascade must be a whole number of modules, at least 1, got 0."),
        ({"base": "infopo"}, "MLAAN: base 'infopo' is unknown. "),
        ({"ema_source": "model"}, "MLAAN: ema_source 'model' is unknown. "),
        ({"ema_rate": 1.5}, "MLAAN: ema_rate must be between 0 and 1, got 1.5."),
        (
            {"weights": (1, -1)},
            "MLAAN: weights must be two numbers of at least 0, (own loss, cascade loss), got (1, -1).",
        ),
        ({"ema_rate": "0.995"}, "MLAAN: ema_rate must be between 0 and 1, got '0.995'."),
        ({"weights": 1}, "MLAAN: weights must be two numbers of at least 0, (own loss, cascade loss), got 1."),
        ({"weights": (float("nan"), 1)}, "MLAAN: weights must be two numbers of at least 0"),
        ({"dgl": None}, "MLAAN: dgl must be a DGL(...), got None."),
        ({"dgl": DGL(head="1c2f", match=AugLocal())}, "MLAAN: its heads are those of DGL as they are, match is not"),
        ({"lambdas": (5, 0.5)}, "MLAAN: lambdas must be a Lambdas(...), got (5, 0.5)."),
        ({"cascade": 1, "leaps": False}, "MLAAN: cascade=1 without leaps leaves nothing of the method. Take cascade=3"),
        (
            {"leaps": ("layer2.0",)},
            "MLAAN: leaps must be True, False, or a tuple with a tuple of block names per module",
        ),
    ],
)
def test_settings_that_cannot_be(keywords: dict[str, Any], expected: str) -> None:
    with pytest.raises(LocalgradError) as error:
        MLAAN(**keywords)
    assert str(error.value).startswith(expected)


def leaps_with(place: int, *names: str) -> tuple[tuple[str, ...], ...]:
    """Lists for seven modules, empty but for one."""
    return tuple(names if index == place else () for index in range(6))


@pytest.mark.parametrize(
    ("leaps", "expected"),
    [
        (
            leaps_with(3, "layer2.1", "layer1.1"),
            "MLAAN: the leaps of module 3, which ends at 'layer2.0', point backwards: 'layer1.1' does not come after "
            "'layer2.1'. Name later blocks, in the order of the network, got ['layer2.1', 'layer1.1'].",
        ),
        (
            leaps_with(3, "layer2.0"),
            "MLAAN: the leaps of module 3, which ends at 'layer2.0', point backwards: 'layer2.0' does not come after "
            "'layer2.0'. Name later blocks, in the order of the network, got ['layer2.0'].",
        ),
        (
            leaps_with(3, "layer3.1"),
            "MLAAN: a leap from 'layer2.0' to 'layer3.1' cannot be: 'layer2.0' gives (16, 4, 4), and 'layer3.1' reads "
            "32 channels. Put the blocks between them that change the width into the list, or leap to blocks of the "
            "same width.",
        ),
        (leaps_with(3, "layer9.0"), "MLAAN: resnet14 has no block 'layer9.0'."),
        (
            ((),) * 4,
            "MLAAN: leaps needs one list per module but the last, 6 for these 7 modules, got 4. Give () for a module "
            "without leaps, or leaps=True.",
        ),
    ],
    ids=["order", "own block", "width", "name", "count"],
)
def test_leaps_that_do_not_fit(leaps: tuple[tuple[str, ...], ...], expected: str) -> None:
    with pytest.raises(LocalgradError) as error:
        localize(tiny_resnet(), MLAAN(leaps=leaps))
    assert str(error.value).startswith(expected)


def test_a_cascade_longer_than_the_network() -> None:
    with pytest.raises(LocalgradError) as error:
        localize(tiny_resnet(), MLAAN(cascade=4), partition=equal_blocks(3))
    assert str(error.value) == (
        "MLAAN: a cascade of 4 modules is longer than the network, which is cut into 3. Take cascade=3 or less, or "
        "more modules."
    )


def test_too_few_modules_in_the_table() -> None:
    with pytest.raises(LocalgradError, match=r"table 'mlaan' has 1, 8, 15, 16"):
        localize(resnet32(), MLAAN(), 4)


def test_a_foreign_network_keeps_its_modules_and_is_copied() -> None:
    """The blocks of a foreign network are its own modules; what leaps to them must not be."""
    layers: list[nn.Module] = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU()]
    for _ in range(4):
        layers += [nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    net = localize(model, MLAAN(cascade=2), 4, example=torch.zeros(1, 3, 8, 8))
    own = set(map(id, model.parameters()))
    aux = net.unit_list()[1].auxnets["cascade"]
    copies = [*aux.trained.parameters(), *aux.averaged.parameters()]
    assert copies
    assert not own & set(map(id, copies))
    assert all(any(torch.equal(copy, parameter) for parameter in model.parameters()) for copy in copies)
    before, weights = copy_of(net), copy_of(model)
    Sequential(net, sgd).step(random_batch(net.backbone))
    assert set(changed(weights, copy_of(model))) == set(weights)
    assert len(changed(before, copy_of(net))) > len(weights)


def test_costs() -> None:
    """A node's MACs in the papers' convention: its block, its classifiers, and the blocks that it leaps to."""
    backbone = tiny_resnet()
    blocks = [part.aux_by_kind["conv"] for part in cost.macs(localize(backbone, MLAAN())).parts.values()]
    by_hand = {
        block: count_macs(backbone.blocks[block].build(), backbone.shapes()[block - 1])[0]["conv"]
        for block in (3, 5, 6)
    }
    assert blocks[2] == 2 * by_hand[3] + by_hand[5] + by_hand[6]
    assert blocks[0] == blocks[6] == 0
    steps = [cost.macs(localize(backbone, MLAAN(cascade=k, leaps=False)), count="torch") for k in (2, 3)]
    bodies = sum(
        count_macs(block.build(), shape)[0]["conv"]
        for block, shape in zip(backbone.blocks[1:], backbone.shapes(), strict=False)
    )
    # One more input gradient, a pass of its own through every block but the stem and the two last crossed ones.
    assert 0 < steps[1].total - steps[0].total < bodies
