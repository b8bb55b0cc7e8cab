"""compare: real small trainings, kept, continued and measured; its table; its errors."""

import io
import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import pytest
from rich.console import Console

from localgrad.compare import Comparison, RunsInterrupted, compare, table
from localgrad.data import Views
from localgrad.errors import LocalgradError, RunError
from localgrad.methods import DGSSL
from localgrad.recipes import digits
from localgrad.train import Run, train
from localgrad.train.record import read_rows
from tests.distributed.runs import tiny


def runs_of(epochs: int = 1, seeds: tuple[int, ...] = (0, 1)) -> dict[str, list[Run]]:
    return {
        "bp": [digits.backprop(layers=8, epochs=epochs, seed=seed) for seed in seeds],
        "x.py:my/dgl": [digits.dgl(layers=8, epochs=epochs, seed=seed) for seed in seeds],
    }


class Told:
    """A reporter that remembers lines, and sends itself a signal at a step."""

    def __init__(self, stop_at: str = "") -> None:
        self.lines: list[str] = []
        self.stop_at = stop_at

    def step(self, done: int) -> None:
        if self.stop_at and self.stop_at in self.lines[-1] and done == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    def line(self, text: str) -> None:
        self.lines.append(text)

    @contextmanager
    def epoch(self, title: str, steps: int) -> Iterator[None]:
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Comparison]:
    folder = tmp_path_factory.mktemp("compare")
    return folder, compare(runs_of(), folder, repeats=3)


def printed(comparison: Comparison, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(comparison))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_rows_say_what_the_runs_ended_with(done: tuple[Path, Comparison]) -> None:
    folder, comparison = done
    for row, names in zip(
        comparison.rows, (("bp-seed0", "bp-seed1"), ("x.py_my_dgl-seed0", "x.py_my_dgl-seed1")), strict=True
    ):
        assert tuple(score.folder for score in row.scores) == names
        ends = [json.loads((folder / name / "metrics.jsonl").read_text().splitlines()[-1]) for name in names]
        top1 = [end["last"]["test"]["top1"] for end in ends]
        assert row.top1.mean == pytest.approx(mean(top1)) and row.top1.std == pytest.approx(stdev(top1))
        assert [score.best_top1 for score in row.scores] == [end["best"]["test"]["top1"] for end in ends]


def test_ensembles_stand_below_the_table(done: tuple[Path, Comparison]) -> None:
    folder, comparison = done
    bp, dgl = comparison.rows
    rows = [json.loads((folder / score.folder / "metrics.jsonl").read_text().splitlines()[-1]) for score in dgl.scores]
    assert bp.ensembles == {}
    for mode in ("layerwise", "last"):
        assert dgl.ensembles[mode].mean == pytest.approx(mean(row["last"]["test"]["ensemble"][mode] for row in rows))
    text = " ".join(printed(comparison, 200).split())
    assert f"layerwise {dgl.ensembles['layerwise']}, last {dgl.ensembles['last']}" in text


def test_reach_memory_time_and_macs(done: tuple[Path, Comparison]) -> None:
    bp, dgl = done[1].rows
    assert (len(bp.spans), bp.reach_units, bp.reach_blocks, bp.blocks) == (1, 1, 4, 4)
    assert (len(dgl.spans), dgl.reach_units, dgl.reach_blocks, dgl.blocks) == (4, 1, 1, 4)
    assert bp.audit_problems == dgl.audit_problems == ()
    assert bp.live_ratio == bp.step_ratio == 1 and dgl.live_ratio == dgl.live_bytes / bp.live_bytes
    assert 0 < bp.step_quartiles[0] <= bp.step_seconds <= bp.step_quartiles[1]
    assert dgl.macs_max_node < bp.macs_max_node == bp.macs_inference == dgl.macs_inference < dgl.macs_total


def test_file_holds_rows_and_conditions(done: tuple[Path, Comparison]) -> None:
    document = json.loads((done[0] / "comparison.json").read_text())
    assert document["format"] == "localgrad comparison 1"
    assert [row["name"] for row in document["rows"]] == ["bp", "x.py:my/dgl"]
    assert document["rows"][0]["top1"].keys() == {"mean", "std"} and document["rows"][0]["n"] == 2
    said = document["conditions"]
    assert (said["seeds"], said["n"], said["batch_size"], said["epochs"], said["data"]) == ([0, 1], 2, 256, 1, "digits")
    assert {"torch", "threads", "device", "precision", "command", "step_repeats"} <= said.keys()
    assert not list(done[0].glob("*.partial"))


@pytest.mark.parametrize("width", [80, 100])
def test_table_reads_well(done: tuple[Path, Comparison], width: int) -> None:
    text = printed(done[1], width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width and "…" not in text
    assert "digits, 1 epoch at batch 256, n=2 seeds (0, 1)" in lines[0]
    for row in done[1].rows:
        (line,) = [line for line in lines if line.startswith(row.name + " ")]
        assert str(row.top1) in line and f"({row.reach_blocks}/4)" in line
    assert "top-1: test split, last epoch, mean ± sample standard deviation over n=2 seeds (0, 1)" in " ".join(
        text.split()
    )
    assert "\x1b" not in text


def test_table_shows_names_as_they_are(done: tuple[Path, Comparison]) -> None:
    rows = tuple(replace(row, name=f"[red]{row.name}", audit_problems=("[b]unit 0 leaks",)) for row in done[1].rows)
    text = printed(replace(done[1], rows=rows), 100)
    assert "[red]bp" in text and "[red]bp: audit: [b]unit 0 leaks" in text and "(4/4) !" in text


def test_finished_runs_are_kept(done: tuple[Path, Comparison]) -> None:
    folder, before = done
    files = {path: path.read_bytes() for path in folder.glob("*/*")}
    weights = {path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoint.safetensors")}
    again = compare(runs_of(), folder, repeats=2)
    assert {path: path.read_bytes() for path in folder.glob("*/*")} == files
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*/checkpoint.safetensors")} == weights
    assert [row.scores for row in again.rows] == [row.scores for row in before.rows]


def test_interrupted_comparison_continues(done: tuple[Path, Comparison], tmp_path: Path) -> None:
    message = (
        r"SIGTERM: x\.py:my/dgl, seed 0 was stopped; 2 of 4 runs in .* are finished\. "
        "Give the same command again: finished runs are kept, and this one continues"
    )
    with pytest.raises(RunsInterrupted, match=message) as stopped:
        compare(runs_of(), tmp_path, Told(stop_at="dgl, seed 0"))
    assert stopped.value.signal == "SIGTERM"
    assert not (tmp_path / "comparison.json").exists() and not (tmp_path / "x.py_my_dgl-seed1").exists()
    told = Told()
    comparison = compare(runs_of(), tmp_path, told, repeats=2)
    assert [row.scores for row in comparison.rows] == [row.scores for row in done[1].rows]
    assert told.lines[0] == "[1/4] bp, seed 0"


def test_one_seed_has_no_spread(done: tuple[Path, Comparison], tmp_path: Path) -> None:
    (done[0] / "bp-seed0").rename(tmp_path / "bp-seed0")
    try:
        comparison = compare({"bp": runs_of(seeds=(0,))["bp"]}, tmp_path, repeats=2)
    finally:
        (tmp_path / "bp-seed0").rename(done[0] / "bp-seed0")
    assert comparison.rows[0].top1.std is None
    assert json.loads((tmp_path / "comparison.json").read_text())["rows"][0]["top1"].keys() == {"mean"}
    assert "±" not in printed(comparison, 80) and "one run, no spread: seed 0" in printed(comparison, 80)


def test_error_for_a_folder_with_other_settings(done: tuple[Path, Comparison]) -> None:
    with pytest.raises(LocalgradError, match=r"bp-seed0.*was made with other settings(.|\n)*epochs: 1 -> 2"):
        compare(runs_of(epochs=2), done[0])


def test_error_for_runs_that_cannot_be_compared(tmp_path: Path) -> None:
    bp, other = runs_of()["bp"], digits.dgl(layers=8, epochs=3)
    for runs, message in (
        ({}, "expected at least one name with its Runs, got none"),
        ({"a": [], "b": bp}, "expected at least one Run for every name, got none for a"),
        (
            {"a": [bp[0], replace(bp[1], batch_size=32)]},
            r"differ by their seed only; they differ in batch_size: 256 -> 32",
        ),
        ({"a": bp, "b": bp[:1]}, r"b: expected the seeds of a, \[0, 1\], got \[0\]"),
        ({"a": bp[:1], "b": [other]}, r"b: a has another epochs: 1 -> 3\. Runs that are compared share data, epochs"),
        ({"a": [replace(bp[0], batch_size=0)]}, "a: batch_size must be at least 1, got 0"),
    ):
        with pytest.raises(RunError, match=message):
            compare(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_error_for_names_that_share_a_folder(tmp_path: Path) -> None:
    bp = runs_of()["bp"]
    with pytest.raises(LocalgradError, match=r"'a/b' and 'a:b', seed 0, would both be trained in .*a_b-seed0"):
        compare({"a/b": bp, "a:b": bp}, tmp_path)
    with pytest.raises(LocalgradError, match=r"'a' and 'a', seed 0, would both be trained"):
        compare({"a": [bp[0], bp[0]]}, tmp_path)


def test_accumulated_steps_are_counted_in_parts(tmp_path: Path) -> None:
    whole = digits.backprop(layers=8, epochs=1)
    rows = compare({"whole": [whole], "parts": [replace(whole, accumulate=4)]}, tmp_path, repeats=2).rows
    assert rows[1].live_ratio < 0.8


def contrastive(modules: int, **changes: Any) -> Run:
    """A tiny run without labels."""
    views = Views(scale=(0.5, 1), flip=0, jitter=0, grayscale=0)
    return tiny(DGSSL(hidden=16, out=8), modules, views=views, epochs=2, **changes)


def test_methods_without_labels_are_compared_by_their_frozen_features(tmp_path: Path) -> None:
    runs = {"simclr": [contrastive(1, knn_every=1, linear_every=1)], "local": [contrastive(2, linear_every=1)]}
    comparison = compare(runs, tmp_path, repeats=2)
    for row in comparison.rows:
        unit = str(len(row.spans) - 1)
        found = [line["linear"][unit] for line in read_rows(tmp_path / f"{row.name}-seed1")[:2]]
        (score,) = row.scores
        assert (score.epoch, score.top1, score.best_top1) == (2, found[1], max(found)) and score.ensemble == {}
        assert score.best_epoch == found.index(max(found)) + 1
    assert comparison.conditions["accuracy"] == "linear"
    text = " ".join(printed(comparison, 120).split())
    assert "seed 1, by linear evaluation of frozen features" in text and text.count("linear best") == 1
    assert (
        "top-1: linear evaluation of the frozen final features, no classifier of the network's own, test split" in text
    )
    # A run with labels can be compared by its features, too; SimCLR's is finished and kept.
    mixed = {"simclr": runs["simclr"], "dgl": [tiny()]}
    with pytest.raises(RunError, match=r"simclr: DGSSL learns without labels, .* \(--linear-every N, --knn-every N\)"):
        compare(mixed, tmp_path)
    mixed = {name: [replace(own[0], knn_every=2, linear_every=0)] for name, own in mixed.items()}
    again = compare(mixed, tmp_path, repeats=2)
    ends = [read_rows(tmp_path / f"{name}-seed1")[-1]["last"]["knn"] for name in mixed]
    assert [row.top1.mean for row in again.rows] == [end[max(end)] for end in ends]
    title = " ".join(printed(again, 120).split())
    assert "by kNN of frozen features" in title and "kNN best" in title


def test_a_finished_run_that_nothing_judged_is_refused(tmp_path: Path) -> None:
    train(contrastive(1, out=tmp_path / "a-seed1"))
    told = r"a-seed1 is finished, and was trained without linear_every, so there is nothing to\s+compare"
    with pytest.raises(LocalgradError, match=told):
        compare({"a": [contrastive(1, linear_every=1)]}, tmp_path, repeats=2)
