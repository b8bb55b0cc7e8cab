"""The content of cost.json: MACs and the timeline of a step, as plain data."""

import json

import pytest
import torch

from localgrad.backbones import cifar_resnet
from localgrad.cost import live, macs, macs_data, memory, memory_data
from localgrad.cost.document import timeline_data
from localgrad.cost.fake import blank_batch
from localgrad.cost.live import Moment
from localgrad.cost.memory import sgd_nesterov
from localgrad.methods import DGL
from localgrad.network import localize
from localgrad.partition import equal_blocks
from localgrad.runtime import Sequential


def test_events_are_operators_that_change_what_lives() -> None:
    timeline = [
        Moment(0, "a", 5), Moment(0, "b", 5), Moment(0, "c", 8), Moment(0, "d", 8, "backward"),
        Moment(0, "e", 4, "backward"), Moment(0, "f", 4, "update"), Moment(1, "g", 6),
    ]  # fmt: skip
    assert timeline_data(timeline) == {
        "live": [5, 8, 4, 6],
        "spans": [[0, "forward", 0, 2], [0, "backward", 2, 3], [1, "forward", 3, 4]],
    }


def test_document_of_a_small_network() -> None:
    net = localize(cifar_resnet(8, 10), DGL())
    counted, found = macs(net), memory(net, 4)
    data = json.loads(json.dumps({"macs": macs_data(counted), "memory": memory_data(found)}))
    assert [node["macs"] for node in data["macs"]["nodes"]] == list(counted.nodes.values())
    assert data["macs"]["max_node"] == counted.max_node and data["macs"]["end_to_end"] == counted.end_to_end
    line = data["memory"]["timeline"]
    assert max(line["live"]) == found.peak == sum(data["memory"]["parts"].values())
    # Every unit: forward, backward, update; from the first event to the last without a hole.
    assert list(dict.fromkeys((unit, phase) for unit, phase, *_ in line["spans"])) == [
        (unit, phase) for unit in range(len(net.units)) for phase in ("forward", "backward", "update")
    ]
    ends = [0, *(stop for *_, stop in line["spans"])]
    assert [start for *_, start, _ in line["spans"]] == ends[:-1] and ends[-1] == len(line["live"])


def test_what_is_recomputed_belongs_to_the_backward_pass() -> None:
    net = localize(cifar_resnet(8, 10), DGL(), partition=equal_blocks(2), recompute=True)
    phases = [moment.phase for moment in memory(net, 64).timeline if moment.unit == 0]
    first, last = phases.index("backward"), len(phases) - 1 - phases[::-1].index("backward")
    assert set(phases[:first]) == {"forward"} and "update" not in phases[first:last]


@pytest.mark.parametrize("parts", [2, 3])
def test_accumulation_is_predicted_as_it_is_measured(parts: int) -> None:
    net = localize(cifar_resnet(8, 10), DGL())
    batch = blank_batch(net, 6, (3, 8, 8))
    batch.x.normal_()
    batch.y.zero_()
    with torch.random.fork_rng():
        real = live(Sequential(net, sgd_nesterov, accumulate=parts), batch)
    assert memory(net, 6, (3, 8, 8), accumulate=parts) == real
