"""The thesis' tables without labels: what the rows, the notes and the gaps say of thresholds and linear classifiers."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from localgrad.recipes.experiments import run_of
from localgrad.reported import find_table
from localgrad.reproduction import Entry, Reproduction, Request, figures_of
from localgrad.reproduction.entries import Ours
from localgrad.reproduction.figures import SmallTable, paper_trainings, small_table
from localgrad.reproduction.plans import Plan
from localgrad.reproduction.small import SmallSetting, small_run
from localgrad.reproduction.state import Progress, State
from localgrad.reproduction.values import departures, kind_of, linear_top1
from localgrad.reproduction.writing import cells, markdown, shared
from localgrad.train import train

METRIC = "linear_probe_top1_%"
SETTING = SmallSetting("digits", 2, 200, 1)
UNCALIBRATED = "thresholds: running quantiles, not calibrated on a pretrained SimCLR"
FITTED = "fitted by `localgrad reproduce` when the run is finished: these runs fit none"


def judged(table: str, budget: str, folder: Path) -> Reproduction:
    """The whole table as if all rows had been trained."""
    figures = figures_of(find_table(table)[1])
    numbers = tuple(figure.number for figure in figures)
    plan = Plan(SETTING, {}, {}, 0.0, {}) if budget == "short" else None
    small = SmallTable((), {}, {}) if plan is None else small_table(figures, SETTING, (0,), None)
    trainings = small.trainings if plan is not None else paper_trainings(figures, (0,), None, False)
    ours = Ours.over({0: 50.0}, "%", kind_of(METRIC, "", fitted=plan is None))
    request = Request(table, "paper" if plan is None else "short", numbers, (0,))
    progress = Progress(dict.fromkeys(numbers, ours))
    return State(
        table, request, folder, figures, trainings, {}, plan, small, progress, None, (0.0, 0.0, 0.0), 0.0
    ).reproduction()


@pytest.mark.parametrize("budget", ["short", "paper"])
@pytest.mark.parametrize("table", ["thesis:4.1", "thesis:4.2", "thesis:4.3", "thesis:4.4"])
def test_rows_without_a_calibration_say_so(table: str, budget: str, tmp_path: Path) -> None:
    found = judged(table, budget, tmp_path)
    common = shared(found)

    def shown(entry: Entry) -> tuple[str, str]:
        return cells(entry, common)[-1], cells(entry, common)[-2]

    for entry in found.entries:
        selected = entry.figure.row.method == "DGSSL-LLM"
        assert (UNCALIBRATED in shown(entry)[0]) == (UNCALIBRATED in entry.plain()["changed"]) == selected  # type: ignore[operator]
        assert shown(entry)[1].startswith("(") == (selected or budget == "short")
        assert ("takes no calibration" in entry.note) == selected
        assert "--calibration FILE" not in entry.note
        assert (FITTED in entry.note) == (budget == "short")
        assert ("`linear` of the last epoch's row" in entry.note) == (budget == "paper")
        assert entry.plain()["note"] == entry.note
    text = markdown(found)
    assert "NOT THE PAPER'S SETTING" in text and ("short budget, small" in found.warning) == (budget == "short")
    assert text.count(UNCALIBRATED) == sum(one.figure.row.method == "DGSSL-LLM" for one in found.entries)
    assert "In brackets: another setting than the paper's" in text
    assert ("- note: the thesis does not tell epochs and temperature" in text) and text.count("- note: ") <= 2
    assert ("the paper's network and batch" in text) == (budget == "paper")
    # In brackets stand the paper's values only where something was scaled down.
    assert ("All rows, the paper's in brackets" in text) == (budget == "short")


def test_a_table_that_needs_no_thresholds_departs_from_nothing_in_the_papers_budget(tmp_path: Path) -> None:
    found = judged("mlaan:4", "paper", tmp_path)
    assert found.warning == "" and not any(entry.changed for entry in found.entries)


def test_thresholds_that_are_given_are_no_departure() -> None:
    run = run_of("cifar10.dgssl_llm_resnet50", {"modules": 2})
    assert departures(run) == (UNCALIBRATED,)
    assert departures(run_of("cifar10.dgssl_llm_resnet50", {"modules": 2, "alphas": (0.1, 0.1), "betas": (1, 1)})) == ()
    assert departures(run_of("cifar10.dgssl_resnet50", {})) == departures(run_of("cifar10.dgl_resnet32", {})) == ()


def test_the_figure_is_the_rows_where_the_run_fitted_it_and_else_fitted_now(tmp_path: Path) -> None:
    small = small_run("cifar10.dgssl_resnet50", {"modules": 4}, SETTING, 0, None)
    run = replace(small, linear_every=100, out=tmp_path / "run")
    result = train(run)
    assert result.last is not None
    fitted = result.last["linear"]
    own = fitted[max(fitted, key=int)]
    assert linear_top1(run, result.last) == own
    # Another number in the row shows that it is read.
    assert linear_top1(run, {**result.last, "linear": {"0": 1.0, "3": 2.0}}) == 2.0
    without = json.loads(json.dumps(result.last))
    del without["linear"]
    assert linear_top1(run, without) == pytest.approx(own, abs=2)
