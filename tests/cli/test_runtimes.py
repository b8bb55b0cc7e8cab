"""``--runtime`` and the options of a queue: what they make of a recipe's Run, and what does not go together."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from localgrad.cli.runtimes import runtime_from
from localgrad.train import GreedySpec, QueuedSpec
from localgrad.train.runtimes import RuntimeSpec
from tests.cli.conftest import Localgrad

OWN = QueuedSpec(buffer=7, slowdown=((0, 2.0),))


@pytest.mark.parametrize(
    ("settings", "recipes", "expected"),
    [
        ({}, "sequential", "sequential"),
        ({}, OWN, OWN),
        ({"runtime": "queued"}, "sequential", QueuedSpec()),
        ({"runtime": "queued"}, OWN, OWN),
        ({"runtime": "greedy"}, OWN, GreedySpec()),
        ({"runtime": "sequential"}, OWN, "sequential"),
        ({"buffer": 3, "lifo_quirk": True}, OWN, QueuedSpec(buffer=3, slowdown=((0, 2.0),), quirk=True)),
        ({"slow_unit": 2, "slowdown": 1.5}, OWN, QueuedSpec(buffer=7, slowdown=((2, 1.5),))),
        (
            {"runtime": "queued", "max_reuse": 2, "buffer_home": "cpu"},
            GreedySpec(),
            QueuedSpec(max_reuse=2, home="cpu"),
        ),
    ],
)
def test_what_the_options_make_of_a_recipes_runtime(
    settings: Mapping[str, Any], recipes: RuntimeSpec, expected: RuntimeSpec
) -> None:
    assert runtime_from(settings, recipes) == expected


def test_a_run_records_its_runtime_and_can_be_evaluated(localgrad: Localgrad, tmp_path: Path) -> None:
    words = ("--runtime", "queued", "--buffer", 2, "--slow-unit", 1, "--slowdown", 2.5, "--epochs", 1)
    status, printed = localgrad("train", "exp.py:tiny", *words, "--out", "a")
    assert status == 0, printed
    assert "epoch 1 (slowest unit 0." in printed
    document = json.loads((tmp_path / "a" / "run.json").read_text())
    assert document["facts"]["runtime"] == {
        "kind": "QueuedSpec",
        "buffer": 2,
        "order": "random",
        "slowdown": [[1, 2.5]],
        "max_reuse": None,
        "quirk": False,
        "home": "device",
    }
    assert document["origin"]["overrides"] == {"runtime": "queued", "buffer": 2, "slow_unit": 1, "slowdown": 2.5}
    status, printed = localgrad("evaluate", "a")
    assert status == 0 and printed.startswith("test top-1 "), printed


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--buffer", 3], "--buffer: only the queued runtime has buffers; give --runtime queued as well."),
        (
            ["--runtime", "greedy", "--max-reuse", 3, "--buffer", 1],
            "--buffer, --max-reuse: only the queued runtime has",
        ),
        (["--runtime", "queued", "--slow-unit", 1], "--slowdown is missing: --slow-unit names a unit and --slowdown"),
        (
            ["--runtime", "queued", "--slowdown", 2],
            "--slow-unit is missing: --slow-unit names a unit and --slowdown its",
        ),
        (["--runtime", "queue"], "--runtime: expected one of sequential, queued, greedy, distributed, got 'queue'."),
        (["--runtime", "queued", "--buffer", "many"], "--buffer: expected a whole number, got 'many'."),
        (
            ["--runtime", "queued", "--buffer", -2],
            "runtime queued: buffer must be a whole number of mini-batches, 0 or",
        ),
        (
            ["--runtime", "queued", "--slow-unit", 9, "--slowdown", 2],
            "runtime queued: slowdown: there are units 0 to 3, got unit 9.",
        ),
        (["--runtime", "greedy", "--update", "fused"], "runtime greedy steps units one at a time, each on whole mini-"),
        (
            ["--runtime", "queued", "--workers", 2, "--device", "cpu"],
            "workers must be 1, got 2. Leave it out, or train",
        ),
    ],
)
def test_what_is_refused(refused: Callable[..., str], words: list[object], text: str) -> None:
    assert text in refused("train", "exp.py:tiny", *words)


def test_help(localgrad: Localgrad) -> None:
    status, printed = localgrad("train", "exp.py:tiny", "--help")
    assert status == 0
    for word in ("--runtime RUNTIME", "one of sequential, queued, greedy", "--buffer BUFFER", "--slow-unit SLOW_UNIT"):
        assert word in printed, printed
