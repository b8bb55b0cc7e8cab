"""``reproduce(request, folder)``: the rows of a table, one after the other; what is done is kept.

Top to bottom: what is asked, what it needs, the plan of a short budget, costs, trainings, times.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, final

from localgrad.errors import LocalgradError, RunError
from localgrad.recipes.experiments import Experiment, NotCovered, run_of
from localgrad.report.read import read_run
from localgrad.reported import PAPERS, find_table
from localgrad.reproduction.costs import cost_figure
from localgrad.reproduction.entries import Entry, Ours, Reproduction, ours_from, with_ratios
from localgrad.reproduction.figures import (
    Figure,
    SmallTable,
    Training,
    figures_of,
    paper_run,
    paper_trainings,
    small_table,
    training_of,
)
from localgrad.reproduction.measuring import overhead
from localgrad.reproduction.plans import Plan, make_plan, plan_from
from localgrad.reproduction.request import Request, check_request, read_saved
from localgrad.reproduction.small import small_run
from localgrad.reproduction.values import LINEAR, accuracy, kind_of, linear_top1
from localgrad.reproduction.writing import save
from localgrad.several import check_saved, folder_name, place, train_all
from localgrad.train import Result, Run
from localgrad.train.folder import claimed
from localgrad.train.progress import Reporter, Silent
from localgrad.train.record import conditions

REPEATS = 10
"""Interleaved steps of an overhead in time."""

WARNING = (
    "NOT THE PAPER'S SETTING: short budget, small networks on small data for few epochs. Where a row says so, its gap "
    "means no more than a direction."
)


@final
@dataclass
class Progress:
    """What is known so far, by number of the figure; ``seconds`` spent on trainings, planned and real."""

    ours: dict[int, Ours] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    planned: float = 0.0
    spent: float = 0.0


def reproduce(request: Request, folder: Path, reporter: Reporter | None = None) -> Reproduction:
    """Run the rows of a table in ``folder`` and write ``reproduction.json`` and ``reproduction.md`` there.

    Raises LocalgradError for an unknown table and a folder made for another request, RunError with everything that is
    missing or wrong before any work, RunsInterrupted when a signal stopped a run: the same request goes on.
    """
    reporter, start, load = reporter or Silent(), perf_counter(), os.getloadavg()
    name, rows = find_table(request.table)
    figures = [figure for figure in figures_of(rows) if figure.number in request.numbers]
    saved = read_saved(folder)
    if saved is not None:
        check_request(saved, request, folder)
    trainings: Sequence[Training] = ()
    if request.budget == "paper":
        trainings = paper_trainings(figures, request.seeds, request.data_root, request.download)
        check_paper(figures, trainings, request)
    with claimed(folder, resume=True):
        progress, plan, table = Progress(), None, SmallTable((), {}, {})
        limit = start + 60 * request.minutes if request.budget == "short" else None
        if request.budget == "short":
            plan = plan_from(saved.get("plan")) if saved is not None else None
            if plan is None:
                plan = make_plan(figures, request, start, reporter)
            table = small_table(figures, plan.setting, request.seeds, request.data_root)
            trainings = [training for training in table.trainings if training.name not in plan.refused]
            progress.reasons |= dict(table.refused)
            for training in table.trainings:
                if training.name in plan.refused:
                    progress.reasons |= dict.fromkeys(training.numbers, plan.refused[training.name])
        placed = place({training.name: training.runs for training in trainings}, folder, "reproduce")
        check_saved(placed)
        state = State(name, request, folder, figures, trainings, placed, plan, table, progress, limit, load, start)
        state.save()
        state.count(saved)
        state.train(reporter)
        state.time(reporter)
        return state.save()


def check_paper(figures: Sequence[Figure], trainings: Sequence[Training], request: Request) -> None:
    """Raise RunError with what all rows need and is not there; what several rows need is said once."""
    runs = [(training.numbers, training.runs[0]) for training in trainings]
    runs += [
        ((figure.number,), paper_run(figure.found, request.seeds[0], request.data_root, request.download))
        for figure in figures
        if isinstance(figure.found, Experiment) and figure.found.verb == "compare"
    ]
    found: dict[str, list[int]] = {}
    for numbers, run in runs:
        for problem in run.problems():
            found.setdefault(problem, []).extend(numbers)
    if found:
        raise RunError([f"rows {ranges(sorted(set(numbers)))}: {problem}" for problem, numbers in found.items()])


def ranges(numbers: Sequence[int]) -> str:
    """``1-3, 7`` for 1, 2, 3, 7."""
    told: list[list[int]] = []
    for number in numbers:
        if told and number == told[-1][-1] + 1:
            told[-1].append(number)
        else:
            told.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in told)


@final
@dataclass
class State:
    """A table being run: everything that its document is made of."""

    name: str
    request: Request
    folder: Path
    figures: Sequence[Figure]
    trainings: Sequence[Training]
    placed: Mapping[str, Sequence[Run]]
    plan: Plan | None
    table: SmallTable
    progress: Progress
    limit: float | None
    load: tuple[float, float, float]
    start: float

    def save(self) -> Reproduction:
        """Write the document as it is now."""
        found = self.reproduction()
        save(found, self.folder)
        return found

    def reproduction(self) -> Reproduction:
        """The document as it is now."""
        by_number = training_of(self.trainings)
        entries = [self._entry(figure, by_number.get(figure.number)) for figure in self.figures]
        device = next((run.torch_device() for own in self.placed.values() for run in own), None)
        said: dict[str, Any] = {} if device is None else dict(conditions(device))
        said |= {
            "cores": os.cpu_count(),
            "load_average_before": [round(value, 2) for value in self.load],
            "load_average_after": [round(value, 2) for value in os.getloadavg()],
            "seconds": round(perf_counter() - self.start, 1),
            "seeds": list(self.request.seeds),
        }
        return Reproduction(
            self.name,
            PAPERS[self.name.partition(":")[0]],
            self.request.facts(),
            with_ratios(entries),
            "" if self.plan is None else WARNING,
            {} if self.plan is None else self.plan.plain(),
            said,
        )

    def _entry(self, figure: Figure, training: Training | None) -> Entry:
        number, found = figure.number, figure.found
        if isinstance(found, NotCovered):
            return Entry(figure, reason=f"not covered: {found.reason}")
        folders = () if training is None else tuple(folder_name(training.name, run.seed) for run in training.runs)
        changed: tuple[str, ...] = self.table.changed.get(number, ())
        if found.verb == "compare" and self.plan is not None:
            changed = self.plan.words
        ours = self.progress.ours.get(number)
        reason = "" if ours is not None else self.progress.reasons.get(number, "not reached yet")
        return Entry(figure, ours, reason, changed, folders)

    def over(self, seconds: float = 0.0) -> bool:
        """Whether the time would be over after so many seconds more."""
        return self.limit is not None and perf_counter() + seconds > self.limit

    def count(self, saved: Mapping[str, Any] | None) -> None:
        """Costs; what the folder's document has of them is kept."""
        before = {row["number"]: row["ours"] for row in (saved or {}).get("rows", []) if "ours" in row}
        known: dict[tuple[object, ...], Ours] = {}
        for figure in self.figures:
            found, number, metric = figure.found, figure.number, figure.row.metric
            if not isinstance(found, Experiment) or found.verb == "train":
                continue
            if number in before:
                self.progress.ours[number] = ours_from(before[number])
                continue
            if found.verb == "compare":
                continue
            key = (metric, found.recipe, found.keywords)
            if key not in known:
                if self.over():
                    self.progress.reasons[number] = self._late()
                    continue
                try:
                    known[key] = cost_figure(metric, run_of(found.recipe, dict(found.keywords)))
                except LocalgradError as error:
                    self.progress.reasons[number] = f"cannot be counted: {error}"
                    continue
            self.progress.ours[number] = known[key]
            self.save()

    def train(self, reporter: Reporter) -> None:
        """All trainings, as far as the time goes."""
        results: dict[str, dict[int, Result]] = {}
        numbers = {training.name: training for training in self.trainings}
        begun, kept = perf_counter(), False

        def wanted(name: str, run: Run) -> bool:
            nonlocal begun, kept
            begun, kept = perf_counter(), _finished(run)
            drift = max(1.0, self.progress.spent / self.progress.planned) if self.progress.planned else 1.0
            if self.plan is None or kept or not self.over(drift * self.plan.seconds[name]):
                return True
            self.progress.reasons |= dict.fromkeys(numbers[name].numbers, self._late())
            return False

        by_number = {figure.number: figure for figure in self.figures}
        for name, result in train_all(self.placed, self.folder, reporter, wanted):
            training = numbers[name]
            own = results.setdefault(name, {})
            run = next(run for run in self.placed[name] if run.out == result.folder)
            own[run.seed] = result
            if len(own) == len(training.runs):
                for number in training.numbers:
                    self.progress.ours[number] = self._trained(by_number[number], name, own)
            if self.plan is not None and not kept:
                self.progress.spent += perf_counter() - begun
                self.progress.planned += self.plan.seconds[name]
            self.save()

    def _trained(self, figure: Figure, name: str, results: Mapping[int, Result]) -> Ours:
        metric, found = figure.row.metric, figure.found
        assert isinstance(found, Experiment)
        values = {}
        for run in self.placed[name]:
            last = results[run.seed].last
            assert last is not None
            if metric.startswith(LINEAR):
                values[run.seed] = linear_top1(run)
            else:
                values[run.seed] = accuracy(metric, found.figure, last["test"])
        return Ours.over(values, "%", kind_of(metric, found.figure))

    def time(self, reporter: Reporter) -> None:
        """Overheads in time beside backpropagation, of steps that take turns."""
        for figure in self.figures:
            found, number = figure.found, figure.number
            if not isinstance(found, Experiment) or found.verb != "compare" or number in self.progress.ours:
                continue
            if self.over():
                self.progress.reasons[number] = self._late()
                continue
            reporter.line(f"timing {REPEATS} steps of {figure.label}")
            data, _, network = found.recipe.partition(".")
            whole = Experiment(f"{data}.backprop_{network.rpartition('_')[2]}")
            try:
                percent, _ = overhead(self._run(found), self._run(whole), REPEATS)
            except LocalgradError as error:
                self.progress.reasons[number] = f"cannot be timed: {error}"
                continue
            kind = f"median of {REPEATS} interleaved steps beside backpropagation's, on this machine"
            self.progress.ours[number] = Ours.one(percent, "%", kind)
            self.save()

    def _run(self, found: Experiment) -> Run:
        seed = self.request.seeds[0]
        if self.plan is None:
            return paper_run(found, seed, self.request.data_root, self.request.download)
        return small_run(found.recipe, dict(found.keywords), self.plan.setting, seed, self.request.data_root)

    def _late(self) -> str:
        return f"not reached in {self.request.minutes:g} minutes; the same command goes on with it"


def _finished(run: Run) -> bool:
    """Whether all epochs of a run are done: it is read, not trained."""
    return run.out is not None and run.out.is_dir() and read_run(run.out).finished
