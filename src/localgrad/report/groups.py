"""Runs that differ by seed only, as one group with one name, colour and line style."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from localgrad.report.read import ComparisonRecord, RunRecord, unique


@final
@dataclass(frozen=True)
class Group:
    """``index`` chooses colour and line style. ``spans`` are the blocks of every unit, where a comparison says them."""

    index: int
    name: str
    runs: tuple[RunRecord, ...]
    spans: tuple[tuple[int, int], ...] | None = None


def make_groups(records: Sequence[RunRecord | ComparisonRecord]) -> list[Group]:
    """Rows of comparisons are groups as they stand; other runs go together by folder name and settings."""
    found: list[tuple[str, list[RunRecord], tuple[tuple[int, int], ...] | None]] = []
    placed: set[Path] = set()
    for record in records:
        if isinstance(record, ComparisonRecord) and record.comparison is not None:
            by_name = {run.folder.name: run for run in record.runs}
            for row in record.comparison.rows:
                runs = [by_name[score.folder] for score in row.scores if score.folder in by_name]
                if runs:
                    found.append((row.name, runs, row.spans))
                    placed.update(run.folder.resolve() for run in runs)
    lone: dict[tuple[str, str], list[RunRecord]] = {}
    for run in all_runs(records):
        if run.folder.resolve() not in placed:
            settings = {name: value for name, value in run.facts.items() if name != "seed"}
            lone.setdefault((_base_name(run.folder.resolve().name), repr(settings)), []).append(run)
    found += [(name, runs, None) for (name, _), runs in lone.items()]
    names = _distinct([name for name, _, _ in found])
    return [
        Group(i, name, tuple(runs), spans) for i, (name, (_, runs, spans)) in enumerate(zip(names, found, strict=True))
    ]


def all_runs(records: Iterable[RunRecord | ComparisonRecord]) -> list[RunRecord]:
    """Every run once, those of comparisons in place."""
    return unique(
        run for record in records for run in (record.runs if isinstance(record, ComparisonRecord) else (record,))
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
