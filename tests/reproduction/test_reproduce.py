"""A tiny table run in earnest on the digits: its documents, its interruption, its continuation, its refusals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import pytest

from localgrad.errors import LocalgradError, RunError
from localgrad.report import write_report
from localgrad.reported import find_table
from localgrad.reproduction import Entry, Reproduction, Request, figures_of, reproduce
from localgrad.reproduction.figures import SmallTable, Training
from localgrad.reproduction.request import read_saved
from localgrad.reproduction.small import SmallSetting, small_run
from localgrad.reproduction.state import Progress, State
from localgrad.several import RunsInterrupted, place
from localgrad.train import train
from localgrad.train.progress import Silent
from tests.train.conftest import Stopping, assert_same_run, rows

TABLE = Request("dgl:parallel", "short", (1, 2, 3, 4), (0, 1), minutes=0.08)
RUNS = ["small.dgl_conv4-seed0", "small.dgl_conv4-seed1"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reproduction]:
    folder = tmp_path_factory.mktemp("reproduce") / "table"
    reproduce(TABLE, folder)
    # What a busy machine did not reach.
    return folder, reproduce(replace(TABLE, minutes=99), folder)


def document(folder: Path) -> dict[str, object]:
    found = json.loads((folder / "reproduction.json").read_text())
    assert isinstance(found, dict)
    return found


def planned(done: tuple[Path, Reproduction], folder: Path) -> Path:
    """A folder where the same plan was just made, and nothing trained."""
    folder.mkdir()
    found = document(done[0])
    found["rows"] = []
    (folder / "reproduction.json").write_text(json.dumps(found))
    return folder


def test_ours_are_the_figures_of_the_last_epoch(done: tuple[Path, Reproduction]) -> None:
    folder, found = done
    last = [rows(folder / name)[-1]["last"]["test"] for name in RUNS]
    assert [entry.figure.row.value for entry in found.entries] == [78.35, 85.25, 87.9, 89.86]
    for unit, entry in enumerate(found.entries):
        values = [test["top1"] if unit == 3 else test["units"][str(unit)] for test in last]
        assert entry.ours is not None and entry.ours.values == tuple(values) and entry.ours.seeds == (0, 1)
        assert entry.ours.mean == pytest.approx(sum(values) / 2) and entry.ours.std is not None
        assert entry.gap == pytest.approx(entry.ours.mean - float(entry.figure.row.value))
        assert entry.folders == tuple(RUNS)


def test_the_documents(done: tuple[Path, Reproduction]) -> None:
    folder, found = done
    said = document(folder)
    assert said["kind"] == "localgrad reproduction 1" and said["table"] == "dgl:parallel"
    assert "NOT THE PAPER'S SETTING" in str(said["warning"])
    assert said["request"] == {"table": "dgl:parallel", "budget": "short", "rows": [1, 2, 3, 4], "seeds": [0, 1],
                               "data": "digits"}  # fmt: skip
    listed = said["rows"]
    assert isinstance(listed, list)
    assert listed[3]["theirs"] == {"value": 89.86} and listed[3]["ours"]["n"] == 2
    data = "digits[:500]" if found.plan["setting"]["images"] else "digits"
    assert listed[0]["changed"][1] == f"{data} 1x8x8 (cifar10 3x32x32)" and listed[0]["figure"] == "units.0"
    assert {"torch", "threads", "cores", "sessions", "seeds"} <= set(found.conditions)
    text = (folder / "reproduction.md").read_text()
    assert "**NOT THE PAPER'S SETTING" in text and text.count("\n| ") == 6
    assert f"conv_vgg4; {data} 1x8x8 (cifar10 3x32x32)" in text.partition("| # |")[0]
    assert not list(folder.rglob("*.partial"))


def test_the_time_is_kept(done: tuple[Path, Reproduction]) -> None:
    plan = done[1].plan
    assert plan["total"] <= 0.7 * 60 * TABLE.minutes or plan["setting"]["epochs"] == 1
    assert plan["total"] == pytest.approx(2 * sum(plan["seconds"].values()))


def test_again_nothing_is_trained(done: tuple[Path, Reproduction]) -> None:
    folder, before = done
    files = {path: path.read_bytes() for path in folder.glob("*/*")}
    again = reproduce(replace(TABLE, minutes=99), folder)
    assert again.entries == before.entries and again.plan == before.plan
    assert {path: path.read_bytes() for path in folder.glob("*/*")} == files


def test_interrupted_it_goes_on_bit_for_bit(done: tuple[Path, Reproduction], tmp_path: Path) -> None:
    folder = planned(done, tmp_path / "stopped")
    request = replace(TABLE, minutes=99)
    setting = done[1].plan["setting"]
    steps = setting["epochs"] * (8 if setting["images"] else 23)
    message = r"SIGTERM: small\.dgl_conv4, seed 1 was stopped; 1 of 2 runs in .* Give the same command again: finished"
    with pytest.raises(RunsInterrupted, match=message):
        reproduce(request, folder, Stopping(steps + 3))
    assert not (folder / RUNS[1] / "metrics.jsonl").exists()
    kept = (folder / RUNS[0] / "checkpoint.safetensors").stat().st_mtime_ns
    again = reproduce(request, folder)
    assert (folder / RUNS[0] / "checkpoint.safetensors").stat().st_mtime_ns == kept
    for name in RUNS:
        assert_same_run(done[0] / name, folder / name)
    assert [entry.ours for entry in again.entries] == [entry.ours for entry in done[1].entries]


def test_rows_that_the_time_does_not_reach_say_so(done: tuple[Path, Reproduction], tmp_path: Path) -> None:
    folder = planned(done, tmp_path / "late")
    found = reproduce(replace(TABLE, minutes=1e-6), folder)
    assert {entry.reason for entry in found.entries} == {
        "not reached in 1e-06 minutes; the same command goes on with it"
    }
    assert "not reached in" in (folder / "reproduction.md").read_text()
    assert not (folder / RUNS[0]).exists()


def test_another_request_is_refused(done: tuple[Path, Reproduction]) -> None:
    for request, message in (
        (
            replace(TABLE, seeds=(0,)),
            r"asked for otherwise \(before -> now\):\n  seeds: \[0, 1\] -> \[0\]\nGive the same",
        ),
        (replace(TABLE, numbers=(4,)), r"rows: \[1, 2, 3, 4\] -> \[4\]"),
        (replace(TABLE, budget="paper"), r"budget: 'short' -> 'paper'\n  data: 'digits' -> not there"),
        (replace(TABLE, table="dgl:sequential"), r"table: 'dgl:parallel' -> 'dgl:sequential'"),
    ):
        with pytest.raises(LocalgradError, match=message):
            reproduce(request, done[0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"reproduction\.json cannot be read as JSON"),
        ("[]", r"expected the kind 'localgrad reproduction 1'\. Give another folder"),
        ('{"kind": "localgrad comparison 1"}', r"expected the kind 'localgrad reproduction 1'"),
    ],
)
def test_damaged_documents_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "reproduction.json").write_text(text)
    with pytest.raises(LocalgradError, match=message):
        reproduce(TABLE, tmp_path)
    assert (tmp_path / "reproduction.json").read_text() == text


def test_damaged_plans_and_rows_are_refused(done: tuple[Path, Reproduction], tmp_path: Path) -> None:
    for change, message in (
        ({"plan": {"setting": {}}}, r"reproduction\.json: the plan cannot be read \(TypeError: "),
        ({"rows": [{"ours": {}}]}, r"the rows of reproduction\.json cannot be read \(KeyError: 'mean'\)"),
    ):
        (tmp_path / "reproduction.json").write_text(json.dumps(document(done[0]) | change))
        with pytest.raises(LocalgradError, match=message):
            reproduce(TABLE, tmp_path)


def test_a_folder_whose_run_is_another_is_refused(done: tuple[Path, Reproduction], tmp_path: Path) -> None:
    folder = planned(done, tmp_path / "other")
    shutil.copytree(done[0] / RUNS[1], folder / RUNS[0])
    with pytest.raises(LocalgradError, match=r"was made with other settings(.|\n)*seed: 1 -> 0"):
        reproduce(TABLE, folder)


def test_what_data_is_missing_is_said_for_all_rows_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(RunError) as refused:
        reproduce(replace(TABLE, budget="paper", data_root=tmp_path / "none"), tmp_path / "out")
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].startswith("rows 1-4: cifar10: no complete set of files under root=")
    assert not (tmp_path / "out").exists()


def test_a_table_of_tests_on_other_data_in_the_short_budget_says_why_it_has_no_figures(tmp_path: Path) -> None:
    request = Request("mlaan:6", "short", (1, 2, 3, 4, 5, 6), (0,), minutes=1)
    for _ in range(2):  # the same words again
        found = reproduce(request, tmp_path / "table")
        assert {(entry.ours, entry.reason) for entry in found.entries} == {
            (None, "not in the short budget: a test on stl10 needs the paper's images")
        }
        assert not found.warning and [path.name for path in (tmp_path / "table").iterdir() if path.is_dir()] == []
    text = (tmp_path / "table" / "reproduction.md").read_text()
    assert text.count("a test on stl10 needs the paper's images |") == 6


def test_a_test_on_other_data_is_trained_then_taken_from_the_runs_folder(tmp_path: Path) -> None:
    # What the paper's budget does, with runs that train in a second in place of the recipe's.
    figures = figures_of(find_table("mlaan:6")[1])[:1]
    request = Request("mlaan:6", "paper", (1,), (0,))
    run = small_run("cifar10.backprop_resnet32", {}, SmallSetting("digits", 2, 200, 1), 0, None)
    trainings = (Training("cifar10.backprop_resnet32", (run,), (1,)),)

    def again() -> Entry:
        placed = place({one.name: one.runs for one in trainings}, tmp_path, "test")
        load, start, table = (0.0, 0.0, 0.0), perf_counter(), SmallTable((), {}, {})
        state = State(
            "mlaan:6", request, tmp_path, figures, trainings, placed, None, table, Progress(), None, load, start
        )
        state.restore(read_saved(tmp_path))
        state.count()
        state.train(Silent())
        state.time(Silent())
        return state.save().entries[0]

    entry = again()
    folder = tmp_path / "cifar10.backprop_resnet32-seed0"
    assert entry.ours is None and entry.folders == (folder.name,)
    command = f"`localgrad evaluate {folder} --data stl10`, then the same command again"
    assert entry.reason == f"trained, but there is no transfer-stl10.json: {command}"
    written = {"kind": "localgrad transfer 1", "data": "stl10", "logits": "all", "top1": 34.5}
    (folder / "transfer-stl10.json").write_text(json.dumps(written))
    entry = again()
    assert entry.ours is not None and entry.ours.values == (34.5,) and entry.gap == pytest.approx(34.5 - 35.98)
    assert entry.ours.kind == "top-1 on the test images of stl10, last epoch"
    # Another question was asked of the run since: its figure is not the row's.
    (folder / "transfer-stl10.json").write_text(json.dumps({**written, "logits": "mapped"}))
    entry = again()
    assert entry.ours is None
    assert entry.reason == f"trained, but transfer-stl10.json: expected logits 'all', got 'mapped': {command}"


def test_every_verb_can_make_the_runs_again(done: tuple[Path, Reproduction], tmp_path: Path) -> None:
    from localgrad.cli.options import run_from_origin
    from localgrad.train.record import read_run

    folder = done[0] / RUNS[0]
    run = run_from_origin(read_run(folder)["origin"], folder, {})
    result = train(run, resume=True)
    assert result.finished
    write_report([done[0] / name for name in RUNS], tmp_path / "page.html")
    assert "<svg" in (tmp_path / "page.html").read_text()
