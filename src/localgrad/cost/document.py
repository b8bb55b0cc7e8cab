"""What was counted as plain data, for ``cost.json`` in a run's folder."""

from collections.abc import Sequence
from typing import Any

from localgrad.cost.live import Moment
from localgrad.cost.macs import Macs
from localgrad.cost.measure import Memory


def macs_data(counted: Macs) -> dict[str, Any]:
    """MACs per sample of every node, in the order of the units."""
    return {
        "count": counted.count,
        "image": list(counted.image),
        "nodes": [
            {"unit": counted.parts[key].name, "span": key[0], "group": key[1], "macs": macs}
            for key, macs in counted.nodes.items()
        ],
        "max_node": counted.max_node,
        "inference": counted.inference,
        "total": counted.total,
        "end_to_end": counted.end_to_end,
    }


def memory_data(found: Memory) -> dict[str, Any]:
    """The peak and its parts in bytes, and the timeline of the step."""
    parts = ("parameters", "buffers", "gradients", "optimizer", "input", "activations")
    return {
        "peak": found.peak,
        "peak_unit": found.peak_unit,
        "parts": {part: getattr(found, part) for part in parts},
        "timeline": timeline_data(found.timeline),
    }


def timeline_data(timeline: Sequence[Moment]) -> dict[str, Any]:
    """Live bytes after the first operator and after every one that changed them, and what was going on.

    ``spans`` are ``[unit, phase, start, stop]``: the events of ``live`` from start to stop, without it.
    """
    live: list[int] = []
    spans: list[list[Any]] = []
    for moment in timeline:
        if live and moment.live == live[-1]:
            continue
        if not spans or spans[-1][:2] != [moment.unit, moment.phase]:
            spans.append([moment.unit, moment.phase, len(live), len(live)])
        live.append(moment.live)
        spans[-1][3] = len(live)
    return {"live": live, "spans": spans}
