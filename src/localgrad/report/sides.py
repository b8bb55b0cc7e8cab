"""What lies beside ``run.json`` in a run's folder: probes, costs, reach, similarities, plan, transfer, feature maps."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

from localgrad.report.json_files import WRONG, finite, listed, mapping, matrix, number, read_object, text, texts, whole
from localgrad.report.planned import PLAN_FILE, Planned, plan_of
from localgrad.report.standing import Checkpoint, checkpoint_of

PROBE_FILE, COST_FILE, AUDIT_FILE, MAPS_FILE = "probe.json", "cost.json", "audit.json", "maps.png"
PROBE_KIND, COST_KIND, AUDIT_KIND = "localgrad probe 1", "localgrad cost 1", "localgrad audit 1"
CKA_KIND, TRANSFER_KIND = "localgrad cka 1", "localgrad transfer 1"
MAPS_LIMIT = 16 * 2**20
"""Bytes of an image that the page takes in."""

Found = TypeVar("Found")
Conditions = Mapping[str, Any]


@final
@dataclass(frozen=True)
class ProbedBlock:
    """Top-1 in percent of a linear probe and of kNN on one block; ``border``: a unit ends behind it."""

    block: str
    border: bool
    test: float
    train: float
    knn: float | None


@final
@dataclass(frozen=True)
class Probe:
    """``probe.json``: every block in order, and how many images were probed with and on."""

    blocks: tuple[ProbedBlock, ...]
    data: str
    train_images: int
    test_images: int
    conditions: Conditions
    checkpoint: Checkpoint | None = None


@final
@dataclass(frozen=True)
class Timeline:
    """Live bytes over the events of one step. ``spans``: (unit, phase, first event, event after the last)."""

    live: tuple[int, ...]
    spans: tuple[tuple[int, str, int, int], ...]


@final
@dataclass(frozen=True)
class CostSide:
    """MACs per sample and live bytes of one step, of a method or of what it is compared with."""

    name: str
    macs_max_node: int
    macs_inference: int
    macs_total: int
    peak: int
    timeline: Timeline


@final
@dataclass(frozen=True)
class Cost:
    """``cost.json``: the run's own cost and that of training end to end; ``spans`` are the blocks of every unit."""

    own: CostSide
    baseline: CostSide
    units: tuple[str, ...]
    spans: tuple[tuple[int, int], ...]
    nodes: tuple[tuple[str, int], ...]
    batch_size: int
    precision: str
    accumulate: int
    conditions: Conditions


@final
@dataclass(frozen=True)
class Audit:
    """``audit.json``: ``reach[i][j]`` says whether the loss of unit i has a gradient for parameters of unit j."""

    names: tuple[str, ...]
    reach: tuple[tuple[bool, ...], ...]
    declared: tuple[int, ...]
    labels: tuple[bool, ...]
    dead: tuple[str, ...]
    sideways: tuple[str, ...]
    problems: tuple[str, ...]
    conditions: Conditions


@final
@dataclass(frozen=True)
class Similarity:
    """Linear CKA of the blocks of two runs: rows are blocks of the first. ``source`` is the file."""

    source: Path
    runs: tuple[str, str]
    first: tuple[str, ...]
    second: tuple[str, ...]
    exact: tuple[tuple[float, ...], ...]
    unbiased: tuple[tuple[float, ...], ...]
    data: str
    samples: int
    minibatch: int
    conditions: Conditions
    checkpoints: tuple[Checkpoint | None, Checkpoint | None] = (None, None)
    other: str | None = None
    """Where the second run lies, seen from the first."""
    constant: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """Blocks of both whose features are the same for all images: of these CKA says nothing."""


@final
@dataclass(frozen=True)
class Transfer:
    """``transfer-DATA.json``: top-1 in percent on another data set, of the network or of its features.

    ``top1`` is the trained classifier's, ``linear`` and ``knn`` are those of its last features, and in a file of their
    own, ``transfer-probe-DATA.json``. ``source`` is the file.
    """

    source: Path
    data: str
    images: int
    top1: float | None
    top5: float | None
    linear: float | None
    knn: float | None
    mapped: int | None
    conditions: Conditions
    checkpoint: Checkpoint | None = None


@final
@dataclass(frozen=True)
class Sides:
    """All that could be read of the files beside a run; None or empty where there is none."""

    probe: Probe | None = None
    cost: Cost | None = None
    audit: Audit | None = None
    plan: Planned | None = None
    similarities: tuple[Similarity, ...] = ()
    transfers: tuple[Transfer, ...] = ()
    maps: bytes | None = None

    @property
    def conditions(self) -> list[tuple[str, Conditions]]:
        """Of every file that has them."""
        named = ((PROBE_FILE, self.probe), (COST_FILE, self.cost), (AUDIT_FILE, self.audit))
        found = [(file, side.conditions) for file, side in named if side is not None]
        found += [(one.source.name, one.conditions) for one in self.similarities]
        return found + [(one.source.name, one.conditions) for one in self.transfers]


def read_sides(folder: Path, problems: list[str]) -> Sides:
    """Everything beside ``run.json`` that the report knows; what is damaged is named in ``problems`` and left out."""
    similar = (read_side(path, CKA_KIND, _similarity(path), problems) for path in sorted(folder.glob("cka-*.json")))
    moved = (
        read_side(path, TRANSFER_KIND, _transfer(path), problems) for path in sorted(folder.glob("transfer-*.json"))
    )
    return Sides(
        probe=read_side(folder / PROBE_FILE, PROBE_KIND, _probe, problems),
        cost=read_side(folder / COST_FILE, COST_KIND, _cost, problems),
        audit=read_side(folder / AUDIT_FILE, AUDIT_KIND, _audit, problems),
        plan=read_side(folder / PLAN_FILE, None, plan_of, problems),
        similarities=tuple(one for one in similar if one is not None),
        transfers=tuple(one for one in moved if one is not None),
        maps=_png(folder / MAPS_FILE, problems),
    )


def read_similarity(path: Path, problems: list[str]) -> Similarity | None:
    """A file that ``localgrad cka RUN RUN -o FILE`` wrote."""
    return read_side(path, CKA_KIND, _similarity(path), problems)


def read_side(
    path: Path, kind: str | None, make: Callable[[Mapping[str, Any]], Found], problems: list[str]
) -> Found | None:
    """What ``make`` makes of a JSON file of this kind; None where there is no file or it is not whole."""
    if not path.exists():
        return None
    document = read_object(path, problems)
    if not document:
        return None
    if kind is not None and document.get("kind") != kind:
        problems.append(f"{path.name}: expected kind {kind!r}, got {document.get('kind')!r}; left out")
        return None
    try:
        return make(document)
    except WRONG as error:
        problems.append(f"{path.name} is incomplete ({type(error).__name__}: {error}); left out")
        return None


def _probe(data: Mapping[str, Any]) -> Probe:
    blocks = tuple(
        ProbedBlock(
            text(one["block"]), one["border"] is True, finite(one["test"]), finite(one["train"]), number(one.get("knn"))
        )
        for one in listed(data["blocks"])
    )
    if not blocks:
        raise ValueError("no blocks")
    samples = data["samples"]
    return Probe(
        blocks, text(data["data"]), whole(samples["train"]), whole(samples["test"]), mapping(data.get("conditions")),
        checkpoint_of(data.get("checkpoint")),
    )  # fmt: skip


def _cost(data: Mapping[str, Any]) -> Cost:
    units, nodes = texts(data["units"]), listed(data["macs"]["nodes"])
    spans = tuple((whole(start), whole(stop)) for start, stop in listed(data["spans"]))
    if not units or len(spans) != len(units):
        raise ValueError("units and spans do not belong together")
    return Cost(
        own=_cost_side(data, "", len(units)),
        baseline=_cost_side(data["baseline"], text(data["baseline"]["name"]), 1),
        units=units,
        spans=spans,
        nodes=tuple((text(one["unit"]), whole(one["macs"])) for one in nodes),
        batch_size=whole(data["batch_size"], 1),
        precision=text(data["precision"]),
        accumulate=whole(data["accumulate"], 1),
        conditions=mapping(data.get("conditions")),
    )


def _cost_side(data: Mapping[str, Any], name: str, units: int) -> CostSide:
    macs, memory = data["macs"], data["memory"]
    line = memory["timeline"]
    live = tuple(map(whole, listed(line["live"])))
    spans = tuple(
        (whole(unit), text(phase), whole(start), whole(stop)) for unit, phase, start, stop in listed(line["spans"])
    )
    if not live or any(unit >= units or not start <= stop <= len(live) for unit, _, start, stop in spans):
        raise ValueError("the timeline is empty or names a unit or an event that is not there")
    return CostSide(
        name,
        whole(macs["max_node"], 1),
        whole(macs["inference"], 1),
        whole(macs["total"], 1),
        whole(memory["peak"], 1),
        Timeline(live, spans),
    )


def _audit(data: Mapping[str, Any]) -> Audit:
    names = texts(data["names"])
    reach = tuple(tuple(hit is True for hit in listed(row)) for row in listed(data["reach"]))
    declared = tuple(whole(one, 1) for one in listed(data["declared"]))
    labels = tuple(one is True for one in listed(data["labels"]))
    sizes = {len(reach), len(declared), len(labels), *map(len, reach)}
    if not names or sizes != {len(names)}:
        raise ValueError(f"expected {len(names)} rows and columns, got {sorted(sizes)}")
    return Audit(
        names, reach, declared, labels,
        texts(data["dead"]), texts(data["sideways"]), texts(data["problems"]), mapping(data.get("conditions")),
    )  # fmt: skip


def _similarity(source: Path) -> Callable[[Mapping[str, Any]], Similarity]:
    def make(data: Mapping[str, Any]) -> Similarity:
        first, second = (texts(names) for names in data["blocks"])
        own, other = texts(data["runs"])
        still, still_second = map(texts, listed(data.get("constant", [[], []])))
        of_first, of_second = map(checkpoint_of, listed(data.get("checkpoints", [None, None])))
        if not first or not second:
            raise ValueError("no blocks")
        return Similarity(
            source=source,
            runs=(own, other),
            first=first,
            second=second,
            exact=matrix(data["exact"], len(first), len(second)),
            unbiased=matrix(data["unbiased"], len(first), len(second)),
            data=text(data["data"]),
            samples=whole(data["samples"]),
            minibatch=whole(data["minibatch"]),
            conditions=mapping(data.get("conditions")),
            checkpoints=(of_first, of_second),
            constant=(still, still_second),
            other=None if data.get("other") is None else text(data["other"]),
        )

    return make


def _transfer(source: Path) -> Callable[[Mapping[str, Any]], Transfer]:
    def last(values: object) -> float | None:
        by_unit = {int(unit): value for unit, value in mapping(values).items() if unit.isdecimal()}
        return number(by_unit[max(by_unit)]) if by_unit else None

    def make(data: Mapping[str, Any]) -> Transfer:
        found = Transfer(
            source=source,
            data=text(data["data"]),
            images=whole(data["n"]),
            top1=number(data.get("top1")),
            top5=number(data.get("top5")),
            linear=last(data.get("linear")),
            knn=last(data.get("knn")),
            mapped=len(listed(data["classes"]["mapped"])) if "mapped" in mapping(data.get("classes")) else None,
            conditions=mapping(data.get("conditions")),
            checkpoint=checkpoint_of(data.get("checkpoint")),
        )
        if found.top1 is None and found.linear is None and found.knn is None:
            raise ValueError("no accuracy")
        return found

    return make


def _png(path: Path, problems: list[str]) -> bytes | None:
    if not path.exists():
        return None
    try:
        size = path.stat().st_size
        data = path.read_bytes() if size <= MAPS_LIMIT else b""
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror or error}")
        return None
    if size > MAPS_LIMIT:
        problems.append(f"{path.name} has {size / 2**20:.0f} MiB, more than the {MAPS_LIMIT >> 20} a page takes in")
        return None
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or not data.rstrip(b"\0").endswith(b"IEND\xaeB`\x82"):
        problems.append(f"{path.name} is damaged: it is no whole PNG image; left out")
        return None
    return data
