"""What units cost: memory beside the counter of whole steps, MACs beside the audit's, seconds of real steps."""

from typing import Any

import pytest
import torch

from localgrad import LocalNetwork, Precision, cost, equal_blocks, localize, methods
from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.methods import Lambdas
from localgrad.planning import Costs, UnitCost, unit_costs
from localgrad.planning.loads import stage_memory
from localgrad.planning.memory import unit_memory
from tests.conftest import sgd, tiny_resnet

LAMBDAS = Lambdas(first=(2, 0.5), last=(0.5, 1))


def on_meta(method: Method, modules: int | None = None, **keywords) -> LocalNetwork:
    with torch.device("meta"):
        return localize(tiny_resnet(), method, modules, **keywords)


def test_backpropagation_is_one_unit() -> None:
    net = on_meta(methods.Backprop(), 1)
    found = unit_costs(net, 16)
    (unit,) = found.units
    whole = cost.memory(net, 16)
    assert unit.memory == whole.peak
    assert unit.resident == whole.parameters + whole.buffers + whole.optimizer
    assert (unit.macs, unit.seconds) == (found.backprop_macs, found.backprop_seconds)
    assert found.backprop_macs == 16 * cost.macs(net, count="torch").end_to_end
    assert unit.parameters == found.backprop_parameters == sum(p.numel() for p in net.parameters())
    assert not found.measured and unit.kept == 0
    # The first convolution needs no gradient at its input: a little more than a third is the forward pass.
    assert 1 / 3 < unit.forward < 0.36


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (methods.DGL(), {"precision": Precision.BFLOAT16, "channels_last": True}),
        (methods.InfoPro(loss="softmax", lambdas=LAMBDAS), {}),
        (methods.GNDGL(), {}),
        (methods.MLAAN(), {"channels_last": True}),
    ],
    ids=["DGL", "InfoPro", "GNDGL", "MLAAN"],
)
def test_all_units_on_one_stage_take_what_one_process_takes(method: Method, settings: dict[str, Any]) -> None:
    """Counted one by one and put together, within 10 % of the Sequential runtime's live bytes."""
    net = on_meta(method, partition=equal_blocks(4))
    found = unit_memory(net, 32, **settings)
    units = [
        UnitCost(unit.name, unit.spec.index, unit.spec.group, 1, 1.0, own.peak, resident=own.resident, kept=own.kept,
                 reaches=tuple({objective.reach for objective in unit.spec.objectives}))
        for unit, own in zip(net.unit_list(), found, strict=True)
    ]  # fmt: skip
    assert stage_memory(units) == pytest.approx(cost.memory(net, 32, **settings).peak, rel=0.1)


def test_macs_and_reaches() -> None:
    net = on_meta(methods.MLAAN(), 7)
    found = unit_costs(net, 4, macs_per_second=1000.0)
    counted = cost.macs(net, count="torch")
    assert [unit.macs for unit in found.units] == [4 * part.total for part in counted.parts.values()]
    assert [unit.seconds for unit in found.units] == [unit.macs / 1000 for unit in found.units]
    assert [unit.reaches for unit in found.units] == [(1,)] * 2 + [(1, 3)] * 5
    assert all(unit.kept > 0 for unit in found.units)
    assert found.backprop_parameters == sum(p.numel() for p in net.model.parameters())


def test_replicas_hold_less() -> None:
    net = on_meta(methods.DGL(), partition=equal_blocks(2))
    whole, half = unit_memory(net, 16), unit_costs(net, 16, replicas=2)
    assert half.units[0].resident == whole[0].resident
    # Gradients do not shrink.
    assert half.units[0].memory - half.units[0].resident < 0.6 * (whole[0].peak - whole[0].resident)
    assert half.units[0].macs == 16 * cost.macs(net, count="torch").parts[0, 0].total
    with pytest.raises(
        LocalgradError, match="replicas must be between 1 and the batch size, 16, which they share, got 17"
    ):
        unit_costs(net, 16, replicas=17)


@pytest.mark.parametrize(
    "method",
    [methods.DGL(), methods.GNDGL(), methods.MLAAN(base="infopro", lambdas=LAMBDAS)],
    ids=["DGL", "GNDGL", "MLAAN"],
)
def test_measured_seconds(method: Method) -> None:
    net = localize(tiny_resnet(), method, partition=equal_blocks(3))
    before = {name: value.clone() for name, value in net.state_dict().items()}
    threads = torch.get_num_threads()
    found: Costs = unit_costs(net, 4, optimizer=sgd, channels_last=True, measure=True)
    assert found.measured
    assert all(0 < unit.seconds < 10 and 0 < unit.forward < 1 for unit in found.units)
    assert 0 < found.backprop_seconds < 10
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.get_num_threads() == threads


def test_measuring_needs_weights() -> None:
    with pytest.raises(LocalgradError, match="measure: the network has no weights"):
        unit_costs(on_meta(methods.DGL(), 7), 4, measure=True)
