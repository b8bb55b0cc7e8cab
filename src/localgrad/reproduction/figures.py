"""The figures of a table, and the trainings behind them. Pure: nothing is built, read or trained."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from localgrad.errors import LocalgradError, did_you_mean
from localgrad.facts import Plain, plain
from localgrad.recipes.experiments import Experiment, NotCovered, experiment, run_of, written
from localgrad.reported import Row
from localgrad.reproduction.shrinking import changes
from localgrad.reproduction.small import SmallSetting, small_run
from localgrad.train import Run


@final
@dataclass(frozen=True)
class Figure:
    """One figure of a table: its place in it, from 1, and the experiment that makes it, or the reason for none."""

    number: int
    row: Row
    found: Experiment | NotCovered

    @property
    def label(self) -> str:
        """What the paper's row is: ``CIFAR-10 ResNet-32 AugLocal d=2``."""
        told = {name: value for name, value in self.row.setting if value is not None and name != "batch_size"}
        setting = [f"{name}={written(value)}" for name, value in told.items()]
        return " ".join([self.row.dataset, self.row.network, self.row.method, *setting])


@final
@dataclass(frozen=True)
class Training:
    """What several figures, ``numbers``, may share: one Run per seed."""

    name: str
    runs: tuple[Run, ...]
    numbers: tuple[int, ...]


@final
@dataclass(frozen=True)
class SmallTable:
    """Trainings scaled down; by number of the figure what each has in place of the paper's, or why there is none."""

    trainings: tuple[Training, ...]
    changed: Mapping[int, tuple[str, ...]]
    refused: Mapping[int, str]


def figures_of(rows: Sequence[Row]) -> tuple[Figure, ...]:
    """All figures of a table."""
    return tuple(Figure(number, row, experiment(row)) for number, row in enumerate(rows, 1))


def choose(figures: Sequence[Figure], text: str | None) -> tuple[Figure, ...]:
    """Those that ``text`` names: numbers and ranges, or words of their labels, with commas: ``1,4-6,AugLocal d=2``.

    Raises LocalgradError for a number that the table does not have, and for words that no row has.
    """
    if text is None:
        return tuple(figures)
    chosen: set[int] = set()
    for part in (part.strip() for part in text.split(",")):
        found = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if found is not None:
            first, last = int(found[1]), int(found[2] or found[1])
            if not 1 <= first <= last <= len(figures):
                raise LocalgradError(f"--rows {part}: the table has rows 1 to {len(figures)}; --list shows them.")
            chosen |= set(range(first, last + 1))
            continue
        own = {figure.number for figure in figures if part and _has(figure.label, part)}
        if not own:
            near = did_you_mean(part, [figure.row.method for figure in figures])
            told = f"--rows {part!r}: no row of the table has these words. {near}".strip()
            raise LocalgradError(f"{told} Give numbers such as 1,4-6, or words of a row; --list shows them.")
        chosen |= own
    return tuple(figure for figure in figures if figure.number in chosen)


def _has(label: str, part: str) -> bool:
    """Whether all words of ``part`` are in a label: settings such as ``K=1`` whole, others as a part of a word."""
    words = label.casefold().split()
    return all(
        word in words if "=" in word else any(word in other for other in words) for word in part.casefold().split()
    )


def trained(figures: Sequence[Figure]) -> Iterator[tuple[Figure, Experiment]]:
    """The figures that a training gives, with a test on other data behind it or not."""
    for figure in figures:
        if isinstance(figure.found, Experiment) and figure.found.verb in ("train", "evaluate"):
            yield figure, figure.found


def paper_trainings(
    figures: Sequence[Figure], seeds: Sequence[int], data_root: Path | None, download: bool
) -> tuple[Training, ...]:
    """The recipes as recorded, one training for figures that share it."""
    return _grouped(
        [
            (figure, name_of(found), tuple(paper_run(found, seed, data_root, download) for seed in seeds))
            for figure, found in trained(figures)
        ]
    )


def paper_run(found: Experiment, seed: int, data_root: Path | None, download: bool) -> Run:
    """The recipe as recorded."""
    more = {"data_root": data_root} if data_root is not None else {}
    return run_of(found.recipe, dict(found.keywords), seed=seed, download=download, **more)


def small_table(
    figures: Sequence[Figure], setting: SmallSetting, seeds: Sequence[int], data_root: Path | None
) -> SmallTable:
    """The same scaled down. Rows that differ in the data set only come to share a training."""
    changed: dict[int, tuple[str, ...]] = {}
    refused: dict[int, str] = {}
    found = []
    for figure, one in trained(figures):
        keywords = dict(one.keywords)
        if one.verb == "evaluate":
            refused[figure.number] = f"not in the short budget: a test on {one.data} needs the paper's images"
            continue
        try:
            runs = tuple(small_run(one.recipe, keywords, setting, seed, data_root) for seed in seeds)
        except LocalgradError as error:
            refused[figure.number] = f"not in the short budget: {error}"
            continue
        changed[figure.number] = tuple(changes(run_of(one.recipe, keywords), runs[0]))
        found.append((figure, f"small.{name_of(one).partition('.')[2]}", runs))
    return SmallTable(_grouped(found), changed, refused)


def name_of(found: Experiment) -> str:
    """``cifar10.auglocal_resnet32-depth=2``."""
    return "-".join([found.recipe, *(f"{name}={written(value)}" for name, value in found.keywords)])


def without_seed(run: Run) -> Plain:
    """All settings of a run but its seed."""
    return plain(replace(run, seed=0).facts())


def _grouped(found: Sequence[tuple[Figure, str, tuple[Run, ...]]]) -> tuple[Training, ...]:
    """One training for all figures whose runs are the same; names that two would have are told apart by the data."""
    trainings: dict[str, Training] = {}
    names: set[str] = set()
    for figure, name, runs in found:
        key = json.dumps(without_seed(runs[0]), sort_keys=True)
        if key in trainings:
            before = trainings[key]
            trainings[key] = replace(before, numbers=(*before.numbers, figure.number))
            continue
        assert isinstance(figure.found, Experiment)
        own = name if name not in names else f"{name}-{figure.found.recipe.partition('.')[0]}"
        while own in names:
            own += "+"
        names.add(own)
        trainings[key] = Training(own, runs, (figure.number,))
    return tuple(trainings.values())


def training_of(trainings: Sequence[Training]) -> Mapping[int, Training]:
    """By the number of the figure."""
    return {number: training for training in trainings for number in training.numbers}


def ranges(numbers: Sequence[int]) -> str:
    """``1-3, 7`` for 1, 2, 3, 7."""
    told: list[list[int]] = []
    for number in numbers:
        if told and number == told[-1][-1] + 1:
            told[-1].append(number)
        else:
            told.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in told)
