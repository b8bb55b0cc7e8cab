"""A run whose loss is not a number any more: stopped, recorded as valid JSON, its last good checkpoint kept."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from localgrad.errors import LocalgradError
from localgrad.recipes import digits
from localgrad.report import write_report
from localgrad.train import SGD, Constant, MultiStep, Run, train
from localgrad.train.record import MetricsLog, finite
from tests.cli.conftest import localgrad
from tests.train.conftest import header

__all__ = ["localgrad"]


def run(out: Path, lr: float = 1e30) -> Run:
    return replace(digits.dgl(layers=8, epochs=4), optimizer=SGD(lr=lr), schedule=Constant(), batch_size=512, out=out)


def strict(line: str) -> dict[str, object]:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    row = json.loads(line, parse_constant=refuse)
    assert isinstance(row, dict)
    return row


def test_a_diverged_run_is_stopped(tmp_path: Path) -> None:
    text = (
        r"^epoch 1: the training loss of unit 0 and 3 more is not a finite number, training has diverged and was "
        r"stopped\. No checkpoint was written to .*/a\. Try a lower learning rate, a longer warm-up or clip=1 \(--clip "
        r"1\) in another folder; resuming this run would diverge again\.$"
    )
    with pytest.raises(LocalgradError, match=text):
        train(run(tmp_path / "a"))
    (row,) = map(strict, (tmp_path / "a" / "metrics.jsonl").read_text().splitlines())
    assert row["diverged"] == ["0", "1", "2", "3"]
    assert row["train"] == {str(unit): {"ce": None} for unit in range(4)}
    assert not (tmp_path / "a" / "checkpoint.safetensors").exists()
    write_report([tmp_path / "a"], tmp_path / "page.html")
    assert "the training loss is not a finite number" in (tmp_path / "page.html").read_text()


def test_the_checkpoint_before_is_kept(tmp_path: Path) -> None:
    """The rate jumps after the second epoch."""
    jumping = replace(run(tmp_path, 0.01), schedule=MultiStep(milestones=(2,), gamma=1e32))
    for _ in range(2):  # resumed, it diverges again, and its rows are not there twice
        with pytest.raises(LocalgradError, match=r"^epoch 3: .* The checkpoint of epoch 2 is kept in "):
            train(jumping, resume=True)
        rows = list(map(strict, (tmp_path / "metrics.jsonl").read_text().splitlines()))
        assert [("diverged" in row) for row in rows] == [False, False, True]
        assert header(tmp_path)["progress"]["epoch"] == 2


def test_the_command_line_says_so(localgrad: Callable[..., tuple[int, str]]) -> None:
    Path("hot.py").write_text(
        "from dataclasses import replace\nfrom localgrad import SGD\nfrom localgrad.recipes import digits\n\n"
        "def hot(seed: int = 0):\n    return replace(digits.dgl(layers=8, epochs=1), seed=seed, optimizer=SGD(1e30))\n"
    )
    status, printed = localgrad("train", "hot.py:hot", "--out", "a")
    assert status == 2
    assert "error: epoch 1: the training loss of unit 0" in printed


def test_numbers_that_json_does_not_have(tmp_path: Path) -> None:
    row = {"a": [math.nan, 1.5, {"b": -math.inf}], "c": 2, "d": "nan", "e": True, "f": None}
    assert finite(row) == {"a": [None, 1.5, {"b": None}], "c": 2, "d": "nan", "e": True, "f": None}
    MetricsLog(tmp_path).append(row)
    assert strict((tmp_path / "metrics.jsonl").read_text()) == finite(row)
