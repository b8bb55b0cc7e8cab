"""localize: what fits and what does not."""

import re

import pytest
import torch
from torch import nn

from localgrad import LocalgradError, Partition, Span, equal_blocks, localize
from localgrad.backbones import resnet110
from localgrad.backbones.module import wrap
from localgrad.methods import DGL, AugLocal, Backprop
from localgrad.network import LocalNetwork, nest

from .conftest import tiny_resnet


def test_units_are_named_by_their_last_block() -> None:
    net = localize(tiny_resnet(), DGL(), partition=equal_blocks(3))
    assert [unit.name for unit in net.units] == ["layer1.1", "layer2.1", "layer3.1"]
    assert [unit.span for unit in net.units] == [Span(0, 3), Span(3, 5), Span(5, 7)]
    assert {key.split(".task")[0] for key in net.state_dict() if key.startswith("aux.")} == {
        "aux.layer1.1", "aux.layer2.1",
    }  # fmt: skip


def test_a_classifier_of_its_own_is_named_by_the_head() -> None:
    spans = Partition((Span(0, 3), Span(3, 7), Span(7, 7)))
    net = localize(tiny_resnet(), DGL(head="1c2f"), partition=spans)
    assert [unit.name for unit in net.units] == ["layer1.1", "layer3.1", "head"]
    assert len(net.units[-1].body) == 0
    assert net.units[-1].aux is net.model.get_submodule("head")
    assert net.units[1].aux is not net.units[2].aux


def test_modules_may_repeat_what_the_partition_says() -> None:
    assert len(localize(tiny_resnet(), DGL(), 3, partition=equal_blocks(3)).units) == 3


def test_one_unit_per_block_is_the_default() -> None:
    assert len(localize(tiny_resnet(), DGL()).units) == 7
    assert len(localize(tiny_resnet(), Backprop()).units) == 1


def test_joint_tail_of_resnet110() -> None:
    """modules=K counts the paper's layers: K - depth + 1 units."""
    with torch.device("meta"):
        assert len(localize(resnet110(), AugLocal(depth=2), modules=55).units) == 54


def spans(*borders: tuple[int, int], groups: tuple[int, ...] = ()) -> Partition:
    return Partition(tuple(Span(start, stop, groups) for start, stop in borders))


@pytest.mark.parametrize(
    ("partition", "text"),
    [
        (spans((0, 3), (4, 7)), "partition: spans must follow each other from block 0, got [(0, 3), (4, 7)]."),
        (spans((0, 4), (3, 7)), "partition: spans must follow each other from block 0, got [(0, 4), (3, 7)]."),
        (spans((1, 7)), "partition: spans must follow each other from block 0, got [(1, 7)]."),
        (spans((0, 5), (5, 4), (4, 7)), "partition: spans must follow each other from block 0"),
        (spans((0, 3), (3, 6)), "partition: spans must end at block 7 of resnet14, got 6."),
        (spans((0, 8)), "partition: spans must end at block 7 of resnet14, got 8."),
        (spans(), "partition: spans must end at block 7 of resnet14, got 0."),
        (spans((0, 0), (0, 7)), "partition: only the last span may be empty, got an empty span 0."),
        (spans((0, 3), (3, 3), (3, 7)), "partition: only the last span may be empty, got an empty span 1."),
        (spans((0, 7), (7, 7), (7, 7)), "partition: only the last span may be empty, got an empty span 1."),
        (spans((0, 7), groups=(4, 4)), "partition: this method trains spans whole, got spans with neuron groups."),
    ],
)
def test_partitions_that_do_not_fit(partition: Partition, text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        localize(tiny_resnet(), DGL(), partition=partition)


def test_modules_that_contradict_the_partition() -> None:
    with pytest.raises(LocalgradError, match="modules=4 contradicts partition, which has 3 spans: give only one"):
        localize(tiny_resnet(), DGL(), 4, partition=equal_blocks(3))


def test_wrong_things() -> None:
    with pytest.raises(LocalgradError, match=r"localize: method must be an instance, got the class: write DGL\(\)\."):
        localize(tiny_resnet(), DGL)
    with pytest.raises(LocalgradError, match=r"localize: method must be a value such as methods\.DGL\(\), got 'dgl'"):
        localize(tiny_resnet(), "dgl")
    for wrong in ("4", 2.5, True):
        with pytest.raises(LocalgradError, match=rf"localize: modules must be a whole number, got {wrong!r}\."):
            localize(tiny_resnet(), DGL(), wrong)
    with pytest.raises(
        LocalgradError, match=r"localize: partition must be a cut such as equal_blocks\(4\), .* got 3\."
    ):
        localize(tiny_resnet(), DGL(), partition=3)
    with pytest.raises(LocalgradError, match=r"localize: model must be a Backbone .* got str\."):
        localize("resnet32", DGL())
    with pytest.raises(LocalgradError, match=r"Linear is an nn\.Module, so it needs an example batch"):
        localize(nn.Linear(2, 2), DGL())
    with pytest.raises(LocalgradError, match=r"resnet14 knows its images, \(3, 8, 8\): leave example out"):
        localize(tiny_resnet(), DGL(), example=torch.zeros(1, 3, 8, 8))


def test_nest() -> None:
    one, two = nn.Linear(1, 1), nn.Linear(1, 1)
    root = nest(["layer1.0.task", "layer1.0.own"], [one, two])
    assert root["layer1"]["0"]["task"] is one
    assert root["layer1"]["0"]["own"] is two


@pytest.mark.parametrize(
    ("x", "got"),
    [
        (torch.zeros(2, 1, 8, 8), r"got torch.float32 of shape (2, 1, 8, 8)"),
        (torch.zeros(3, 8, 8), r"got torch.float32 of shape (3, 8, 8)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), r"got torch.uint8 of shape (2, 3, 8, 8)"),
        ([[1.0]], "got list"),
    ],
)
def test_images_that_the_network_cannot_read(x: object, got: str) -> None:
    net = localize(tiny_resnet(), DGL(), 7)
    for call in (net, net.ensemble):
        with pytest.raises(LocalgradError) as told:
            call(x)
        assert "reads images (B, 3, H, W) as floats, " + got in str(told.value)


@pytest.mark.parametrize("only", [{0}, {1, 2}, {3}])
def test_only_some_units_have_weights(only: set[int]) -> None:
    """What a process of a distributed run builds: its own units, as the whole network has them."""
    backbone = tiny_resnet()
    whole = localize(backbone, DGL(), partition=equal_blocks(4), seed=3)
    specs = [unit.spec for unit in whole.unit_list()]
    part = LocalNetwork(backbone, specs, seed=3, only=only)
    assert part.owned == only
    for place, unit in enumerate(part.unit_list()):
        assert {tensor.is_meta for tensor in unit.state_dict().values()} == {place not in only}
    theirs = whole.state_dict()
    own = {name: value for name, value in part.state_dict().items() if not value.is_meta}
    assert part.state_dict().keys() == theirs.keys() and own
    assert all(torch.equal(value, theirs[name]) for name, value in own.items())


def test_only_some_units_of_a_foreign_network_keep_their_weights() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.append(nn.Linear(4, 5))
    example = torch.zeros(1, 3, 8, 8)
    specs = [unit.spec for unit in localize(model, DGL(), modules=2, example=example).unit_list()]
    backbone = wrap(model, example)
    weights = [weight.clone() for weight in model.parameters()]
    part = LocalNetwork(backbone, specs, only={0})
    first, second = part.unit_list()
    assert not any(weight.is_meta for weight in first.parameters())
    assert all(weight.is_meta for weight in second.parameters())
    assert torch.equal(next(iter(first.body.parameters())), weights[0])
