"""Damaged and half-written folders: what is whole is on the page, and the page says what is missing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from localgrad.report import write_report
from localgrad.report.curves import over_depth, per_epoch
from localgrad.report.groups import make_groups
from localgrad.report.read import read_path, read_run

from .test_page import told


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_half_written_row(folder: Path) -> None:
    run = folder / "dgl-seed0"
    lines = (run / "metrics.jsonl").read_bytes().split(b"\n")
    (run / "metrics.jsonl").write_bytes(lines[0] + b"\n" + lines[1][:40])
    page = told(folder)
    assert "dgl-seed0: metrics.jsonl: line 2 cannot be read; left out" in page.text
    assert "dgl-seed0: not finished: 1 of 2 epochs" in page.text
    assert "1/2" in page.text and page.text.count("2/2") == 3


def test_rubbish_among_rows(folder: Path) -> None:
    path = folder / "dgl-seed0" / "metrics.jsonl"
    path.write_bytes(
        b"\xff\xfe\n[1]\n" + b"[" * 100_000 + b"\n" + path.read_bytes() + b'{"kind": "epoch", "epoch": 3}\n'
    )
    record = read_run(path.parent)
    assert [epoch.number for epoch in record.epochs] == [1, 2] and record.finished
    assert record.problems == (
        "metrics.jsonl: lines 1, 2, 3 cannot be read; left out",
        "metrics.jsonl: a row of epoch 3 has no test accuracy; left out",
    )


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"facts": 3}', "\0"])
def test_damaged_run_json(folder: Path, text: str) -> None:
    (folder / "bp-seed0" / "run.json").write_text(text)
    page = told(folder)
    assert "bp-seed0: run.json" in page.text and "2/?" in page.text


def test_missing_files(folder: Path) -> None:
    (folder / "bp-seed0" / "run.json").unlink()
    (folder / "bp-seed1" / "metrics.jsonl").unlink()
    shutil.rmtree(folder / "dgl-seed1")
    page = told(folder)
    for words in (
        "bp-seed0: run.json cannot be read: No such file",
        "bp-seed1: metrics.jsonl cannot be read: No such file",
        "compared: dgl-seed1: the run’s folder is missing".replace("’", "'"),
    ):
        assert words in page.text


def test_only_run_json(folder: Path) -> None:
    run = folder / "bp-seed0"
    (run / "metrics.jsonl").unlink()
    page = told(run)
    assert "Learning curves" not in page.text and "0/2" in page.text and "not finished: 0 of 2 epochs" in page.text


@pytest.mark.parametrize("text", [None, "{", '{"format": "other", "rows": []}'])
def test_comparison_without_its_table(folder: Path, text: str | None) -> None:
    path = folder / "comparison.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    page = told(folder)
    assert "compared: comparison.json" in page.text
    assert page.text.count("2/2") == 4


def test_incomplete_row_of_a_comparison(folder: Path) -> None:
    edit(folder / "comparison.json", lambda document: document["rows"][0].pop("live_bytes"))
    page = told(folder)
    assert "comparison.json: row 0 is incomplete (KeyError: 'live_bytes'); left out" in page.text
    assert "1/4 blocks" in page.text


def test_rows_name_only_folders_below(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "bp-seed0", tmp_path / "outside")
    for name in ("../outside", str(tmp_path / "outside"), "..", ".", ""):
        edit(
            folder / "comparison.json", lambda document, name=name: document["rows"][0]["scores"][0].update(folder=name)
        )
        page = told(folder)
        assert page.text.count("2/2") == 3


def test_numbers_that_are_none(folder: Path) -> None:
    path = folder / "dgl-seed0" / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["train"] = {"0": {"ce": 1.0}, "1": {"ce": float("nan")}}
    rows[1]["test"] |= {"top5": "many", "units": {"0": True, "x": 1.0, "1": 50}}
    rows[1]["seconds"] = 10**400
    path.write_text("\n".join(map(json.dumps, rows)))
    first, second = read_run(path.parent).epochs
    assert first.loss is None and read_run(path.parent).problems == (
        "epoch 1: the training loss is not a finite number",
    )
    assert second.top5 is None and second.seconds is None and second.units == {1: 50.0}
    write_report([path.parent], folder / "r.html")


def test_best_epoch_of_an_unfinished_run_is_chosen_on_validation(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    rows = [
        {"kind": "epoch", "epoch": epoch, "test": {"top1": test}, "val": {"top1": val}}
        for epoch, test, val in ((1, 50.0, 80.0), (2, 90.0, 70.0))
    ]
    (run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert read_run(run).best == (1, 50.0)


def test_means_are_over_epochs_that_all_seeds_have(folder: Path) -> None:
    path = folder / "dgl-seed1" / "metrics.jsonl"
    path.write_text(path.read_text().splitlines()[0])
    groups = make_groups([read_path(folder)])
    bp, dgl = per_epoch(groups, lambda epoch: epoch.top1)
    assert list(bp.mean) == [1, 2] and list(dgl.mean) == [1] and [list(seed) for seed in dgl.seeds] == [[1, 2], [1]]
    bp, dgl = over_depth(groups)
    assert list(bp.mean) == [4] and list(dgl.mean) == [1, 2, 3, 4] and len(dgl.seeds) == 1


def test_depth_without_spans_counts_units(folder: Path) -> None:
    (curve,) = over_depth(make_groups([read_run(folder / "dgl-seed0")]))
    assert list(curve.mean) == [1, 2, 3, 4]


def test_epochs_of_units_are_not_compared_with_those_asked_for(folder: Path) -> None:
    """A greedy run has as many rows for every unit, a queued one more."""
    assert read_run(folder / "dgl-seed0").planned == 2
    edit(folder / "dgl-seed0" / "run.json", lambda run: run["facts"].update(runtime={"kind": "GreedySpec"}))
    assert read_run(folder / "dgl-seed0").planned is None
