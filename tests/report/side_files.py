"""Small files as they lie beside run.json, written by hand for a network of four blocks."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

BLOCKS = ["stem", "layer1.0", "layer2.0", "layer3.0"]
CONDITIONS = {"torch": "9.9", "command": "localgrad probe"}


def probe() -> dict[str, Any]:
    blocks = [
        {"block": name, "units": [name], "border": place < 2, "train": 99.0, "test": 60.0 + place, "knn": 50.0 + place}
        for place, name in enumerate(BLOCKS)
    ]
    samples = {"train": 1437, "test": 360}
    return {
        "kind": "localgrad probe 1", "data": "digits", "samples": samples, "blocks": blocks, "conditions": CONDITIONS,
    }  # fmt: skip


def counted(units: int, peak: int, macs: int) -> dict[str, Any]:
    live = [peak // 2, peak, peak // 3] * units
    spans = [
        [unit, phase, 3 * unit + place, 3 * unit + place + 1]
        for unit in range(units)
        for place, phase in enumerate(("forward", "backward", "update"))
    ]
    nodes = [{"unit": BLOCKS[unit], "span": unit, "group": 0, "macs": macs} for unit in range(units)]
    return {
        "macs": {"nodes": nodes, "max_node": macs, "inference": 4000, "total": units * macs},
        "memory": {"peak": peak, "timeline": {"live": live, "spans": spans}},
    }


def cost() -> dict[str, Any]:
    return {
        "kind": "localgrad cost 1", "batch_size": 64, "precision": "float32", "accumulate": 1, "units": BLOCKS,
        "spans": [[place, place + 1] for place in range(4)], "conditions": CONDITIONS, **counted(4, 3 * 2**20, 1500),
        "baseline": {"name": "Backprop", **counted(1, 6 * 2**20, 4000)},
    }  # fmt: skip


def audit() -> dict[str, Any]:
    reach = [[row == column for column in range(4)] for row in range(4)]
    return {
        "kind": "localgrad audit 1", "names": BLOCKS, "reach": reach, "declared": [1] * 4, "labels": [True] * 4,
        "dead": [], "sideways": [], "problems": [], "conditions": CONDITIONS,
    }  # fmt: skip


def cka() -> dict[str, Any]:
    exact = [[1.0 if row == column else 0.25 for column in range(4)] for row in range(4)]
    return {
        "kind": "localgrad cka 1", "runs": ["runs/dgl", "runs/bp"], "data": "digits", "samples": 360, "minibatch": 64,
        "blocks": [BLOCKS, BLOCKS], "exact": exact, "unbiased": exact, "conditions": CONDITIONS,
    }  # fmt: skip


def plan() -> dict[str, Any]:
    costs = [{"name": name, "seconds": 0.001, "memory": 2**20} for name in BLOCKS]
    sent = {"kind": "output", "unit": 1, "source": 0, "target": 1, "shape": [16, 8, 8], "extras": ["y"], "image": []}
    return {
        "format": "localgrad plan", "version": 1, "recipe": "digits.dgl", "network": "resnet8", "method": "DGL",
        "batch_size": 64, "placement": {"hosts": [0, 0, 1, 1], "replicas": 2}, "costs": costs, "transfers": [sent],
        "speeds": [1.0, 0.5], "link": {"bytes_per_second": 125e6, "latency": 0.02}, "wire": "float32",
        "measured": False, "backprop_seconds": 0.003,
    }  # fmt: skip


def transfer() -> dict[str, Any]:
    classes = {"mapped": [["0", "0"], ["1", "1"]], "only_trained_on": [], "only_data": []}
    return {
        "kind": "localgrad transfer 1", "data": "mnist", "top1": 61.25, "top5": 93.5, "n": 200, "classes": classes,
        "units": {"0": 40.0}, "conditions": CONDITIONS,
    }  # fmt: skip


def png() -> bytes:
    """One white pixel."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    data = zlib.compress(b"\0\xff")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


DOCUMENTS = {
    "probe.json": probe, "cost.json": cost, "audit.json": audit, "cka-bp.json": cka, "plan.json": plan,
    "transfer-mnist.json": transfer,
}  # fmt: skip


def write_run(
    folder: Path,
    *,
    top1: tuple[float, ...] = (50.0, 60.0),
    seed: int = 0,
    method: str = "DGL",
    units: int = 4,
    **more: object,
) -> Path:
    """A finished run of so many units, one epoch per ``top1``; ``more`` goes into every epoch's row."""
    folder.mkdir(parents=True)
    facts = {"seed": seed, "epochs": len(top1), "runtime": "sequential", "method": {"kind": method}}
    document = {"origin": {"recipe": "digits.dgl"}, "facts": facts, "conditions": {"torch": "9.9", "threads": 1}}
    (folder / "run.json").write_text(json.dumps(document))
    rows: list[dict[str, Any]] = [
        {
            "kind": "epoch", "epoch": epoch, "train": {str(unit): {"ce": 2.0 / epoch + unit} for unit in range(units)},
            "test": {"top1": value, "top5": 99.0, "units": {str(unit): value - unit for unit in range(units)}}, **more,
        }
        for epoch, value in enumerate(top1, 1)
    ]  # fmt: skip
    rows.append({"kind": "end", "epochs": len(top1), "best": rows[-1]})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def write_sides(folder: Path) -> Path:
    """All files that the report knows."""
    for name, make in DOCUMENTS.items():
        (folder / name).write_text(json.dumps(make()))
    (folder / "maps.png").write_bytes(png())
    return folder
