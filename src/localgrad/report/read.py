"""Reads run folders and comparisons for the report: what is whole is kept, what is not is named in ``problems``."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

from localgrad.errors import LocalgradError
from localgrad.report.comparison import COMPARISON_FILE, FORMAT, Comparison, Row, row_from_json
from localgrad.report.json_files import mapping, number, read_object
from localgrad.report.planned import Planned, plan_of
from localgrad.report.sides import CKA_KIND, Sides, Similarity, read_side, read_sides, read_similarity

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
REPRODUCTION_FILE = "reproduction.json"


@final
@dataclass(frozen=True)
class Epoch:
    """One epoch's row. Accuracies in percent; ``units`` of every unit's own head; ``loss`` the last unit's, training.

    None: the row has no such number. A run without labels has no accuracy, but may have ``knn`` and ``linear``
    evaluation of the frozen features of every unit. ``losses`` are those of all units, training.
    """

    number: int
    top1: float | None
    top5: float | None
    units: Mapping[int, float]
    loss: float | None
    seconds: float | None
    losses: Mapping[int, float] = field(default_factory=dict)
    knn: Mapping[int, float] = field(default_factory=dict)
    linear: Mapping[int, float] = field(default_factory=dict)


@final
@dataclass(frozen=True)
class RunRecord:
    """What a run's folder says. ``seed`` and ``planned`` epochs are None where its settings cannot be read."""

    folder: Path
    facts: Mapping[str, Any]
    origin: Mapping[str, Any]
    conditions: Mapping[str, Any]
    epochs: tuple[Epoch, ...]
    best: tuple[int, float] | None
    finished: bool
    problems: tuple[str, ...]
    sides: Sides = field(default_factory=Sides)

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        seed = self.facts.get("seed")
        return seed if isinstance(seed, int) else None

    @property
    def planned(self) -> int | None:
        """Epochs that were asked for; None where they are those of a unit (greedy, queued), of which rows are parts."""
        epochs, runtime = self.facts.get("epochs"), self.facts.get("runtime", "sequential")
        return epochs if isinstance(epochs, int) and runtime == "sequential" else None

    @property
    def last(self) -> Epoch | None:
        """The newest epoch."""
        return self.epochs[-1] if self.epochs else None


@final
@dataclass(frozen=True)
class FileRecord:
    """A file that was given by itself: similarities of two runs, or a plan."""

    path: Path
    similarity: Similarity | None
    plan: Planned | None
    problems: tuple[str, ...]


@final
@dataclass(frozen=True)
class ComparisonRecord:
    """A comparison's folder: its table where there is one, and the runs below it."""

    folder: Path
    comparison: Comparison | None
    runs: tuple[RunRecord, ...]
    problems: tuple[str, ...]


Record = RunRecord | ComparisonRecord | FileRecord


def read_path(path: Path) -> Record:
    """Read a run folder, a comparison folder, or a file of similarities or a plan. Raises LocalgradError otherwise."""
    if not path.is_dir():
        if path.is_file() and (record := _read_file(path)) is not None:
            return record
        found = "a file" if path.exists() else "nothing"
        raise LocalgradError(f"report: {path}: expected the folder of a run or of a comparison, found {found} there.")
    if (path / RUN_FILE).exists() or (path / METRICS_FILE).exists():
        return read_run(path)
    below = sorted(child.parent for name in (RUN_FILE, METRICS_FILE) for child in path.glob(f"*/{name}"))
    if (path / COMPARISON_FILE).exists() or below:
        return read_comparison(path, list(dict.fromkeys(below)))
    raise LocalgradError(
        f"report: {path} holds no {RUN_FILE}, {METRICS_FILE} or {COMPARISON_FILE}, nor do the folders in it. "
        "Give the folder that `localgrad train` or `localgrad compare` wrote."
    )


def _read_file(path: Path) -> FileRecord | None:
    document = read_object(path, [])
    problems: list[str] = []
    if document.get("kind") == CKA_KIND:
        return FileRecord(path, read_similarity(path, problems), None, tuple(problems))
    if document.get("format") == "localgrad plan":
        return FileRecord(path, None, read_side(path, None, plan_of, problems), tuple(problems))
    return None


def read_comparison(folder: Path, below: Sequence[Path]) -> ComparisonRecord:
    """Rows of ``comparison.json`` and their runs; without it, all runs in ``below``."""
    problems: list[str] = []
    path = folder / COMPARISON_FILE
    # A folder that `localgrad reproduce` made has runs and a table of its own.
    document = read_object(path, problems) if path.exists() or not (folder / REPRODUCTION_FILE).exists() else {}
    rows: list[Row] = []
    listed = document.get("rows", [])
    if document and document.get("format") != FORMAT:
        problems.append(f"{COMPARISON_FILE}: expected format {FORMAT!r}, got {document.get('format')!r}; left out")
        listed = []
    for index, data in enumerate(listed if isinstance(listed, list) else []):
        try:
            rows.append(row_from_json(data))
        except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
            problems.append(f"{COMPARISON_FILE}: row {index} is incomplete ({type(error).__name__}: {error}); left out")
    if not rows:
        return ComparisonRecord(folder, None, tuple(map(read_run, below)), tuple(problems))
    # Only folders right below: a file from elsewhere must not make the report read other places.
    names = [score.folder for row in rows for score in row.scores]
    own = [folder / name for name in names if name not in ("", "..") and Path(name).name == name]
    problems += [f"{path.name}: the run's folder is missing" for path in own if not path.is_dir()]
    runs = tuple(read_run(path) for path in dict.fromkeys(own) if path.is_dir())
    conditions = document.get("conditions")
    comparison = Comparison(tuple(rows), conditions if isinstance(conditions, dict) else {})
    return ComparisonRecord(folder, comparison, runs, tuple(problems))


def read_run(folder: Path) -> RunRecord:
    """Everything that can be read of a run's folder; never raises for what is damaged."""
    problems: list[str] = []
    document = read_object(folder / RUN_FILE, problems)
    rows = list(_rows(folder / METRICS_FILE, problems))
    found = [_epoch(row, problems) for row in rows if row.get("kind") == "epoch"]
    by_number = {epoch.number: epoch for epoch in found if epoch is not None}
    epochs = tuple(by_number[number] for number in sorted(by_number))
    ends = [row for row in rows if row.get("kind") == "end"]
    record = RunRecord(
        folder=folder,
        facts=mapping(document.get("facts")),
        origin=mapping(document.get("origin")),
        conditions=mapping(document.get("conditions")),
        epochs=epochs,
        best=_best(rows, ends),
        finished=bool(ends),
        problems=(),
    )
    if document and not record.facts:
        problems.append(f"{RUN_FILE} has no settings (facts)")
    if not record.finished:
        problems.append(f"not finished: {len(epochs)} of {record.planned or '?'} epochs")
    sides = read_sides(folder, problems)
    return replace(record, problems=tuple(problems), sides=sides)


def _best(rows: Sequence[Mapping[str, Any]], ends: Sequence[Mapping[str, Any]]) -> tuple[int, float] | None:
    """Epoch and test top-1 of the best epoch: as the run ended, else on the validation split, else on test."""
    candidates = [mapping(end.get("best")) for end in ends[-1:]] or [row for row in rows if row.get("kind") == "epoch"]
    best: tuple[float, int, float] | None = None
    for row in candidates:
        test = number(mapping(row.get("test")).get("top1"))
        judged = number(mapping(row.get("val")).get("top1")) if "val" in row else test
        epoch = row.get("epoch")
        if test is not None and judged is not None and isinstance(epoch, int) and (best is None or judged > best[0]):
            best = judged, epoch, test
    return None if best is None else best[1:]


def _epoch(row: Mapping[str, Any], problems: list[str]) -> Epoch | None:
    test, trained = mapping(row.get("test")), mapping(row.get("train"))
    epoch, top1 = row.get("epoch"), number(test.get("top1"))
    if not isinstance(epoch, int) or (top1 is None and ("test" in row or not trained)):
        problems.append(f"{METRICS_FILE}: a row of epoch {epoch!r} has no test accuracy; left out")
        return None
    units = _by_unit(mapping(test.get("units")))
    losses, last = _losses(trained), max(map(int, filter(_is_unit, trained)), default=None)
    if last is not None and last not in losses and mapping(trained[str(last)]):
        problems.append(f"epoch {epoch}: the training loss is not a finite number")
    return Epoch(
        number=epoch,
        top1=top1,
        top5=number(test.get("top5")),
        units=units,
        loss=None if last is None else losses.get(last),
        seconds=number(row.get("seconds")),
        losses=losses,
        knn=_by_unit(mapping(row.get("knn"))),
        linear=_by_unit(mapping(row.get("linear"))),
    )


def _losses(trained: Mapping[str, Any]) -> dict[int, float]:
    """The sum of the loss terms of every unit of which all are finite."""
    found = {}
    for unit in filter(_is_unit, trained):
        terms = [number(value) for value in mapping(trained[unit]).values()]
        whole = [term for term in terms if term is not None]
        if whole and len(whole) == len(terms):
            found[int(unit)] = sum(whole)
    return found


def _is_unit(key: str) -> bool:
    return key.isdecimal() and len(key) < 7


def _by_unit(values: Mapping[str, Any]) -> dict[int, float]:
    pairs = ((unit, number(value)) for unit, value in values.items() if _is_unit(unit))
    return {int(unit): value for unit, value in pairs if value is not None}


def _rows(path: Path, problems: list[str]) -> Iterator[Mapping[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror or error}")
        return
    bad = []
    for index, line in enumerate(lines, 1):
        if line.strip():
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                row = None
            if isinstance(row, dict):
                yield row
            else:
                bad.append(index)
    if bad:
        problems.append(f"{path.name}: line{'s' * (len(bad) > 1)} {_some(bad)} cannot be read; left out")


def _some(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers[:5])) + (f" and {len(numbers) - 5} more" if len(numbers) > 5 else "")


def unique(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Every folder once, in order."""
    return list({record.folder.resolve(): record for record in records}.values())
