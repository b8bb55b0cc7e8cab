"""Real processes over gloo compute what one process computes, bit for bit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import localgrad as lg
from localgrad.placement import Placement, transfers
from localgrad.unit import forward_units
from tests.distributed.cases import CASES, batches, optimizer
from tests.distributed.pool import Pool

STEPS = 10
PLACED = [
    ("dgl-2", (0, 1)),
    ("dgl", (0, 0, 1, 1)),
    ("dgl", (0, 0, 1, 2)),
    ("dgl", (0, 1, 2, 3)),
    ("auglocal", (0, 1, 1, 2)),
    ("infopro", (0, 1, 1)),
    ("predsim", (0, 0, 1)),
    ("dropout", (0, 1, 1, 2)),
    ("gndgl", (0, 1, 2, 3, 3)),
    ("gndgl", (0, 1, 0, 1, 1)),
    ("gndgl-apart", (0, 1, 2, 3, 3)),
    ("gndgl-wide", (0, 1, 2, 3, 3)),
    ("mlaan", (0, 0, 1, 1, 2)),
    ("mlaan", (0, 1, 2, 3, 3)),
    ("mlaan-dgl", (0, 1, 1, 1)),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in the processes of the pool."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sequential(case: str, parts: int = 1) -> tuple[lg.LocalNetwork, list[dict[int, dict[str, float]]]]:
    """The same steps in one process."""
    net = CASES[case]()
    loop = lg.Sequential(net, optimizer, seed=0, accumulate=parts)
    return net, [loop.step(batch).losses for batch in batches(STEPS)]


def trained(pool: Pool, case: str, hosts: tuple[int, ...], replicas: int = 1, **options: Any) -> list[dict[str, Any]]:
    """What every rank ends with."""
    ranks = Placement(hosts, replicas).ranks
    return pool.run("tests.distributed.tasks:train_steps", ranks, case, hosts, replicas, STEPS, options)


@pytest.mark.parametrize(("case", "hosts"), PLACED)
def test_equals_one_process_bit_for_bit(pool: Pool, case: str, hosts: tuple[int, ...]) -> None:
    net, losses = sequential(case)
    found = trained(pool, case, hosts)
    weights: dict[str, np.ndarray] = {}
    for rank in found:
        assert weights.keys().isdisjoint(rank["weights"])
        weights |= rank["weights"]
    assert weights.keys() == net.state_dict().keys()
    different = [name for name, value in net.state_dict().items() if not np.array_equal(weights[name], value.numpy())]
    assert not different
    for step, expected in enumerate(losses):
        assert {unit: terms for rank in found for unit, terms in rank["losses"][step].items()} == expected
    # What every stage tells arrives at the last one.
    assert found[-1]["told"] == {"ranks": {str(rank): True for rank in range(len(found))}}


@pytest.mark.parametrize(("case", "hosts"), [("dgl", (0, 0, 1, 1)), ("gndgl", (0, 1, 2, 3, 3))])
def test_evaluation_travels_the_same_pipe(pool: Pool, case: str, hosts: tuple[int, ...]) -> None:
    net, _ = sequential(case)
    net.eval()
    (batch,) = batches(1)
    found = trained(pool, case, hosts)
    logits = {unit: value for rank in found for unit, value in rank["logits"].items()}
    with torch.inference_mode():
        for place, (unit, h, features) in enumerate(forward_units(net.unit_list(), batch.x)):
            expected = net.class_logits(unit, h, features)
            assert expected is not None
            assert np.array_equal(logits[place], expected.numpy())
    assert found[-1]["seen"] == sorted(logits)


def test_what_is_sent_is_what_the_plan_says(pool: Pool) -> None:
    hosts = (0, 0, 1, 2)
    found = trained(pool, "dgl", hosts)
    rows = [len(batch.x) for batch in batches(STEPS)]
    for stage, rank in enumerate(found):
        planned = [channel for channel in transfers(CASES["dgl"](), Placement(hosts)) if channel.source == stage]
        training = sum(channel.bytes(count) for channel in planned for count in rows)
        assert training <= rank["sent"] <= training + sum(channel.bytes(8) for channel in planned) + 2000


@pytest.mark.parametrize(
    ("case", "hosts"), [("dgl", (0, 0, 1, 1)), ("gndgl", (0, 0, 1, 1, 1)), ("mlaan", (0, 0, 1, 1, 1))]
)
def test_replicas_update_as_one(pool: Pool, case: str, hosts: tuple[int, ...]) -> None:
    net, _ = sequential(case, parts=2)
    found = trained(pool, case, hosts, 2)
    for stage in range(2):
        first, second = found[2 * stage], found[2 * stage + 1]
        for kind in ("weights", "momentum"):
            assert first[kind].keys() == second[kind].keys()
            different = [name for name in first[kind] if not np.array_equal(first[kind][name], second[kind][name])]
            assert not different, kind
        # Exactly one all-reduce of each parameter per step.
        names = dict(net.named_parameters())
        sizes = [names[name].numel() for name in first["weights"] if name in names]
        assert first["reduced"] == STEPS * 4 * sum(sizes)
        for name in first["weights"]:
            if name in names:
                np.testing.assert_allclose(first["weights"][name], names[name].detach().numpy(), rtol=2e-3, atol=2e-4)


def test_labels_may_come_from_every_stages_own_loader(pool: Pool) -> None:
    net, _ = sequential("dgl")
    found = trained(pool, "dgl", (0, 0, 1, 1), labels=False)
    weights = found[0]["weights"] | found[1]["weights"]
    assert all(np.array_equal(weights[name], value.numpy()) for name, value in net.state_dict().items())


@pytest.fixture(scope="module")
def exact(pool: Pool) -> list[dict[str, Any]]:
    """Two stages without loss on the wire."""
    return trained(pool, "dgl", (0, 0, 1, 1))


@pytest.mark.parametrize(("wire", "most", "share"), [("bfloat16", 0.004, 0.5), ("int8", 0.02, 0.25)])
def test_lossy_wires_say_what_they_lose(
    pool: Pool, exact: list[dict[str, Any]], wire: str, most: float, share: float
) -> None:
    found = trained(pool, "dgl", (0, 0, 1, 1), wire=wire)
    assert 0 < found[0]["error"] < most
    assert found[0]["sent"] < (share + 0.1) * exact[0]["sent"]
    last = found[1]["losses"][-1]
    assert all(np.isfinite(value) for terms in last.values() for value in terms.values())
