"""``report --measure``: what is written into folders of runs, once, and what is said where it cannot be."""

import json
from pathlib import Path

import pytest

from localgrad.cli.measuring import audit_document, baseline, cost_document, measure_missing
from localgrad.methods import Backprop
from localgrad.planning.plan_file import read_plan
from localgrad.recipes import digits
from localgrad.report.groups import all_runs
from localgrad.report.read import read_path, read_run
from tests.cli.conftest import Localgrad
from tests.report.side_files import write_run


def origin(folder: Path, recipe: str, **arguments: object) -> None:
    path = folder / "run.json"
    document = json.loads(path.read_text())
    document["origin"] = {"recipe": recipe, "arguments": arguments, "overrides": {}}
    path.write_text(json.dumps(document))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = write_run(tmp_path / "runs" / "dgl-seed0", units=1)
    origin(folder, "digits.dgl", layers=8)
    return folder


def test_measures_what_is_missing_once(localgrad: Localgrad, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = write_run(run.parent / "dgl-seed1", seed=1, units=1)
    origin(other, "digits.dgl", layers=8, seed=1)
    status, printed = localgrad("report", "--measure", run.parent, "-o", "r.html")
    wrote = [f"wrote cost.json, audit.json in {folder}" for folder in (run, other)]
    assert status == 0 and printed.splitlines() == [*wrote, "r.html"]
    assert (run / "cost.json").read_bytes() == (other / "cost.json").read_bytes()
    page = Path("r.html").read_text()
    assert "Memory over one training step" in page and "Reach of every loss" in page
    capsys.readouterr()
    assert measure_missing(all_runs([read_path(run.parent)])) and capsys.readouterr().out == ""
    (run / "audit.json").write_text("{")
    assert measure_missing([read_run(run)])
    assert capsys.readouterr().out == f"wrote audit.json in {run}\n" and read_run(run).problems == ()


def test_what_cannot_be_measured_is_said(localgrad: Localgrad, run: Path) -> None:
    origin(run, "digits.dgl", layers=8, gone=1)
    python = write_run(run.parent / "python", units=1)
    document = json.loads((python / "run.json").read_text())
    (python / "run.json").write_text(json.dumps({**document, "origin": None}))
    status, printed = localgrad("report", "--measure", run, python, "-o", "r.html", "--figures", "figs")
    assert status == 1
    assert f"{run}: cost.json was not measured: recipe digits.dgl has changed since" in printed
    assert f"{python}: audit.json was not measured: {python} was made by a Python program" in printed
    assert "r.html\nfigures: figs\n" in printed and Path("r.html").exists()
    assert Path("figs", "top1.pdf").exists()


def test_files_of_another_version_are_left_alone(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("cost.json", "audit.json"):
        (run / name).write_text('{"kind": "localgrad cost 2"}')
    assert not measure_missing([read_run(run)])
    assert (run / "cost.json").read_text() == '{"kind": "localgrad cost 2"}'
    told = capsys.readouterr()
    assert (
        told.out == ""
        and f"{run}: audit.json was not measured: there is one, but not in a form that this localgrad knows" in told.err
    )


@pytest.mark.parametrize("damage", [[], {"recipe": "digits.dgl"}, {"recipe": 3, "arguments": [], "overrides": {}}])
def test_damaged_origin(run: Path, capsys: pytest.CaptureFixture[str], damage: object) -> None:
    document = json.loads((run / "run.json").read_text())
    document["conditions"]["hosts"] = ["x"]
    (run / "run.json").write_text(json.dumps({**document, "origin": damage}))
    assert not measure_missing([read_run(run)])
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("run.json is damaged: origin must have recipe, arguments, overrides.")


def test_documents_are_read_by_the_report(tmp_path: Path) -> None:
    run = digits.auglocal(layers=8, depth=2)
    folder = write_run(tmp_path / "run")
    (folder / "cost.json").write_text(json.dumps(cost_document(run)))
    (folder / "audit.json").write_text(json.dumps(audit_document(run)))
    found = read_run(folder)
    cost, audit = found.sides.cost, found.sides.audit
    assert found.problems == () and cost is not None and audit is not None
    assert cost.units == audit.names and len(cost.units) == 3
    assert cost.own.peak == max(cost.own.timeline.live)
    assert cost.baseline.name == "Backprop" and cost.baseline.macs_max_node == cost.baseline.macs_inference


def test_what_a_run_is_compared_with() -> None:
    own = baseline(digits.dgl())
    assert own.method == Backprop() and own.modules is None and len(own.network().units) == 1
    without_labels = baseline(digits.dgssl(layers=8))
    assert type(without_labels.method).__name__ == "DGSSL" and len(without_labels.network().units) == 1


def test_plan_of_a_distributed_run(run: Path) -> None:
    document = json.loads((run / "run.json").read_text())
    for hosts in ([0, 0, 1, 1], [0, 1, 0]):
        document["conditions"]["hosts"] = hosts
        (run / "run.json").write_text(json.dumps(document))
        (run / "plan.json").unlink(missing_ok=True)
        assert measure_missing([read_run(run)]) == (len(hosts) == 4)
        if len(hosts) == 4:
            plan = read_plan(run / "plan.json")
            shown = read_run(run).sides.plan
            assert shown is not None and [unit.stage for unit in shown.units] == hosts
            (sent,) = plan.transfers
            assert shown.sent[0].size == sent.bytes(plan.batch_size, plan.wire)
        else:
            assert not (run / "plan.json").exists()
