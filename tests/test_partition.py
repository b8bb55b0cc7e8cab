"""Ways to cut a network."""

from itertools import combinations, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from localgrad import LocalgradError, Span, cost, equal_blocks, equal_macs, equal_memory, localize
from localgrad.backbones import cifar_resnet, resnet32, resnet110
from localgrad.methods import DGL
from localgrad.partition import Cut, balance, balance_by, explicit, from_sizes, papers

from .conftest import tiny_resnet


def sizes(cut: Cut) -> list[int]:
    return [len(span) for span in cut(tiny_resnet()).spans]


@pytest.mark.parametrize(
    ("modules", "expected"), [(1, [7]), (2, [4, 3]), (3, [3, 2, 2]), (5, [2, 2, 1, 1, 1]), (7, [1] * 7)]
)
def test_equal_blocks(modules: int, expected: list[int]) -> None:
    assert sizes(equal_blocks(modules)) == expected
    assert equal_blocks(modules)(tiny_resnet()).origin == f"equal_blocks({modules})"


def test_equal_macs() -> None:
    """Blocks of ResNet-14 cost about the same but for the cheap stem and the two with stride."""
    assert sizes(equal_macs(1)) == [7]
    assert sizes(equal_macs(7)) == [1] * 7
    assert [len(span) for span in equal_macs(3)(cifar_resnet(20)).spans] == [4, 3, 3]
    assert equal_macs(3)(tiny_resnet()).origin == "equal_macs(3)"


def test_equal_memory() -> None:
    """The first blocks have the largest maps. It needs less than a neighbour and than equal MACs, heads counted."""
    backbone = tiny_resnet(image=(3, 16, 16))
    assert sizes(equal_memory(1)) == [7]
    assert sizes(equal_memory(7)) == [1] * 7
    assert equal_memory(3)(backbone).origin == "equal_memory(3)"

    def peak(partition) -> int:
        with torch.device("meta"):
            return cost.memory(localize(backbone, DGL(max_hidden=4), partition=partition), 64).peak

    assert [len(span) for span in equal_memory(3)(backbone).spans] == [2, 1, 4]
    assert peak(equal_memory(3)) < min(peak(from_sizes([2, 2, 3], "by hand")), peak(equal_macs(3)))


def test_equal_memory_of_a_foreign_network() -> None:
    """A wide layer in the middle: it stands alone. Its weights are left alone."""
    widths = [3, 4, 4, 32, 4, 4]
    convs = [nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.Tanh()) for a, b in pairwise(widths)]
    model = nn.Sequential(*convs, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    before = [parameter.clone() for parameter in model.parameters()]
    net = localize(model, DGL(max_hidden=4), partition=equal_memory(3), example=torch.zeros(1, 3, 8, 8))
    assert [len(unit.span) for unit in net.unit_list()] == [2, 1, 2]
    assert all(map(torch.equal, before, model.parameters()))


def test_balance_of_costs_that_do_not_add() -> None:
    values = [3, 1, 1, 5, 1]
    assert balance_by(lambda start, stop: max(values[start:stop]) * (stop - start), 5, 3) == [3, 1, 1]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.data())
def test_balance_is_the_best_of_all_cuts(weights: list[int], data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, len(weights)))

    def largest(borders: tuple[int, ...]) -> int:
        return max(sum(weights[start:stop]) for start, stop in pairwise((0, *borders, len(weights))))

    found = balance([float(weight) for weight in weights], parts)
    assert len(found) == parts
    assert sum(found) == len(weights)
    assert min(found) >= 1
    borders = tuple(sum(found[:index]) for index in range(1, parts))
    assert largest(borders) == min(map(largest, combinations(range(1, len(weights)), parts - 1)))


def test_explicit() -> None:
    assert explicit(("stem", "layer2.0"))(tiny_resnet()).spans == (Span(0, 1), Span(1, 4), Span(4, 7))
    assert explicit(())(tiny_resnet()).spans == (Span(0, 7),)
    with_empty_end = explicit(("layer1.1", "layer3.1"))(tiny_resnet())
    assert with_empty_end.spans == (Span(0, 3), Span(3, 7), Span(7, 7))
    assert with_empty_end.origin == "explicit(layer1.1, layer3.1)"


def test_one_module_and_one_per_block_need_no_table() -> None:
    assert sizes(papers(1)) == [7]
    assert sizes(papers(7)) == [1] * 7


@pytest.mark.parametrize(
    ("cut", "text"),
    [
        (equal_blocks(8), r"modules=8: resnet14 has 7 blocks, so modules must be between 1 and 7\."),
        (equal_memory(8), r"modules=8: resnet14 has 7 blocks, so modules must be between 1 and 7\."),
        (equal_macs(0), r"modules=0: resnet14 has 7 blocks, so modules must be between 1 and 7\."),
        (papers(8), r"modules=8: resnet14 has 7 blocks, so modules must be between 1 and 7\."),
        (papers(-1), r"modules=-1: resnet14 has 7 blocks"),
        (
            papers(3),
            r"modules=3: the papers have no split of resnet14 into 3 modules \(table 'infopro' has 1, 7\)\. Take one "
            r"of these, or cut evenly: partition=localgrad\.equal_blocks\(3\) or localgrad\.equal_macs\(3\), on the "
            r"command line --cut equal_blocks or --cut equal_macs\.$",
        ),
        (papers(3, "infopr"), r"split table 'infopr' is unknown\. Did you mean infopro"),
        (explicit(("layer1.7",)), r"Explicit cut: resnet14 has no block 'layer1\.7'\. Did you mean layer1\.[01]"),
        (explicit(("layer2.0", "stem")), r"the ends must follow the order of the network, got \['layer2\.0', 'stem'\]"),
        (explicit(("stem", "stem")), r"the ends must follow the order of the network, got \['stem', 'stem'\]"),
    ],
)
def test_cuts_that_do_not_fit(cut: Cut, text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        cut(tiny_resnet())


def test_unknown_counts_name_those_there_are() -> None:
    with pytest.raises(LocalgradError, match=r"resnet32 into 5 modules \(table 'infopro' has 1, 2, 3, 4, 8, 16\)"):
        papers(5)(resnet32())
    with pytest.raises(
        LocalgradError, match=r"resnet110 into 32 modules \(table 'infopro' has 1, 2, 3, 4, 8, 16, 55\)"
    ):
        papers(32)(resnet110())
    with pytest.raises(LocalgradError, match=r"modules=17: resnet32 has 16 blocks"):
        papers(17)(resnet32())
