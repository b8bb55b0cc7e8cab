"""Every method on the digits with a short budget: loss falls, audit holds, a stopped run continues bit for bit."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad import methods
from localgrad.analysis import audit
from localgrad.recipes import digits
from localgrad.spec import Batch
from localgrad.train import GreedySpec, QueuedSpec, Run, train
from localgrad.train.runtimes import RuntimeSpec
from tests.train.conftest import Stopping, assert_same_run, header, rows

RECIPES: dict[str, dict[str, Any]] = {
    "backprop": {},
    "checkpointing": {"segments": 2},
    "dgl": {},
    "auglocal": {"depth": 2},
    "predsim": {},
    "infopro": {},
    "gndgl": {},
    "mlaan": {},
    "dgssl": {},
}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "simclr": ("simclr", {}),
    "dgssl, easy pairs by a teacher": ("dgssl_llm", {"ratio": 0.8, "similarity": "teacher"}),
    "infopro, softmax": ("infopro", {"loss": "softmax"}),
    "gndgl, naive": ("gndgl", {"share_features": False, "diversity": False}),
    "mlaan, leaps alone": ("mlaan", {"cascade": 1}),
    "mlaan, on InfoPro": ("mlaan", {"base": "infopro", "leaps": False}),
}
CASES = {**{name: (name, keywords) for name, keywords in RECIPES.items()}, **OTHERS}
RUNTIMES: dict[str, RuntimeSpec] = {"queued": QueuedSpec(buffer=3, slowdown=((1, 2.0),)), "greedy": GreedySpec()}


def made(case: str, out: Path | None = None, **changes: Any) -> Run:
    """A run of two epochs of six steps on four blocks."""
    recipe, keywords = CASES[case]
    run: Run = getattr(digits, recipe)(layers=8, epochs=2, **keywords)
    return replace(run, out=out, **changes)


def losses(row: dict[str, Any]) -> dict[str, float]:
    """The sum of the losses of every unit in an epoch; of all units where cascades train units together."""
    units = {unit: sum(terms.values()) for unit, terms in row["train"].items()}
    shared = any(name.startswith("cascade") for terms in row["train"].values() for name in terms)
    return {"all": sum(units.values())} if shared else units


def stopped(run: Run, step: int) -> None:
    """Train, stop at a step, continue."""
    assert train(run, reporter=Stopping(step)).interrupted == "SIGTERM"
    assert run.out is not None
    assert header(run.out)["progress"]["step"] == step
    assert train(run, resume=True).finished


def test_every_method_has_a_recipe_here() -> None:
    known = {type(made(case).method).__name__ for case in CASES}
    assert known == {name for name in methods.__all__ if name != "Lambdas"}


def check_losses(run: Run) -> None:
    """The loss of every unit falls."""
    train(run)
    assert run.out is not None
    first, last = (losses(row) for row in rows(run.out)[:2])
    assert len(first) > 0
    assert {unit for unit in first if last[unit] >= first[unit]} == set()


@pytest.mark.parametrize("case", OTHERS)
def test_the_loss_falls(case: str, tmp_path: Path) -> None:
    """That their steps resume is in tests/contract/test_resume.py."""
    check_losses(made(case, tmp_path))


@pytest.mark.parametrize("case", RECIPES)
def test_the_loss_falls_and_a_stopped_run_continues(case: str, tmp_path: Path) -> None:
    check_losses(made(case, tmp_path / "whole"))
    stopped(made(case, tmp_path / "stopped"), 8)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("case", CASES)
def test_the_audit_holds(case: str) -> None:
    run = made(case)
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((8, 1, 8, 8), generator=generator)
    views = images.repeat_interleave(2, 0)
    found = audit(run.network(), Batch(x=images, y=torch.arange(8) % 10, image=images, views=views))
    assert found.ok, str(found)


@pytest.mark.parametrize("case", RUNTIMES)
def test_the_runtimes(case: str, tmp_path: Path) -> None:
    train(made("dgl", tmp_path / "whole", runtime=RUNTIMES[case]))
    seen: dict[str, list[float]] = {}
    for row in rows(tmp_path / "whole"):
        if row["kind"] == "epoch":
            for unit, loss in losses(row).items():
                seen.setdefault(unit, []).append(loss)
    assert sorted(seen) == ["0", "1", "2", "3"]
    assert all(later < earlier for own in seen.values() for earlier, later in pairwise(own[:2]))
    stopped(made("dgl", tmp_path / "stopped", runtime=RUNTIMES[case]), 8)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")
