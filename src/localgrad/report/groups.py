"""Runs that differ by seed only, as one group with one name, colour and line style."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from localgrad.report.comparison import Row
from localgrad.report.read import ComparisonRecord, FileRecord, Record, RunRecord, unique
from localgrad.report.sides import Audit, Cost, Probe
from localgrad.report.words import frozen_accuracy


@final
@dataclass(frozen=True)
class Group:
    """``index`` chooses colour and line style. ``row`` is the group's row of a comparison, where there is one.

    ``judge``: what judged frozen features in that comparison; empty where the networks' own classifiers are compared.
    """

    index: int
    name: str
    runs: tuple[RunRecord, ...]
    row: Row | None = None
    judge: str = ""

    @property
    def cost(self) -> Cost | None:
        """What the first run that was measured costs; seeds change nothing in it."""
        return next((run.sides.cost for run in self.runs if run.sides.cost is not None), None)

    @property
    def audit(self) -> Audit | None:
        """What the losses of the first run that was audited reach."""
        return next((run.sides.audit for run in self.runs if run.sides.audit is not None), None)

    @property
    def probed(self) -> list[tuple[RunRecord, Probe]]:
        """The runs with linear probes."""
        return [(run, run.sides.probe) for run in self.runs if run.sides.probe is not None]

    @property
    def spans(self) -> tuple[tuple[int, int], ...] | None:
        """The blocks of every unit, where a comparison or a measured cost says them."""
        return self.row.spans if self.row is not None else self.cost.spans if self.cost is not None else None

    @property
    def seeds(self) -> tuple[int, ...]:
        """Those that are known, in order."""
        return tuple(sorted(run.seed for run in self.runs if run.seed is not None))


def make_groups(records: Sequence[Record]) -> list[Group]:
    """Rows of comparisons are groups as they stand; other runs go together by folder name and settings."""
    found: list[tuple[str, list[RunRecord], Row | None, str]] = []
    placed: set[Path] = set()
    for record in records:
        if isinstance(record, ComparisonRecord) and record.comparison is not None:
            by_name = {run.folder.name: run for run in record.runs}
            for row in record.comparison.rows:
                runs = [by_name[score.folder] for score in row.scores if score.folder in by_name]
                if runs:
                    found.append((row.name, runs, row, frozen_accuracy(record.comparison) or ""))
                    placed.update(run.folder.resolve() for run in runs)
    lone: dict[tuple[str, str], list[RunRecord]] = {}
    for run in all_runs(records):
        if run.folder.resolve() not in placed:
            settings = {name: value for name, value in run.facts.items() if name != "seed"}
            lone.setdefault((_base_name(run.folder.resolve().name), repr(settings)), []).append(run)
    found += [(name, runs, None, "") for (name, _), runs in lone.items()]
    names = _distinct([name for name, *_ in found])
    return [
        Group(i, name, tuple(runs), row, judge)
        for i, (name, (_, runs, row, judge)) in enumerate(zip(names, found, strict=True))
    ]


def all_runs(records: Iterable[Record]) -> list[RunRecord]:
    """Every run once, those of comparisons in place."""
    return unique(
        run
        for record in records
        if not isinstance(record, FileRecord)
        for run in (record.runs if isinstance(record, ComparisonRecord) else (record,))
    )


def flat(values: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Nested settings as dotted names and short words; the name of a thing's class stands for the thing."""
    leaves: dict[str, str] = {}
    for key, value in values.items():
        name = path if key == "kind" and path else f"{path}.{key}" if path else str(key)
        if isinstance(value, dict):
            leaves |= flat(value, name)
        else:
            leaves[name] = word(value)
    return leaves


def word(value: object) -> str:
    """A setting as a person writes it."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(word, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def split_settings(columns: Sequence[Mapping[str, str]]) -> tuple[dict[str, list[str | None]], dict[str, str]]:
    """Settings in which ``columns`` differ, with a value per column or None; and those that all share."""
    names = dict.fromkeys(name for column in columns for name in column)
    values = {name: [column.get(name) for column in columns] for name in names}
    shared = {name: own[0] for name, own in values.items() if own[0] is not None and len(set(own)) == 1}
    return {name: own for name, own in values.items() if name not in shared}, shared


def _base_name(folder: str) -> str:
    return re.sub(r"[-_. ]?seed[-_=]?\d+$", "", folder) or folder


def _distinct(names: Sequence[str]) -> list[str]:
    counts: dict[str, int] = {}
    for name in names:
        counts[name] = counts.get(name, 0) + 1
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(f"{name} ({seen[name]})" if counts[name] > 1 else name)
    return result
