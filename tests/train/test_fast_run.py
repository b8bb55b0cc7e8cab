"""Runs with compiled units, graphs and streams: what they write, and what is refused before any work."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad.backbones import cifar_resnet
from localgrad.cli.options import run_from_words
from localgrad.recipes import digits
from localgrad.train import GreedySpec, Run, train
from localgrad.train.setup import make_loop
from tests.train.conftest import Stopping, rows, tensors


def run(out: Path | None = None, **changes: Any) -> Run:
    small = cifar_resnet(8, 10, width=0.25, image=(1, 8, 8))
    plain = replace(digits.dgl(layers=8, head="0c1f"), backbone=small, epochs=1, batch_size=512)
    return replace(replace(plain, device="cpu", out=out), **changes)


def test_a_compiled_run_is_the_eager_one_also_when_resumed(tmp_path: Path) -> None:
    """With a backend that runs the traced operations as they are; the last batch of an epoch is a smaller one."""
    train(run(tmp_path / "eager"))
    compiled = run(tmp_path / "compiled", compile="eager")
    assert train(compiled, reporter=Stopping(1)).interrupted == "SIGTERM"
    assert train(compiled, resume=True).finished
    here, there = (tensors(tmp_path / name) for name in ("eager", "compiled"))
    assert all(torch.equal(value, there[name]) for name, value in here.items())
    assert rows(tmp_path / "eager")[0]["train"] == rows(tmp_path / "compiled")[0]["train"]


def test_settings_of_speed_in_the_facts() -> None:
    """Compiled steps are equal to rounding only, so a run stays compiled; the others change nothing."""
    assert "compile" not in run().facts()
    assert run(compile=True).facts()["compile"] is True
    assert run().facts() == run(graph=True, streams=4).facts()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"compile": "egger"}, ["Run: compile='egger' is no backend of torch.compile. Did you mean eager? "]),
        ({"compile": 2}, ["Run: compile must be True, False or the name of a torch.compile backend, got 2."]),
        ({"compile": True, "workers": 2}, ["Run: workers=2 step units on CPU threads, and torch.compile is not "]),
        ({"graph": True}, ["graph=True is for a GPU, and the run is on the CPU: leave it out."]),
        ({"streams": 2}, ["streams=2 is for a GPU, and the run is on the CPU: leave it out."]),
        ({"streams": 0}, ["streams must be at least 1, got 0."]),
        ({"graph": "yes"}, ["graph must be True or False, got 'yes'."]),
        ({"compile": True, "runtime": GreedySpec()}, ["compile: only runtime='sequential' has that. Leave it out"]),
    ],
)
def test_what_cannot_be(changes: dict[str, Any], expected: list[str]) -> None:
    problems = list(run(**changes).problems())
    assert len(problems) == len(expected)
    assert all(problem.startswith(text) for problem, text in zip(problems, expected, strict=True))


@pytest.mark.parametrize(("word", "value"), [("true", True), ("false", False), ("aot_eager", "aot_eager")])
def test_words(word: str, value: object) -> None:
    made = run_from_words("train", "digits.dgl", ["--compile", word, "--graph", "true", "--streams", "2"])
    assert (made.compile, made.graph, made.streams) == (value, True, 2)


def test_the_runtime_gets_them() -> None:
    loop = make_loop(run(compile="eager"), torch.device("cpu"))
    assert loop.compiler is not None
    assert loop.compiler.backend == "eager"
