"""A table being run: costs, trainings and times of its rows, and the document that is written after each."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any, final

from localgrad.errors import DivergedError, LocalgradError
from localgrad.recipes.experiments import Experiment, NotCovered, run_of
from localgrad.report.read import read_run
from localgrad.reported import PAPERS
from localgrad.reproduction.costs import cost_figure
from localgrad.reproduction.entries import Entry, Ours, Reproduction, ours_from, with_ratios
from localgrad.reproduction.figures import Figure, SmallTable, Training, paper_run, ranges, training_of
from localgrad.reproduction.measuring import overhead
from localgrad.reproduction.plans import Plan
from localgrad.reproduction.request import Request
from localgrad.reproduction.small import small_run
from localgrad.reproduction.values import (
    LINEAR,
    accuracy,
    departures,
    how,
    kind_of,
    linear_top1,
    transferred_top1,
)
from localgrad.reproduction.writing import save
from localgrad.several import folder_name, train_all
from localgrad.train import Result, Run
from localgrad.train.progress import Reporter
from localgrad.train.record import conditions

REPEATS = 10
"""Interleaved steps of an overhead in time."""

WARNING = (
    "NOT THE PAPER'S SETTING: short budget, small networks on small data for few epochs. Where a row says so, its gap "
    "means no more than a direction."
)

DEPARTED = (
    "NOT THE PAPER'S SETTING in every row: the recipes as recorded, but where a gap is in brackets the conditions "
    "say what is not as in the paper, and the gap means no more than a direction."
)


@final
@dataclass
class Progress:
    """What is known so far, by number of the figure; ``seconds`` spent on trainings, planned and real."""

    ours: dict[int, Ours] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)
    planned: float = 0.0
    spent: float = 0.0


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
    sessions: tuple[str, ...] = ()

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
            "sessions": [*self.sessions, self._session()],
            "seeds": list(self.request.seeds),
        }
        return Reproduction(
            self.name,
            PAPERS[self.name.partition(":")[0]],
            self.request.facts(),
            with_ratios(entries),
            "" if not any(entry.changed for entry in entries) else WARNING if self.plan is not None else DEPARTED,
            {} if self.plan is None else self.plan.plain(),
            said,
        )

    def _session(self) -> str:
        """How long this call took, and what else the machine did: load averages of the last minute."""
        before, after = self.load[0], os.getloadavg()[0]
        return f"{perf_counter() - self.start:.0f} s, load average {before:.1f} before and {after:.1f} after"

    def _entry(self, figure: Figure, training: Training | None) -> Entry:
        number, found = figure.number, figure.found
        if isinstance(found, NotCovered):
            return Entry(figure, reason=f"not covered: {found.reason}")
        folders = () if training is None else tuple(folder_name(training.name, run.seed) for run in training.runs)
        changed: tuple[str, ...] = self.table.changed.get(number, ())
        if found.verb == "compare" and self.plan is not None:
            changed = self.plan.words
        if self.plan is not None and training is not None and self._datasets(training) > 1:
            changed = (*changed, f"one training for rows {ranges(training.numbers)}")
        said: tuple[str, ...] = ()
        if training is not None:
            changed = (*changed, *departures(training.runs[0]))
            said = how(figure.row.metric, training.runs[0])
        ours = self.progress.ours.get(number)
        reason = "" if ours is not None else self.progress.reasons.get(number, "not reached yet")
        return Entry(figure, ours, reason, changed, folders, how=said)

    def _datasets(self, training: Training) -> int:
        """On how many data sets the paper has the rows of one small training."""
        return len({figure.row.dataset for figure in self.figures if figure.number in training.numbers})

    def over(self, seconds: float = 0.0) -> bool:
        """Whether the time would be over after so many seconds more."""
        return self.limit is not None and perf_counter() + seconds > self.limit

    def restore(self, saved: Mapping[str, Any] | None) -> None:
        """Take over what the folder's document has. Raises LocalgradError when that cannot be read."""
        try:
            for row in (saved or {}).get("rows", []):
                if "ours" in row:
                    self.progress.ours[int(row["number"])] = ours_from(row["ours"])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise LocalgradError(
                f"{self.folder}: the rows of reproduction.json cannot be read ({type(error).__name__}: {error}). Move "
                "it away: finished runs are kept."
            ) from error

    def count(self) -> None:
        """Costs that are not known yet."""
        known: dict[tuple[object, ...], Ours] = {}
        for figure in self.figures:
            found, number, metric = figure.found, figure.number, figure.row.metric
            if not isinstance(found, Experiment) or found.verb != "cost" or number in self.progress.ours:
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

        def diverged(name: str, error: DivergedError) -> None:
            reporter.line(str(error))
            self.progress.reasons |= dict.fromkeys(numbers[name].numbers, f"diverged: {error}")

        by_number = {figure.number: figure for figure in self.figures}
        for name, result in train_all(self.placed, self.folder, reporter, wanted, diverged):
            training = numbers[name]
            own = results.setdefault(name, {})
            run = next(run for run in self.placed[name] if run.out == result.folder)
            own[run.seed] = result
            if len(own) == len(training.runs):
                for number in training.numbers:
                    one = self._trained(by_number[number], name, own)
                    if isinstance(one, Ours):
                        self.progress.ours[number] = one
                    else:
                        # What the folder's document had may rest on a file that is no longer there.
                        self.progress.ours.pop(number, None)
                        self.progress.reasons[number] = one
            if self.plan is not None and not kept:
                self.progress.spent += perf_counter() - begun
                self.progress.planned += self.plan.seconds[name]
            self.save()

    def _trained(self, figure: Figure, name: str, results: Mapping[int, Result]) -> Ours | str:
        """Our figure of finished runs, or why they have none."""
        metric, found = figure.row.metric, figure.found
        assert isinstance(found, Experiment)
        values = {}
        for run in self.placed[name]:
            last = results[run.seed].last
            assert last is not None
            if found.verb == "evaluate":
                there = transferred_top1(run, found.data)
                if isinstance(there, str):
                    return (
                        f"trained, but {there}: `localgrad evaluate {run.out} --data {found.data}`, then the same "
                        "command again"
                    )
                values[run.seed] = there
            elif metric.startswith(LINEAR):
                values[run.seed] = linear_top1(run, last)
            else:
                try:
                    values[run.seed] = accuracy(metric, found.figure, last["test"])
                except KeyError as error:
                    return f"this run has no such figure ({error.args[0]})"
        return Ours.over(values, "%", kind_of(metric, found.figure, found.data, fitted=run.linear_every > 0))

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
                percent = overhead(self._run(found), self._run(whole), REPEATS)
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
