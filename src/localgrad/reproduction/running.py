"""``reproduce(request, folder)``: the rows of a table, one after the other; what is done is kept.

Top to bottom: what is asked, what it needs, the plan of a short budget; the rest is in ``state.py``.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

from localgrad.errors import RunError
from localgrad.recipes.experiments import Experiment
from localgrad.reported import find_table
from localgrad.reproduction.entries import Reproduction
from localgrad.reproduction.figures import (
    Figure,
    SmallTable,
    Training,
    figures_of,
    paper_run,
    paper_trainings,
    ranges,
    small_table,
)
from localgrad.reproduction.plans import check_data, make_plan, plan_from
from localgrad.reproduction.request import Request, check_request, read_saved
from localgrad.reproduction.state import Progress, State
from localgrad.several import check_saved, place
from localgrad.train.folder import claimed
from localgrad.train.progress import Reporter, Silent


def reproduce(request: Request, folder: Path, reporter: Reporter | None = None) -> Reproduction:
    """Run the rows of a table in ``folder`` and write ``reproduction.json`` and ``reproduction.md`` there.

    Raises LocalgradError for an unknown table and a folder made for another request, RunError with everything that is
    missing or wrong before any work, RunsInterrupted when a signal stopped a run: the same request goes on.
    """
    reporter, start, load = reporter or Silent(), perf_counter(), os.getloadavg()
    name, rows = find_table(request.table)
    if request.budget == "short":
        check_data(request)
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
        sessions = tuple(map(str, (saved or {}).get("conditions", {}).get("sessions", [])))
        state = State(
            name, request, folder, figures, trainings, placed, plan, table, progress, limit, load, start, sessions
        )
        state.restore(saved)
        state.save()
        state.count()
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
