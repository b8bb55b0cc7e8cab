"""check_method: what holds for the methods of the package, and methods that break a promise."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from localgrad import Backbone, LocalgradError, Partition, methods
from localgrad.backbones import vgg6a
from localgrad.blocks import PooledLinear
from localgrad.losses import Outputs, cross_entropy
from localgrad.method import supervised_units
from localgrad.objective import Objective, UnitSpec
from localgrad.partition import Cut, EqualBlocks
from localgrad.spec import Batch
from localgrad.testing import check_method

from .conftest import ConvDropout, tiny_resnet


class Head(nn.Module):
    """A pooled classifier of 8 channels; the classes below do something wrong with it."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = PooledLinear(8, 4).build()

    def forward(self, h: Tensor) -> Tensor:
        logits: Tensor = self.classifier(h)
        return logits


class Unused(Head):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Linear(3, 3)


class Counting(Head):
    """State that no state_dict holds."""

    calls = 0

    def forward(self, h: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(h) * self.calls


class Hidden(Head):
    """Initial values that no state_dict holds."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.rand(())

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h) * self.scale


class Dice(Head):
    """Random numbers of another generator than torch's."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h) * random.random()  # noqa: S311


class InMemory(Head):
    """Reads the memory of its input instead of its channels."""

    def forward(self, h: Tensor) -> Tensor:
        return super().forward(h.as_strided((len(h), 8, 1, 1), (h.stride(0), 1, 1, 1)))


def doubled(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    return {name: 2 * value for name, value in cross_entropy(outputs, batch).items()}


def rounded(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    return cross_entropy(outputs, batch) | {"size": (outputs["logits"] * outputs["logits"]).mean()}


HEADS = {head.__name__: head for head in (Head, Unused, Counting, Hidden, Dice, InMemory)}
LOSSES = {loss.__name__: loss for loss in (cross_entropy, doubled, rounded)}


@dataclass(frozen=True)
class Aux:
    head: str

    def build(self) -> nn.Module:
        return HEADS[self.head]()


@dataclass(frozen=True)
class Broken:
    """Two units; ``head`` and ``loss`` are the first one's, ``reads`` is what its objective declares."""

    head: str = "Head"
    loss: str = "cross_entropy"
    needs: frozenset[str] = frozenset({"y"})
    reads: frozenset[str] = frozenset({"y"})
    reach: int = 1
    setting: object = None

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        return EqualBlocks(3 if modules is None else modules)

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        first, *rest = supervised_units(backbone, partition, lambda _, shape: PooledLinear(shape[0], 4))
        aux = Aux(self.head) if rest else backbone.head
        objective = Objective("task", aux, LOSSES[self.loss], needs=self.reads)
        return (replace(first, objectives=(objective,)), *rest)


NO_LABELS: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, {}),
        ({"needs": frozenset({"y", "image"})}, {"declared": r"needs is \['image', 'y'\], .* read \['y'\]\."}),
        ({"reach": 2}, {"declared": r"reach is 2, the largest reach of its objectives is 1\."}),
        ({"setting": [1]}, {"declared": r"cannot be compared and recorded: unhashable type: 'list'\. Make it"}),
        ({"setting": object}, {"declared": r"compared and recorded: a Run holds specs only, .* Make it a frozen"}),
        ({"reads": NO_LABELS}, {"locality": r"loss of unit 0 \('layer1\.1'\) changes with the labels: declare 'y'"}),
        ({"head": "Unused"}, {"locality": r"no loss reaches never learn \(aux\.layer1\.1\.task\.unused\.weight and"}),
        ({"loss": "doubled"}, {"one module": r"trains other weights than Backprop\(\) \(head\.fc\.bias and \d+ more"}),
        ({"head": "Counting"}, {"resume": r"stopped and resumed ends with other weights \(aux", "state_dict": ""}),
        ({"head": "Hidden"}, {"state_dict": r"weights put into another network train differently \(aux\.layer1\.1\."}),
        (
            {"head": "Dice"},
            {"seed": "the global random state changes what", "resume": "", "state_dict": "", "channels_last": ""},
        ),
        ({"loss": "rounded"}, {"bfloat16": r"term 'size' of unit 0 is .* in torch\.bfloat16: comp", "one module": ""}),
        ({"head": "InMemory"}, {"channels_last": r"losses in float64 differ by \d\.\de"}),
    ],
)  # fmt: skip
def test_what_is_broken_is_told_and_nothing_else(settings: dict[str, Any], told: dict[str, str]) -> None:
    problems = problems_of(lambda: check_method(Broken(**settings)))
    assert {problem.partition(": ")[0] for problem in problems} == told.keys()
    for invariant, text in told.items():
        assert any(re.search(f"{invariant}: .*{text}", problem) for problem in problems), problems


def problems_of(check: Callable[[], None]) -> list[str]:
    try:
        check()
    except LocalgradError as error:
        first, *problems = str(error).split("\n- ")
        assert first.endswith(" breaks what every method promises:")
        return problems
    return []


def test_what_is_exported_is_the_network() -> None:
    class Forgetful(nn.Conv2d):
        def __deepcopy__(self, memo: object) -> nn.Module:
            return nn.Conv2d(3, 8, 3, padding=1)

    class Stem(ConvDropout):
        def build(self) -> nn.Module:
            return Forgetful(3, 8, 3, padding=1)

    backbone = replace(tiny_resnet(), blocks=(Stem(3, 8), *tiny_resnet().blocks[1:]))
    problems = problems_of(lambda: check_method(methods.DGL(), backbone=backbone))
    assert "export: the exported network gives other outputs than net(x)." in problems


def test_the_packages_own_methods_keep_all_promises() -> None:
    check_method(methods.DGL())
    check_method(methods.AugLocal(depth=3))
    check_method(methods.DGL(), backbone=tiny_resnet(20), modules=10)
    check_method(methods.DGL(), backbone=vgg6a(4, feat_mult=0.0625, dropout=0.5, image=(3, 8, 8)))


def test_a_promise_that_is_not_made_is_not_checked() -> None:
    check_method(Broken(reach=2, loss="rounded"), without={"declared", "bfloat16", "one module"})
    with pytest.raises(LocalgradError, match=r"invariant 'exports' is unknown\. Did you mean export\?"):
        check_method(methods.DGL(), without=["exports"])  # type: ignore[list-item]
