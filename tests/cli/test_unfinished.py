"""What ``probe``, ``cka`` and ``evaluate`` say of the checkpoint whose figures they are."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from localgrad.cli.options import run_from_origin
from localgrad.report.groups import make_groups
from localgrad.report.read import read_run
from localgrad.report.sections.depth import depth
from localgrad.report.sections.inside import similarity
from localgrad.report.sections.outside import transfer
from localgrad.report.standing import standing_note
from localgrad.train.record import read_run as read_document
from localgrad.train.standing import load_standing
from tests.data.conftest import Publish

from .conftest import Localgrad


def written(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(name).read_text())
    return found


def plain(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture
def stopped(localgrad: Localgrad, monkeypatch: pytest.MonkeyPatch) -> Localgrad:
    """With a greedy run ``a`` of 4 units, 2 epochs each, that was stopped in the first unit's second epoch."""
    monkeypatch.setenv("SIGNAL_AT_STEP", "7:SIGTERM")
    status, text = localgrad("train", "exp.py:tiny", "--epochs", 2, "--runtime", "greedy", "--out", "a")
    assert status == 143, text
    return localgrad


def test_an_interrupted_run(stopped: Localgrad) -> None:
    known = {
        "epoch": 1, "epochs": 8, "finished": False, "seed": 0, "precision": "float32", "batch": 2,
        "untrained": ["layer1.0", "layer2.0", "layer3.0"],
    }  # fmt: skip
    status, text = stopped("probe", "a", "--neighbours", 5)
    where = "after epoch 1 of 8 and 2 steps of the next"
    assert status == 0 and f"Checkpoint: {where}, seed 0, float32." in plain(text)
    untrained = "Units that have not been trained: layer1.0, layer2.0, layer3.0."
    assert f"not finished: {where}; a later probe will differ. {untrained}" in plain(text)
    assert written("a/probe.json")["checkpoint"] == known

    status, text = stopped("evaluate", "a")
    assert status == 0 and text.endswith(f"not finished: {where}; a later evaluation will differ. {untrained}\n")

    status, text = stopped("cka", "a", "a", "--minibatch", 5)
    assert status == 0 and plain(text).count(f"a: not finished: {where}; a later comparison will differ.") == 2
    assert written("a/cka-a.json")["checkpoints"] == [known, known]

    Publish().stl10(Path("stl"), count=12)
    words = ("evaluate", "a", "--data", "stl10", "--data-root", "stl", "--probe", "true", "--neighbours", 3)
    status, text = stopped(*words)
    assert status == 0 and f"not finished: {where}; a later evaluation will differ." in plain(text), text
    found = written("a/transfer-probe-stl10.json")
    assert (found["epoch"], found["finished"], found["checkpoint"]) == (1, False, known)

    record = read_run(Path("a"))
    assert record.sides.probe is not None and record.sides.transfers[0].checkpoint == record.sides.probe.checkpoint
    assert standing_note("probe", record.sides.probe.checkpoint, 1) == (
        "probe of epoch 1 of 8, the run had not finished; not trained then: layer1.0, layer2.0, layer3.0."
    )

    # The run goes on: what lies there is not of its end, and a new probe is.
    assert stopped("train", "--resume", "a")[0] == 0
    record = read_run(Path("a"))
    assert record.last is not None and record.last.number == 8
    section = similarity(make_groups([record]), [])
    assert (
        section is not None
        and section.notes[1:]
        == ("a × a: features of a of epoch 1, the run is at 8; not trained then: layer1.0, layer2.0, layer3.0.",) * 2
    )
    for make, what in ((depth, "a: probe"), (transfer, "a on stl10: figures")):
        section = make(make_groups([record]))
        assert section is not None
        assert section.notes[-1].startswith(f"{what} of epoch 1, the run is at 8; not trained then: layer1.0, ")
    status, text = stopped("probe", "a", "--neighbours", 5)
    assert status == 0 and "Checkpoint: after epoch 8 of 8, seed 0, float32." in text and "not finished" not in text
    assert written("a/probe.json")["checkpoint"] == {
        "epoch": 8, "epochs": 8, "finished": True, "seed": 0, "precision": "float32",
    }  # fmt: skip


def test_a_run_that_diverged(stopped: Localgrad) -> None:
    rows = Path("a/metrics.jsonl")
    rows.write_text(rows.read_text() + '{"kind": "epoch", "epoch": 2, "diverged": ["0"]}\n{"kind": "half')
    words = ("probe", "a", "--neighbours", 5)
    assert "diverged" not in stopped(*words)[1]  # somebody is writing the last row
    rows.write_text(rows.read_text().removesuffix('{"kind": "half'))
    told = "of the next; the run diverged in epoch 2 and was stopped. Units that"
    assert told in plain(stopped(*words)[1])
    assert written("a/probe.json")["checkpoint"]["diverged"] == 2


def test_a_run_without_a_known_number_of_epochs(localgrad: Localgrad) -> None:
    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--runtime", "queued", "--seed", 4, "--out", "q")[0] == 0
    run = run_from_origin(read_document(Path("q"))["origin"], Path("q"), {})
    _, standing = load_standing(run, Path("q"))
    assert standing.epochs is None and standing.finished and standing.seed == 4
    assert re.fullmatch(r"Checkpoint: after epoch \d+, seed 4, float32\.", *standing.lines("probe"))

    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "d")[0] == 0
    run = run_from_origin(read_document(Path("d"))["origin"], Path("d"), {})
    rows = Path("d/metrics.jsonl")
    rows.write_text(rows.read_text() + '{"kind": "epoch", "epoch": 2, "diverged": ["0"]}\n')
    assert load_standing(run, Path("d"))[1].diverged is None  # it says that it has finished
