"""``plan`` on small recipes: what it prints, the file it writes, and what it refuses."""

from pathlib import Path

import pytest

from localgrad.planning import parse_link, read_plan
from localgrad.recipes import digits

from .conftest import Localgrad

SMALL = ("--layers", 8, "--batch-size", 16)
OWN_RECIPE = '''"""A recipe with a parameter that `plan` has too."""

from localgrad import Run


def mine(memory: int = 3) -> Run:
    """Never called."""
    raise AssertionError
'''


def flat(text: str) -> str:
    return " ".join(text.split())


def test_a_plan_is_printed_and_written(localgrad: Localgrad, tmp_path: Path) -> None:
    status, printed = localgrad(
        "plan", "digits.dgl", *SMALL, "--ranks", 2, "--links", "1Gbit,20ms", "--devices", "fast:1,slow:1",
        "--microbatches", 4, "--wire", "int8", "--runtime", "distributed", "-o", "plan.json",
    )  # fmt: skip
    assert status == 0, printed
    assert "plan of digits.dgl --layers 8 --batch-size 16: resnet8, DGL, batch 16, on 2 ranks" in printed
    assert "links: 1 Gbit/s, 20 ms, int8; devices: 1 of speed 1, 1 of speed 0.5" in printed
    assert "ideal 1F1B pipeline, 2 stages, 4 micro-batches" in printed
    assert "(K-1)/m = 0.250" in flat(printed)
    assert "note: fast is speed 1, slow is speed 0.5: assumed. Say it as fast=SPEED:1." in printed
    assert printed.splitlines()[-1] == (
        "plan.json: localgrad train digits.dgl --layers 8 --batch-size 16 --runtime distributed --plan plan.json"
    )
    plan = read_plan(tmp_path / "plan.json")
    assert (plan.recipe, plan.batch_size, plan.wire) == ("digits.dgl --layers 8 --batch-size 16", 16, "int8")
    assert plan.link == parse_link("1Gbit,20ms")
    assert sorted(plan.speeds) == [0.5, 1.0]
    units = digits.dgl(layers=8).network().unit_list()
    assert [cost.name for cost in plan.costs] == [unit.name for unit in units]
    assert plan.placement.stages == 2


def test_measuring(localgrad: Localgrad, tmp_path: Path) -> None:
    status, printed = localgrad("plan", "digits.dgl", *SMALL, "--ranks", 2, "--measure", "-o", "plan.json")
    assert status == 0, printed
    assert "seconds: medians of steps measured on this machine, one thread" in printed
    assert "note: no --links given: processes of one machine are assumed." in printed
    plan = read_plan(tmp_path / "plan.json")
    assert plan.measured and all(cost.seconds > 0 for cost in plan.costs)


def test_what_fits_one_device(localgrad: Localgrad) -> None:
    status, printed = localgrad(
        "plan", "digits.dgl", "--layers", 14, "--batch-size", 64, "--memory", "4.5MiB", "--recompute", "false",
        "--seed", 3,
    )  # fmt: skip
    assert status == 0, printed
    lines = printed.splitlines()
    assert lines[0] == "digits.dgl: resnet14, DGL, batch 64, float32"
    assert lines[1].split() == ["modules", "depth", "recompute", "units", "live", "memory", "of", "backprop"]
    assert lines[2].split()[:4] == ["1", "-", "no", "1"] and lines[2].endswith("1.000  too large")
    fits = next(line for line in lines if line.startswith("fits 4.50 MiB: modules="))
    modules = fits.partition("modules=")[2].partition(",")[0]
    assert int(modules) > 1 and "recomputation is not needed" in fits
    assert "time of a step: not measured; --measure times it here" in lines
    assert lines[-1].startswith(f"localgrad train digits.dgl --layers 14 --batch-size 64 --seed 3 --modules {modules}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--memory", "1kB"), "memory: nothing fits 1000.00 B. The smallest found takes"),
        (("--memory", "much"), "memory: expected a number of bytes such as 4GiB or 500MB, got 'much'."),
        (("--memory", "1GB", "--modules", 2), "--modules is what --memory finds: leave it out."),
        (("--memory", "1GB", "--links", "1Gbit"), "--links is for a plan over processes: give --ranks as well."),
        (("--memory", "1GB", "--accumulate", 2), "accumulate=2 keeps the gradients of all units"),
        (("--memory", "1GB", "--runtime", "queued"), "without --ranks the plan is for one process, runtime sequential"),
    ],
)
def test_what_cannot_be_fitted(refused, words, said: str) -> None:
    assert said in refused("plan", "digits.backprop" if words[1] == "1kB" else "digits.dgl", "--layers", 8, *words)


def test_a_run_that_would_be_refused(localgrad: Localgrad) -> None:
    status, printed = localgrad("plan", "digits.dgl", *SMALL, "--ranks", 1, "--accumulate", 2)
    assert status == 0, printed
    assert "note: `localgrad train` will refuse this: runtime distributed: accumulate must be 1, got 2" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give --ranks N for a plan over processes, or --memory 4GiB for what fits one device."),
        (("--ranks", 9), "9 ranks with 1 replica of every stage are 9 stages, but there are only 4 units"),
        (("--ranks", 2, "--memory", "1kB"), "nothing fits a memory limit of 1000.00 B per rank: unit"),
        (("--ranks", 2, "--memory", "much"), "memory: expected a number of bytes such as 4GiB or 500MB, got 'much'."),
        (("--ranks", 2, "--links", "fast"), "links: expected a bandwidth such as 1Gbit or 125MB"),
        (("--ranks", 2, "--devices", "quick:2"), "devices: the speed of 'quick' is not known"),
        (("--ranks", 2, "--devices", "fast:3"), "plan: 2 ranks need as many devices, got 3: 3 fast."),
        (("--ranks", 2, "--balance", "time"), "--balance time needs the units' seconds: give --measure as well."),
        (("--ranks", 2, "--gmacs", 0), "--gmacs must be above 0, got 0.0."),
        (("--ranks", 2, "--microbatches", 0), "micro-batches must be a whole number of at least 1, got 0."),
        (("--ranks", 2, "--hosts", "[0,1,1,1]"), "localgrad plan: --hosts says what a plan has to find: leave it out."),
        (("--ranks", 2, "--runtime", "queued"), "a plan is for --runtime distributed, got queued."),
        (("--ranks", 3, "--replicas", 2), "plan: 3 ranks cannot be shared by stages of 2 replicas."),
        (("--ranks", 2, "--rank", 3), "option --rank is unknown. Did you mean --ranks"),
        (("--ranks", "many"), "--ranks: expected a whole number, got 'many'."),
    ],
)
def test_errors(refused, words, said: str) -> None:
    assert said in refused("plan", "digits.dgl", *SMALL, *words)


def test_no_recipe_and_help(localgrad: Localgrad, refused, tmp_path: Path) -> None:
    status, printed = localgrad("plan")
    assert status == 2 and printed.startswith("usage: localgrad plan RECIPE --ranks N")
    assert localgrad("plan", "--help")[0] == 0
    status, printed = localgrad("plan", "digits.dgl", "--help")
    assert status == 0 and "--devices DEVICES" in printed and "--modules MODULES" in printed
    (tmp_path / "own.py").write_text(OWN_RECIPE)
    assert refused("plan", "own.py:mine", "--ranks", 2) == (
        "recipe own.py:mine: its parameters memory are options of `localgrad plan` as well. Rename them."
    )
