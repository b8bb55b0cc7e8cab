"""``compare`` and ``report``: several recipes and seeds, one table, one page; stopped and continued."""

import json
from pathlib import Path

from tests.cli.conftest import Localgrad
from tests.train.conftest import rows
from tests.train.processes import Launcher

WORDS = ("compare", "digits.backprop", "digits.dgl", "--layers", 8, "--epochs", 1, "--seeds", "0,1", "--out", "all")


def test_as_the_demo_does(commands: Launcher, localgrad: Localgrad) -> None:
    printed = commands.done(*WORDS, "--report", "page.html")
    assert "digits.dgl" in printed
    assert printed.splitlines()[-1] == "report: page.html"
    names = [f"digits.{method}-seed{seed}" for method in ("backprop", "dgl") for seed in (0, 1)]
    assert sorted(path.name for path in (commands.folder / "all").iterdir()) == ["comparison.json", *names]
    found = json.loads((commands.folder / "all" / "comparison.json").read_text())
    assert [row["name"] for row in found["rows"]] == ["digits.backprop", "digits.dgl"]
    assert found["rows"][1]["scores"][1]["top1"] == rows(commands.folder / "all" / names[3])[0]["test"]["top1"]
    page = (commands.folder / "page.html").read_text()
    assert "digits.dgl" in page and "<svg" in page
    # Again: nothing is trained twice.
    times = {path: path.stat().st_mtime_ns for path in (commands.folder / "all").rglob("*.safetensors")}
    assert localgrad(*WORDS)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in times} == times
    assert localgrad("report", "all", "-o", "again.html")[0] == 0
    assert "digits.dgl" in (commands.folder / "again.html").read_text()


def test_stopped_and_continued(commands: Launcher) -> None:
    words = ("compare", "exp.py:tiny", "exp.py:untyped", "--epochs", 2, "--seeds", "0,1", "--out", "all")
    # Seven files are synced in the first run, the ninth is the first row of the second.
    status, printed = commands.run(*words, env={"SIGNAL_AT_SYNC": "9:SIGINT"})
    assert status == 130
    assert "exp.py:tiny, seed 1 was stopped; 1 of 4 runs in all are finished. Give the same command again" in printed
    commands.done(*words)
    for folder in Path(commands.folder / "all").iterdir():
        if folder.is_dir():
            assert [row.get("epoch") for row in rows(folder)] == [1, 2, None]


def test_a_signal_as_a_run_ends_stops_the_comparison(commands: Launcher) -> None:
    words = ("compare", "exp.py:tiny", "--epochs", 2, "--seeds", "0,1", "--out", "all")
    # Synced: run.json, two rows, two checkpoints, the last row.
    status, printed = commands.run(*words, env={"SIGNAL_AT_SYNC": "6:SIGTERM"})
    assert status == 143, printed
    assert not list((commands.folder / "all").glob("*seed1"))
    commands.done(*words)
