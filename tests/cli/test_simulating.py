"""``localgrad simulate`` on recipes and plans."""

from collections.abc import Callable
from pathlib import Path

import pytest

from localgrad.planning.plan import Link
from localgrad.planning.plan_file import write_plan
from tests.cli.conftest import Localgrad
from tests.planning.simulated import chain


@pytest.fixture
def plan(localgrad: Localgrad, tmp_path: Path) -> str:
    """A plan's file in the command's folder."""
    write_plan(chain([1.0, 2.0], link=Link(1e9, 0.001)), tmp_path / "plan.json")
    return "plan.json"


def test_a_recipe_is_planned_and_simulated(localgrad: Localgrad) -> None:
    words = ("digits.dgl", "--layers", 8, "--modules", 4, "--ranks", 8, "--replicas", 2, "--links", "1Gbit,20ms")
    status, printed = localgrad("simulate", *words, "--batches", 50, "--stragglers", "0.25x2", "--microbatches", 2)
    assert status == 0, printed
    flat = " ".join(printed.split())
    assert "50 mini-batches on 8 nodes: 4 stages, each of 2 replicas" in flat
    assert "not measured, proportional to MACs at 25e9 per second, an assumption; --measure times them" in flat
    assert "links 1 Gbit/s, latency 20 ms; 2 of 8 nodes take 2 times as long" in flat
    assert "1F1B, 2 micro-batches" in flat and "data parallel" in flat
    assert "each replica sends" in flat
    assert list(Path.cwd().iterdir()) == [Path.cwd() / "exp.py"]


def test_units_are_timed_with_measure(localgrad: Localgrad) -> None:
    status, printed = localgrad("simulate", "exp.py:tiny", "--ranks", 2, "--measure", "--batches", 5, "--alone")
    assert status == 0, printed
    assert "unit times: measured" in printed
    assert "1F1B" not in printed


def test_a_plan_is_simulated_under_other_conditions(localgrad: Localgrad, plan: str) -> None:
    words = ("--batches", 100, "--jitter", "0.1", "--losses", "1min", "--restart", "5s", "--checkpoint-every", 10)
    status, printed = localgrad("simulate", plan, *words, "--links", "1Mbit,1ms", "--checkpoint-time", "1s")
    assert status == 0, printed
    assert "simulation of exp.py:tiny: tiny, DGL, batch 8, 100 mini-batches on 2 nodes" in printed
    assert "links 1 Mbit/s, latency 1 ms" in printed
    assert "losses:" in printed and "done again" in printed
    again = localgrad("simulate", plan, *words, "--links", "1Mbit,1ms", "--checkpoint-time", "1s")
    assert again == (status, printed)
    other = localgrad("simulate", plan, *words, "--simulation-seed", 1)
    assert other[0] == 0 and other[1] != printed


def test_help_shows_recipe_plan_and_simulation(localgrad: Localgrad, plan: str) -> None:
    status, printed = localgrad("simulate", "exp.py:tiny", "--help")
    assert status == 0
    assert all(name in printed for name in ("--ranks", "--replicas", "--stragglers", "--batch-size", "--measure"))
    status, printed = localgrad("simulate", plan, "--help")
    assert status == 0
    assert "--stragglers" in printed and "--ranks" not in printed
    status, printed = localgrad("simulate", "--help")
    assert status == 0
    assert "localgrad simulate PLAN.json" in printed
    assert "simulate RECIPE|PLAN.json" in localgrad("--help")[1]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("exp.py:tiny",), "localgrad simulate exp.py:tiny: --ranks must be given."),
        (("exp.py:tiny", "--ranks", 1000), "there are only"),
        (("exp.py:tiny", "--ranks", 2, "--hosts", "[0,1]"), "--hosts is not taken here: leave it out."),
        (
            ("exp.py:tiny", "--ranks", 2, "--runtime", "greedy"),
            "simulated is --runtime distributed, got greedy: leave it out.",
        ),
        (("exp.py:tiny", "--ranks", 2, "--straglers", "0.1x2"), "Did you mean --stragglers"),
        (("exp.py:tiny", "--ranks", 2, "--stragglers", "often"), "stragglers: expected SHARExFACTOR"),
        (("exp.py:tiny", "--ranks", 2, "--losses", "soon"), "losses: expected a time such as 24h"),
        (("exp.py:tiny", "--ranks", 2, "--links", "fast"), "links: expected a bandwidth"),
        (("exp.py:tiny", "--ranks", 2, "--batches", 0), "batches must be a whole number of at least 1, got 0"),
        (("exp.py:tiny", "--ranks", 2, "--jitter", "much"), "--jitter: expected a number, got 'much'"),
        (("plan.json", "--ranks", 2), "--ranks: plan.json says that already; leave it out."),
        (("plan.json", "--losses", "1s", "--batches", 900), "gets nowhere"),
        (("plan.json", "--microbatches", 0), "microbatches must be a whole number of at least 1"),
        (("none.json",), "none.json cannot be read"),
        (("--ranks", 2), "give a recipe first"),
    ],
)
def test_what_cannot_be_simulated(refused: Callable[..., str], plan: str, words: tuple[object, ...], told: str) -> None:
    assert told in refused("simulate", *words)


def test_options_of_a_recipe_that_are_taken(localgrad: Localgrad, tmp_path: Path) -> None:
    source = (tmp_path / "exp.py").read_text()
    (tmp_path / "own.py").write_text(source + "\n\ndef noisy(jitter: float = 0.0):\n    return tiny()\n")
    status, printed = localgrad("simulate", "own.py:noisy", "--ranks", 2)
    assert status == 2
    assert "recipe own.py:noisy: its parameters jitter are options of `localgrad simulate` as well." in printed
    assert "Write a plan with `localgrad plan own.py:noisy -o FILE.json`" in printed
