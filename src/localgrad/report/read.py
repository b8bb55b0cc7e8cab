"""Reads run folders and comparisons for the report: what is whole is kept, what is not is named in ``problems``."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from localgrad.errors import LocalgradError
from localgrad.report.comparison import COMPARISON_FILE, FORMAT, Comparison, Row, row_from_json

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"


@final
@dataclass(frozen=True)
class Epoch:
    """One epoch's row. Accuracies in percent; ``units`` of every unit's own head; ``loss`` the last unit's, training.

    None: the row has no such number. A run without labels has no accuracy.
    """

    number: int
    top1: float | None
    top5: float | None
    units: Mapping[int, float]
    loss: float | None
    seconds: float | None


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
class ComparisonRecord:
    """A comparison's folder: its table where there is one, and the runs below it."""

    folder: Path
    comparison: Comparison | None
    runs: tuple[RunRecord, ...]
    problems: tuple[str, ...]


def read_path(path: Path) -> RunRecord | ComparisonRecord:
    """Read a run folder or a comparison folder. Raises LocalgradError when it is neither."""
    if not path.is_dir():
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


def read_comparison(folder: Path, below: Sequence[Path]) -> ComparisonRecord:
    """Rows of ``comparison.json`` and their runs; without it, all runs in ``below``."""
    problems: list[str] = []
    document = _read_object(folder / COMPARISON_FILE, problems)
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
    document = _read_object(folder / RUN_FILE, problems)
    rows = list(_rows(folder / METRICS_FILE, problems))
    found = [_epoch(row, problems) for row in rows if row.get("kind") == "epoch"]
    by_number = {epoch.number: epoch for epoch in found if epoch is not None}
    epochs = tuple(by_number[number] for number in sorted(by_number))
    ends = [row for row in rows if row.get("kind") == "end"]
    record = RunRecord(
        folder=folder,
        facts=_mapping(document.get("facts")),
        origin=_mapping(document.get("origin")),
        conditions=_mapping(document.get("conditions")),
        epochs=epochs,
        best=_best(rows, ends),
        finished=bool(ends),
        problems=(),
    )
    if document and not record.facts:
        problems.append(f"{RUN_FILE} has no settings (facts)")
    if not record.finished:
        problems.append(f"not finished: {len(epochs)} of {record.planned or '?'} epochs")
    return RunRecord(**{**vars(record), "problems": tuple(problems)})


def _best(rows: Sequence[Mapping[str, Any]], ends: Sequence[Mapping[str, Any]]) -> tuple[int, float] | None:
    """Epoch and test top-1 of the best epoch: as the run ended, else on the validation split, else on test."""
    candidates = [_mapping(end.get("best")) for end in ends[-1:]] or [row for row in rows if row.get("kind") == "epoch"]
    best: tuple[float, int, float] | None = None
    for row in candidates:
        test = number(_mapping(row.get("test")).get("top1"))
        judged = number(_mapping(row.get("val")).get("top1")) if "val" in row else test
        epoch = row.get("epoch")
        if test is not None and judged is not None and isinstance(epoch, int) and (best is None or judged > best[0]):
            best = judged, epoch, test
    return None if best is None else best[1:]


def _epoch(row: Mapping[str, Any], problems: list[str]) -> Epoch | None:
    test, trained = _mapping(row.get("test")), _mapping(row.get("train"))
    epoch, top1 = row.get("epoch"), number(test.get("top1"))
    if not isinstance(epoch, int) or (top1 is None and ("test" in row or not trained)):
        problems.append(f"{METRICS_FILE}: a row of epoch {epoch!r} has no test accuracy; left out")
        return None
    units = _by_unit(_mapping(test.get("units")))
    last = max((int(unit) for unit in trained if unit.isdecimal()), default=None)
    terms = [] if last is None else [number(value) for value in _mapping(trained[str(last)]).values()]
    whole = [term for term in terms if term is not None]
    if len(whole) < len(terms):
        problems.append(f"epoch {epoch}: the training loss is not a finite number")
    loss = sum(whole) if whole and len(whole) == len(terms) else None
    return Epoch(epoch, top1, number(test.get("top5")), units, loss, number(row.get("seconds")))


def _by_unit(values: Mapping[str, Any]) -> dict[int, float]:
    pairs = ((unit, number(value)) for unit, value in values.items() if unit.isdecimal())
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


def _read_object(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """A JSON object from a file, empty when there is none that can be read."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror or error}")
    except (ValueError, RecursionError):
        problems.append(f"{path.name} is damaged: it is no whole JSON document")
    else:
        if isinstance(document, dict):
            return document
        problems.append(f"{path.name} is damaged: expected a JSON object")
    return {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def number(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def unique(records: Iterable[RunRecord]) -> list[RunRecord]:
    """Every folder once, in order."""
    return list({record.folder.resolve(): record for record in records}.values())
