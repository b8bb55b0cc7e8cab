"""InfoPro: objectives, schedules, and what it refuses. The released code's numbers are in golden/test_infopro.py."""

import re
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from localgrad import Batch, LocalgradError, LocalNetwork, Partition, Sequential, Span, audit, cost, localize
from localgrad.auxnets import ConvFC, Decoder, Features, ImageNetDecoder, conv_linear_macs, infopro_imagenet_head
from localgrad.backbones import resnet32, resnet110
from localgrad.facts import plain
from localgrad.losses import supcon_loss
from localgrad.methods import AugLocal, InfoPro, Lambdas
from localgrad.methods.infopro_lambdas import SCHEDULES
from localgrad.partition import equal_blocks, papers
from localgrad.unit import UnitSpec

from ..conftest import random_batch, sgd, tiny_resnet

OWN = Lambdas(first=(2, 0.5), last=(0.5, 1))


def units_of(method: InfoPro, modules: int = 16) -> tuple[UnitSpec, ...]:
    backbone = resnet32()
    return method.units(backbone, method.cut(backbone, modules)(backbone))


def started(loss: str, **keywords: Any) -> LocalNetwork:
    return localize(tiny_resnet(), InfoPro(loss, OWN, **keywords), 3, partition=equal_blocks(3))


def test_objectives() -> None:
    """A task and a reconstruction per local unit, cross-entropy alone in the last."""
    *local, last = units_of(InfoPro())
    assert [[part.name for part in unit.objectives] for unit in local] == [["task", "reconstruction"]] * 15
    assert [part.needs for part in local[0].objectives] == [frozenset({"y"}), frozenset({"image"})]
    assert [part.name for part in last.objectives] == ["task"]
    assert (last.objectives[0].weight, last.needs) == (1.0, frozenset({"y"}))
    assert local[0].objectives[0].aux == Features(ConvFC(16, 128, 32, 2))
    assert local[14].objectives[0].aux == Features(ConvFC(64, 128, 64, 1))
    assert local[14].objectives[1].aux == Decoder(64, (3, 32, 32))


def test_choices_reach_the_auxiliary_networks() -> None:
    unit, *_ = units_of(InfoPro("softmax", OWN, decoder="4c", upsample="nearest", widen=2))
    assert unit.objectives[0].aux == ConvFC(16, 10, 64, 2, hidden=256)
    assert unit.objectives[1].aux == Decoder(16, (3, 32, 32), 4, 2, "nearest")
    unit, *_ = units_of(InfoPro("softmax", OWN, head="imagenet", decoder="imagenet"))
    assert unit.objectives[0].aux == infopro_imagenet_head(16, 10)
    assert unit.objectives[1].aux == ImageNetDecoder(16, (3, 32, 32))


@pytest.mark.parametrize("loss", ["contrast", "softmax"])
def test_a_unit_learns_the_weighted_sum(loss: str) -> None:
    """By hand, with PyTorch's own losses: terms and gradients of the middle unit."""
    net, reference = started(loss), started(loss)
    batch = random_batch(net.backbone)
    terms = Sequential(net, lambda parameters: torch.optim.SGD(parameters, lr=1.0)).step(batch).losses[0]

    unit = reference.train().unit_list()[0]
    before = [parameter.detach().clone() for parameter in unit.parameters()]
    h = unit.body(batch.x)
    out = unit.auxnets["task"](h)
    task = supcon_loss(out["features"], batch.y) if loss == "contrast" else F.cross_entropy(out, batch.y)
    recon = F.binary_cross_entropy(unit.auxnets["reconstruction"](h).sigmoid(), batch.image)
    gradients = torch.autograd.grad(2 * recon + 0.5 * task, list(unit.parameters()))
    name = {"contrast": "task.supcon", "softmax": "task.ce"}[loss]
    assert terms == pytest.approx({name: task.item(), "reconstruction.bce": recon.item()}, rel=1e-6)
    for old, gradient, new in zip(before, gradients, net.unit_list()[0].parameters(), strict=True):
        torch.testing.assert_close(new.detach(), old - gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["contrast", "softmax"])
def test_learns(loss: str) -> None:
    """A few steps on one batch bring every term of every unit down; the audit finds nothing; labels are read."""
    net = started(loss)
    found = audit(net, random_batch(net.backbone))
    assert found.ok, str(found)
    assert found.labels == (True, True, True)
    assert not found.dead
    loop, batch = Sequential(net, sgd), random_batch(net.backbone)
    losses = [loop.step(batch).losses for _ in range(15)]
    assert all(losses[-1][unit][name] < losses[0][unit][name] for unit in losses[0] for name in losses[0][unit])


def test_linear_between_the_first_and_the_last_module() -> None:
    assert [OWN.at(module, 4) for module in range(3)] == [(2, 0.5), (1.25, 0.75), (0.5, 1)]
    assert OWN.at(0, 2) == (2, 0.5)
    assert OWN.at(0, 3) == (2, 0.5)
    assert OWN.at(1, 3) == (0.5, 1)


@pytest.mark.parametrize(
    ("method", "modules", "expected"),
    [
        (InfoPro(), 16, Lambdas((5, 0.05), (0.2, 0.5))),
        (InfoPro("softmax", source="auglocal"), 16, Lambdas((5, 0.05), (0.2, 0.5))),
        (InfoPro("softmax", source="mlaan"), 8, Lambdas((5, 0.5), (0, 0))),
        (InfoPro("softmax", source="mlaan", dataset="stl10"), 16, Lambdas((5, 0.5), (0, 0))),
    ],
)
def test_published_schedules_of_resnet32(method: InfoPro, modules: int, expected: Lambdas) -> None:
    *local, _ = units_of(method, modules)
    weights = [tuple(part.weight for part in reversed(unit.objectives)) for unit in local]
    assert weights[0] == expected.first
    assert weights[-1] == expected.last


def test_every_published_schedule_of_a_small_image_network_is_found() -> None:
    """By the method that names its setting, on the cut that this method makes."""
    count = 0
    for setting, lambdas in SCHEDULES.items():
        if "resnet32" in setting.networks:
            backbone = resnet32()
        elif "resnet110" in setting.networks:
            backbone = resnet110()
        else:
            continue
        method = InfoPro(setting.loss, None, setting.dataset or "cifar10", setting.source, setting.balance)
        modules = setting.modules or 16
        units = method.units(backbone, method.cut(backbone, modules)(backbone))
        recon = [unit.objectives[1].weight for unit in units[:-1]]
        assert (recon[0], recon[-1] if len(recon) > 1 else lambdas.last[0]) == (lambdas.first[0], lambdas.last[0])
        count += 1
    assert count == 25


@pytest.mark.parametrize(
    ("method", "modules", "wrong"),
    [
        (InfoPro(), 3, "dataset='cifar10', resnet32, K=3, standard split, loss='contrast', source='infopro'"),
        (InfoPro("softmax"), 16, "dataset='cifar10', resnet32, K=16, standard split, loss='softmax', source='infopro'"),
        (InfoPro(dataset="svhn"), 16, "dataset='svhn', resnet32, K=16, standard split"),
        (InfoPro("softmax", source="auglocal"), 8, "K=8, standard split, loss='softmax', source='auglocal'"),
    ],
)
def test_a_missing_schedule_says_which_exist_and_how_to_give_one(method: InfoPro, modules: int, wrong: str) -> None:
    with pytest.raises(LocalgradError) as caught:
        localize(resnet32(), method, modules)
    text = str(caught.value)
    assert text.startswith("InfoPro: no lambda schedule is published for ")
    assert wrong in text
    assert (
        "Give one: lambdas=Lambdas(first=(5, 0.5), last=(0, 0)), pairs of (reconstruction, task) weights; on the "
        'command line the recipes of InfoPro take --first "[5,0.5]" --last "[0,0]".'
    ) in text
    for exists in (
        "for source='infopro', loss='contrast': cifar10 resnet32 K=2/4/8/16, cifar10 resnet110 K=2/4/8/16, "
        "cifar10 resnet110 balanced K=2/3/4, stl10 resnet110 K=2/4/8/16, stl10 resnet110 balanced K=2/3/4, "
        "svhn resnet110 K=2/4/8/16",
        "for source='auglocal', loss='softmax': cifar10 resnet32 K=16, cifar10 resnet110 K=55",
        "for source='mlaan', loss='softmax': any data set resnet32 and resnet110 K=any",
    ):
        assert exists in text
    assert localize(resnet32(), replace(method, lambdas=OWN), modules).needs == {"y", "image"}


def test_a_schedule_is_for_the_papers_split() -> None:
    partition = Partition((Span(0, 3), Span(3, 16)), "mine")
    with pytest.raises(
        LocalgradError, match=r"for resnet32 in 2 modules is for the paper's standard split, this one is mine\. Give"
    ):
        localize(resnet32(), InfoPro(), partition=partition)
    assert len(localize(resnet32(), InfoPro(lambdas=OWN), partition=partition).units) == 2
    # MLAAN's one schedule is for any cut.
    assert len(localize(resnet32(), InfoPro("softmax", source="mlaan"), partition=partition).units) == 2


def test_balanced_is_another_split_with_weights_of_its_own() -> None:
    backbone, method = resnet110(), InfoPro(split="balanced")
    partition = method.cut(backbone, 2)(backbone)
    assert backbone.block_names[partition.spans[0].stop - 1] == "layer1.14"
    assert method.units(backbone, partition)[0].objectives[0].weight == 0.1
    with pytest.raises(LocalgradError, match=r"split table 'infopro_balanced_svhn' is unknown"):
        InfoPro(split="balanced", dataset="svhn").cut(backbone, 2)(backbone)


def test_one_module_needs_no_schedule() -> None:
    assert localize(tiny_resnet(), InfoPro(), 1).needs == {"y"}


@pytest.mark.parametrize("loss", ["contrast", "softmax"])
def test_match_costs_what_auglocal_costs(loss: str) -> None:
    """AugLocal's table 9: the heads cost the same on the same units, decoders come on top."""
    backbone, compared = resnet32(), AugLocal(depth=4)
    partition = papers(16)(backbone)
    units = InfoPro(loss, OWN, match=compared).units(backbone, partition)
    others = compared.units(backbone, partition)
    assert [unit.span for unit in units] == [unit.span for unit in others]
    assert units[-1].objectives == others[-1].objectives
    for unit, other in list(zip(units[:-1], others[:-1], strict=True))[::4]:
        shape = backbone.shapes()[unit.span.stop - 1]
        target = conv_linear_macs(other.objectives[0].aux, shape)
        head = unit.objectives[0].aux
        if isinstance(head, Features):
            head = head.head
        assert isinstance(head, ConvFC)
        assert head.num_classes == (128 if loss == "contrast" else 10)
        assert conv_linear_macs(head, shape) == pytest.approx(target, rel=0.01)
        assert unit.objectives[1].aux == Decoder(shape[0], (3, 32, 32))


def test_cost_counts_decoder_and_image() -> None:
    net = started("softmax")
    assert cost.macs(net).parts[0, 0].aux_by_kind["conv"] > 0
    small, large = (cost.memory(net, batch_size=size) for size in (2, 4))
    image = 4 * 3 * 8 * 8
    assert large.input - small.input == 2 * (2 * image + 8)


def test_a_batch_of_one_image() -> None:
    one = random_batch(tiny_resnet(), rows=1)
    text = (
        r"the loss 'task' of unit 'layer1\.1' compares the images of a batch with each other, and a batch, .* one image"
    )
    with pytest.raises(LocalgradError, match=text):
        Sequential(started("contrast"), sgd).step(one)
    Sequential(started("softmax"), sgd).step(one)


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (None, r"Batch: the method needs image, got None\. Give Batch\(image=\.\.\.\)\."),
        (torch.rand(8, 1, 8, 8), r"expected floats of shape \(8, 3, 8, 8\) on cpu, as x, got torch\.float32 of shape"),
        (torch.zeros(8, 3, 8, 8, dtype=torch.uint8), r"got torch\.uint8 .* before normalisation, divided by 255\."),
        (torch.full((8, 3, 8, 8), 1.5), r"decoders are compared with pixels in \[0, 1\], got 1\.5\.\.1\.5\. Give the"),
        (torch.full((8, 3, 8, 8), float("nan")), r"decoders are compared with pixels in \[0, 1\], got nan\.\.nan"),
    ],
)
def test_images_that_cannot_be(image: torch.Tensor | None, text: str) -> None:
    net = started("softmax")
    batch = random_batch(net.backbone)
    with pytest.raises(LocalgradError, match=text):
        Sequential(net, sgd).step(Batch(x=batch.x, y=batch.y, image=image))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"loss": "contrats"}, "InfoPro: loss 'contrats' is unknown. Did you mean contrast?"),
        ({"source": "paper"}, "InfoPro: source 'paper' is unknown. There are: auglocal, infopro, mlaan."),
        ({"split": "balance"}, "InfoPro: split 'balance' is unknown. Did you mean balanced?"),
        ({"head": "2c2f"}, "InfoPro: head '2c2f' is unknown. Did you mean 1c2f?"),
        ({"decoder": "3c"}, "InfoPro: decoder '3c' is unknown. There are: 2c, "),
        ({"upsample": "linear"}, "InfoPro: upsample 'linear' is unknown. Did you mean bilinear?"),
        ({"widen": 0}, "InfoPro: widen must be a whole number of at least 1, got 0."),
        ({"widen": 1.5}, "InfoPro: widen must be a whole number of at least 1, got 1.5."),
        ({"lambdas": (5, 1)}, "InfoPro: lambdas must be Lambdas(first=(5, 0.5), last=(0, 0)), pairs of"),
        ({"head": "imagenet", "match": AugLocal()}, "InfoPro: match widens the 1c2f head, got head='imagenet'."),
    ],
)
def test_what_cannot_be(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        InfoPro(**arguments)


@pytest.mark.parametrize("pair", [(1,), (1, 2, 3), (-1, 0), (float("nan"), 0), ("5", 1), 5, (True, 1)])
def test_weights_that_cannot_be(pair: Any) -> None:
    text = "Lambdas: last must be (reconstruction weight, task weight), two numbers of at least 0, got "
    with pytest.raises(LocalgradError, match=re.escape(f"{text}{pair!r}.")):
        Lambdas((5, 1), pair)


def test_weights_from_lists_are_equal_and_hashable() -> None:
    assert Lambdas([5, 1], [0, 0]) == Lambdas((5, 1), (0, 0))
    assert hash(Lambdas([5, 1], [0, 0])) == hash(Lambdas((5, 1), (0, 0)))


def test_a_run_can_record_it() -> None:
    facts = plain(InfoPro(lambdas=OWN, match=AugLocal(depth=3)))
    assert facts["lambdas"] == {"kind": "Lambdas", "first": [2, 0.5], "last": [0.5, 1]}
    assert facts["match"]["depth"] == 3


def test_features_are_no_classes() -> None:
    """As many features as classes: no local unit has an accuracy or a vote, its output is not called logits."""
    net = localize(tiny_resnet(classes=128), InfoPro(lambdas=OWN), 7)
    batch = random_batch(net.backbone)
    unit = net.eval().unit_list()[0]
    with torch.no_grad():
        h = unit(batch.x)
        assert unit.outputs(h)["task"].keys() == {"features"}
        assert net.class_logits(unit, h) is None
    keys = {key for key in net.state_dict() if key.startswith("aux.stem.task.")}
    softmax = localize(tiny_resnet(classes=128), InfoPro("softmax", OWN), 7)
    assert keys == {key for key in softmax.state_dict() if key.startswith("aux.stem.task.")}
