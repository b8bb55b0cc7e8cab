"""Units with several objectives, and what a step returns."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from localgrad import Batch, LocalgradError, LocalNetwork, Span, localize
from localgrad.losses import Outputs, cross_entropy
from localgrad.methods import InfoPro, Lambdas
from localgrad.objective import Objective, UnitSpec
from localgrad.unit import Unit, named_outputs
from localgrad.update import OptimizerUpdate, Part

from .conftest import random_batch, sgd, tiny_resnet


@dataclass(frozen=True)
class TwoTensors:
    """An auxiliary network with named outputs."""

    channels: int
    classes: int

    def build(self) -> nn.Module:
        return TwoTensorsModule(self.channels, self.classes)


class TwoTensorsModule(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, classes)
        self.calls = 0

    def forward(self, h_BCHW: Tensor) -> Mapping[str, Tensor]:
        self.calls += 1
        features_BC = h_BCHW.mean((2, 3))
        return {"logits": self.fc(features_BC), "features": features_BC}


def size(outputs: Outputs, batch: Batch) -> dict[str, Tensor]:
    return {"size": outputs["features"].square().mean()}


def one_unit(*objectives: Objective) -> Unit:
    backbone = tiny_resnet()
    return LocalNetwork(backbone, [UnitSpec(0, "all", Span(0, 7), objectives)]).unit_list()[0]


def test_terms_are_unweighted_and_the_loss_is_their_weighted_sum() -> None:
    aux = TwoTensors(32, 4)
    unit = one_unit(Objective("task", aux, cross_entropy), Objective("small", aux, size, weight=0.25))
    batch = random_batch(tiny_resnet())
    total, terms = unit.loss(unit(batch.x), batch)
    assert terms.keys() == {"task.ce", "small.size"}  # by objective, so that two "ce" are two terms
    assert total.item() == pytest.approx(terms["task.ce"].item() + 0.25 * terms["small.size"].item(), rel=1e-6)
    assert total.requires_grad
    assert not any(term.requires_grad for term in terms.values())


def test_objectives_with_the_same_spec_share_one_network_that_runs_once() -> None:
    aux = TwoTensors(32, 4)
    unit = one_unit(Objective("task", aux, cross_entropy), Objective("small", aux, size))
    assert isinstance(unit.aux, TwoTensorsModule)
    assert unit.auxnets["task"] is unit.auxnets["small"]
    unit.outputs(torch.ones(2, 32, 2, 2))
    assert unit.aux.calls == 1


def test_objectives_with_their_own_specs_have_their_own_networks() -> None:
    unit = one_unit(Objective("task", TwoTensors(32, 4), cross_entropy), Objective("small", TwoTensors(32, 4), size))
    assert isinstance(unit.aux, nn.ModuleDict)
    assert list(unit.aux) == ["task", "small"]
    assert not torch.equal(unit.aux["task"].fc.weight, unit.aux["small"].fc.weight)


def test_needs_are_those_of_all_objectives() -> None:
    objectives = (
        Objective("task", TwoTensors(32, 4), cross_entropy),
        Objective("small", TwoTensors(32, 4), size, needs=frozenset({"image"})),
    )
    assert UnitSpec(0, "all", Span(0, 7), objectives).needs == {"y", "image"}


def test_a_lone_tensor_is_the_logits() -> None:
    logits = torch.ones(1)
    assert named_outputs(logits) == {"logits": logits}
    assert named_outputs({"features": logits}) == {"features": logits}


def test_parts_add_up_before_the_last_one_steps() -> None:
    unit = one_unit(Objective("task", TwoTensors(32, 4), cross_entropy))
    update = OptimizerUpdate(sgd(unit.trained_parameters()))
    batch = random_batch(tiny_resnet())
    before = unit.aux.fc.weight.detach().clone()
    unit.step(batch.x, batch, update, Part(0, 0.5, last=False))
    first = unit.aux.fc.weight.grad.clone()
    assert torch.equal(unit.aux.fc.weight, before)
    unit.step(batch.x, batch, OptimizerUpdate(update.optimizer, deferred=True), Part(1, 0.5, last=True))
    torch.testing.assert_close(unit.aux.fc.weight.grad, 2 * first)
    update.apply()
    assert not torch.equal(unit.aux.fc.weight, before)
    assert unit.aux.fc.weight.grad is None


def test_trained_parameters_leave_out_what_is_frozen() -> None:
    unit = one_unit(Objective("task", TwoTensors(32, 4), cross_entropy))
    every = len(unit.trained_parameters())
    unit.body[0].requires_grad_(False)
    assert len(unit.trained_parameters()) == every - 3


def test_a_loss_that_refuses_names_the_unit() -> None:
    net = localize(tiny_resnet(), InfoPro(lambdas=Lambdas((1, 1), (1, 1))), 7)
    unit, batch = net.unit_list()[0], random_batch(net.backbone, rows=1)
    with pytest.raises(LocalgradError, match=r"^unit 'stem': supervised contrast compares the samples of a batch"):
        unit.loss(unit(batch.x), batch)
