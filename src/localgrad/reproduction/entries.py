"""What comes of a table: an Entry per figure, theirs beside ours, and the document that is written of all."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, final

from localgrad.recipes.experiments import Experiment
from localgrad.report.comparison import spread
from localgrad.reproduction.figures import Figure

FORMAT = "localgrad reproduction 1"
FILE = "reproduction.json"


@final
@dataclass(frozen=True)
class Ours:
    """Our figure: mean over the seeds, sample standard deviation (None for one), its unit and what it is exactly."""

    mean: float
    std: float | None
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    unit: str
    kind: str

    @classmethod
    def one(cls, value: float, unit: str, kind: str) -> "Ours":
        """A figure that depends on no seed."""
        return cls(value, None, (), (value,), unit, kind)

    @classmethod
    def over(cls, values: Mapping[int, float], unit: str, kind: str) -> "Ours":
        """By seed."""
        found = spread(list(values.values()))
        return cls(found.mean, found.std, tuple(values), tuple(values.values()), unit, kind)

    def __str__(self) -> str:
        digits = 2 if self.unit.startswith("%") else 3
        return f"{self.mean:.{digits}f}" + ("" if self.std is None else f"±{self.std:.{digits}f}")

    def plain(self) -> dict[str, object]:
        """As JSON data; without a key for what there is not."""
        found = asdict(self) | {"n": len(self.values), "seeds": list(self.seeds), "values": list(self.values)}
        return {name: value for name, value in found.items() if value is not None}


def ours_from(data: Mapping[str, Any]) -> Ours:
    """What ``plain`` gave. Raises KeyError, TypeError or ValueError for anything else."""
    return Ours(
        float(data["mean"]),
        None if data.get("std") is None else float(data["std"]),
        tuple(map(int, data["seeds"])),
        tuple(map(float, data["values"])),
        str(data["unit"]),
        str(data["kind"]),
    )


@final
@dataclass(frozen=True)
class Entry:
    """One figure. ``ours`` None: ``reason`` says why. ``changed`` is what is not as in the paper.

    ``how`` says what was done where the paper or the recipe's command leave a choice. ``ratio`` are theirs and ours of
    memory beside backpropagation's in the same table.
    """

    figure: Figure
    ours: Ours | None = None
    reason: str = ""
    changed: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    ratio: tuple[float, float] | None = None
    how: tuple[str, ...] = ()

    @property
    def note(self) -> str:
        """What the paper leaves open, and what was done; '' without any."""
        own = self.figure.found.note if isinstance(self.figure.found, Experiment) else ""
        return "; ".join(filter(None, [own, *self.how]))

    @property
    def gap(self) -> float | None:
        """Ours minus theirs; None where they are not of one kind, or either is missing."""
        theirs = self.figure.row.value
        if self.ours is None or not isinstance(theirs, int | float) or self.figure.row.metric.startswith("gpu_memory"):
            return None
        return self.ours.mean - theirs

    def plain(self) -> dict[str, object]:
        """As JSON data."""
        row, found = self.figure.row, self.figure.found
        theirs = {"value": row.value} | ({} if row.std is None else {"std": row.std})
        data: dict[str, object] = {
            "number": self.figure.number,
            "label": self.figure.label,
            "dataset": row.dataset,
            "network": row.network,
            "method": row.method,
            "setting": dict(row.setting),
            "metric": row.metric,
            "theirs": theirs,
        }
        if isinstance(found, Experiment):
            data |= {"recipe": found.recipe, "keywords": dict(found.keywords), "figure": found.figure}
            data |= {"note": self.note} if self.note else {}
        if self.ours is not None:
            data["ours"] = self.ours.plain()
        if self.gap is not None:
            data["gap"] = self.gap
        if self.ratio is not None:
            data["ratio_to_backprop"] = {"theirs": self.ratio[0], "ours": self.ratio[1]}
        data |= {"reason": self.reason} if self.reason else {}
        return data | {"changed": list(self.changed), "runs": list(self.folders)}


@final
@dataclass(frozen=True)
class Reproduction:
    """A table: what was asked, what was planned (short budget), its entries, conditions, and a warning if any."""

    table: str
    source: str
    request: Mapping[str, Any]
    entries: tuple[Entry, ...]
    warning: str = ""
    plan: Mapping[str, Any] = field(default_factory=dict)
    conditions: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, object]:
        """The content of ``reproduction.json``."""
        warned = {"warning": self.warning} if self.warning else {}
        return {
            "kind": FORMAT,
            "table": self.table,
            "source": self.source,
            **warned,
            "request": dict(self.request),
            "plan": dict(self.plan),
            "rows": [entry.plain() for entry in self.entries],
            "conditions": dict(self.conditions),
        }


def with_ratios(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Memories beside backpropagation's of the same network and data in the table, where it is there."""
    whole: dict[tuple[str, str, str], tuple[float, float]] = {}
    for entry in entries:
        row = entry.figure.row
        end_to_end = row.metric.startswith("gpu_memory") and row.method in ("BP", "e2e")
        if end_to_end and entry.ours is not None and isinstance(row.value, int | float):
            whole[row.dataset, row.network, row.metric] = float(row.value), entry.ours.mean
    found = []
    for entry in entries:
        row = entry.figure.row
        base = whole.get((row.dataset, row.network, row.metric))
        if base is not None and entry.ours is not None and isinstance(row.value, int | float):
            found.append(replace(entry, ratio=(row.value / base[0], entry.ours.mean / base[1])))
        else:
            found.append(entry)
    return tuple(found)
