"""Every recipe of the package makes a Run that fits together, with the papers' settings."""

import inspect
import json
from pathlib import Path

import pytest
import torch

from localgrad import Run
from localgrad.cli.recipes import built_in, find_recipe
from localgrad.train import SGD, Cosine
from tests.data.conftest import Publish

RECIPES = built_in()
PAPERS = [name for name in RECIPES if "resnet" in name]


def make(name: str, tmp_path: Path) -> Run:
    if not name.startswith("folder."):
        return RECIPES[name]()
    Publish().image_folder(tmp_path / "images", size=(32, 32))
    return RECIPES[name](data_root=tmp_path / "images")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_builds(name: str, tmp_path: Path) -> None:
    run = make(name, tmp_path)
    with torch.device("meta"):
        net = run.network()
    assert all(parameter.is_meta for parameter in net.parameters())
    assert json.loads(json.dumps(run.facts())) == run.facts()
    assert run.facts()["seed"] == 0
    assert run.out is None


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_epochs_seed_and_data_root(name: str) -> None:
    parameters = inspect.signature(RECIPES[name]).parameters
    assert {"epochs", "seed", "data_root"} <= parameters.keys()
    assert ("modules" in parameters) == ("dgl" in name or "auglocal" in name)
    text = inspect.getdoc(RECIPES[name]) or ""
    assert [p for p in parameters if f"\n    {p}: " not in text] == []


def test_all_data_sets_have_all_methods() -> None:
    expected = {
        f"{data}.{method}_resnet{layers}"
        for data in ("cifar10", "cifar100", "svhn", "stl10")
        for method in ("backprop", "checkpointing", "dgl", "auglocal")
        for layers in (32, 110)
    }
    assert set(PAPERS) == expected
    assert set(RECIPES) - expected >= {"digits.backprop", "digits.dgl", "digits.auglocal", "folder.auglocal"}


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_settings(name: str) -> None:
    run = RECIPES[name]()
    batch, lr = (128, 0.1) if name.startswith("stl10") else (1024, 0.8)
    assert (run.batch_size, run.epochs) == (batch, 400)
    assert run.optimizer == SGD(lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4, decay_norm_and_bias=True)
    assert run.schedule == Cosine(warmup_epochs=10, warmup_lr=0.01, from_zero=False)
    modules = 55 if name.endswith("110") else 16
    assert run.modules == (modules if "dgl" in name or "auglocal" in name else None)
    with torch.device("meta"):
        units = len(run.network().units)
    expected = {"dgl": modules, "auglocal": modules - 6 + 1}
    assert units == next((count for word, count in expected.items() if word in name), 1)
    size = 96 if name.startswith("stl10") else 32
    classes = 100 if name.startswith("cifar100") else 10
    assert (run.backbone.image, run.backbone.num_classes) == ((3, size, size), classes)


def test_the_settings_are_passed_on() -> None:
    run = RECIPES["cifar10.auglocal_resnet32"](depth=3, tau=0.0, modules=8, epochs=5, seed=4, data_root=Path("x"))
    assert (run.modules, run.epochs, run.seed) == (8, 5, 4)
    facts = run.facts()
    assert isinstance(facts["method"], dict) and isinstance(facts["data"], dict)
    assert (facts["method"]["depth"], facts["method"]["tau"], facts["data"]["root"]) == (3, 0.0, "x")


def test_a_recipe_is_found_by_its_name() -> None:
    assert find_recipe("digits.dgl") is RECIPES["digits.dgl"]
    assert find_recipe("localgrad.recipes.digits:dgl") is RECIPES["digits.dgl"]
