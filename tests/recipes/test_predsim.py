"""Every row of PredSim's tables is trained as the paper's released experiments set it (methods.md 4; released code)."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

from localgrad.backbones import mlp
from localgrad.cli.recipes import built_in
from localgrad.data import Augment, Digits
from localgrad.methods import Backprop, PredSim
from localgrad.methods.predsim import MAX_FEATURES
from localgrad.recipes.experiments import Experiment, experiment
from localgrad.reported import Row, rows
from localgrad.train import Adam, MultiStep, Run, train

RECIPES = built_in()
MILESTONES = {100: (50, 75, 89, 94), 200: (100, 150, 175, 188), 400: (200, 300, 350, 375)}


class Data(NamedTuple):
    """What all networks on a data set share; ``cutout`` is the square's side where it is switched on."""

    epochs: int
    cutout: int
    augment: Augment
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Net(NamedTuple):
    """``features``: what a local classifier behind feature maps reads at most."""

    dropout: float
    features: int = 4096
    lr: float = 5e-4


CROP_4 = Augment(4, "zero", flip=True)
DATA = {
    "MNIST": Data(100, 14, Augment(2, "zero"), (0.1307,), (0.3081,)),
    "Fashion-MNIST": Data(200, 14, Augment(2, "zero", flip=True), (0.286,), (0.353,)),
    "KMNIST": Data(100, 14, Augment(), (0.1904,), (0.3475,)),
    "CIFAR-10": Data(400, 16, CROP_4, (0.424, 0.415, 0.384), (0.283, 0.278, 0.284)),
    "CIFAR-100": Data(400, 16, CROP_4, (0.438, 0.418, 0.377), (0.300, 0.287, 0.294)),
    "SVHN(+extra)": Data(100, 16, Augment(), (0.431, 0.430, 0.446), (0.197, 0.198, 0.199)),
    "STL-10": Data(400, 48, Augment(), (0.447, 0.440, 0.407), (0.260, 0.257, 0.271)),
}
NETS = {
    ("MNIST", "mlp"): Net(0.1),
    ("MNIST", "vgg8b"): Net(0.2, 1024),
    ("MNIST", "vgg8b+cutout"): Net(0.2, 1024),
    ("Fashion-MNIST", "mlp"): Net(0.025),
    ("Fashion-MNIST", "vgg8b"): Net(0.1, 1024),
    ("Fashion-MNIST", "vgg8b(2x)"): Net(0.2, lr=3e-4),
    ("Fashion-MNIST", "vgg8b(2x)+cutout"): Net(0.2, lr=3e-4),
    ("KMNIST", "mlp"): Net(0.2),
    ("KMNIST", "vgg8b"): Net(0.3, 1024),
    ("KMNIST", "vgg8b+cutout"): Net(0.15, 1024),
    ("CIFAR-10", "mlp"): Net(0.1),
    ("CIFAR-10", "vgg8b"): Net(0.2, 2048),
    ("CIFAR-10", "vgg11b"): Net(0.2, 2048),
    ("CIFAR-10", "vgg11b(2x)"): Net(0.25, lr=3e-4),
    ("CIFAR-10", "vgg11b(3x)"): Net(0.3, lr=3e-4),
    ("CIFAR-10", "vgg11b(3x)+cutout"): Net(0.3, lr=3e-4),
    ("CIFAR-100", "mlp"): Net(0.025),
    ("CIFAR-100", "vgg8b"): Net(0.05, 2048),
    ("CIFAR-100", "vgg11b"): Net(0.05, 2048),
    ("CIFAR-100", "vgg11b(2x)"): Net(0.1, lr=3e-4),
    ("CIFAR-100", "vgg11b(3x)"): Net(0.15, lr=3e-4),
    ("SVHN(+extra)", "vgg8b"): Net(0.3, 2048, 3e-4),
    ("SVHN(+extra)", "vgg8b+cutout"): Net(0.15, 2048, 3e-4),
    ("STL-10", "vgg8b"): Net(0.1, 2048),
    ("STL-10", "vgg8b+cutout"): Net(0.1, 2048),
}
# Millions of parameters that the tables give. The perceptron on CIFAR-100 is said to have the 27.3 of CIFAR-10's, whose
# classifier has 90 classes, 0.27 millions of weights, less.
SIZES = {
    ("MNIST", "mlp"): 2.9,
    ("MNIST", "vgg8b"): 7.3,
    ("Fashion-MNIST", "vgg8b(2x)"): 28.2,
    ("CIFAR-10", "mlp"): 27.3,
    ("CIFAR-10", "vgg8b"): 8.9,
    ("CIFAR-10", "vgg11b"): 11.6,
    ("CIFAR-10", "vgg11b(2x)"): 42.0,
    ("CIFAR-10", "vgg11b(3x)"): 91.3,
    ("CIFAR-100", "mlp"): 27.5,
    ("CIFAR-100", "vgg8b"): 9.0,
    ("CIFAR-100", "vgg11b"): 11.7,
    ("CIFAR-100", "vgg11b(2x)"): 42.1,
    ("CIFAR-100", "vgg11b(3x)"): 91.4,
    ("STL-10", "vgg8b"): 11.5,
}
ROWS = [row for row in rows() if row.paper == "predsim"]


def run_of(row: Row) -> Run:
    found = experiment(row)
    assert isinstance(found, Experiment)
    return RECIPES[found.recipe](**dict(found.keywords))


def title(row: Row) -> str:
    return f"{row.dataset} {row.network} {row.method}"


def test_all_rows_and_networks_are_here() -> None:
    assert len(ROWS) == 82
    assert {(row.dataset, row.network) for row in ROWS} == NETS.keys()
    assert sum(row.network == "mlp" for row in ROWS) == 20


@pytest.mark.parametrize("row", ROWS, ids=title)
def test_settings_of_the_rows(row: Row) -> None:
    run, data, net = run_of(row), DATA[row.dataset], NETS[row.dataset, row.network]
    similar = row.method in ("sim", "predsim")
    assert (run.epochs, run.batch_size, run.optimizer) == (data.epochs, 128, Adam(lr=net.lr, weight_decay=0.0))
    assert isinstance(run.schedule, MultiStep)
    assert (run.schedule.epochs(run.epochs), run.schedule.gamma) == (MILESTONES[run.epochs], 0.25)
    spec: Any = run.data
    assert (spec.mean, spec.std) == (data.mean, data.std)
    cutout = data.cutout if "cutout" in row.network else 0
    own = data.augment
    assert spec.augment == Augment(own.pad, own.pad_mode, own.flip, cutout)
    assert getattr(spec, "extra", None) == (True if row.dataset == "SVHN(+extra)" else None)
    few = getattr(spec, "classes_per_batch", None)
    expected = (20, 200) if row.dataset == "CIFAR-100" and similar else None
    assert (few and (few.classes, few.until_epoch)) == expected
    options = dict(run.backbone.arguments)
    assert (options["dropout"], options["nonlinearity"]) == (net.dropout, "leaky_relu" if similar else "relu")
    if row.method == "BP":
        assert run.method == Backprop()
        return
    assert isinstance(run.method, PredSim)
    assert (run.method.loss, run.method.beta, run.method.framework) == (row.method, 0.99, "layerwise")
    # With "sim" nothing is classified.
    assert row.method == "sim" or (run.method.max_features or MAX_FEATURES["layerwise"]) == net.features
    assert run.modules is None and run.partition is None


@pytest.mark.parametrize("row", [row for row in ROWS if row.network == "mlp"], ids=title)
def test_perceptrons(row: Row) -> None:
    """Three hidden layers of 1024 features on 28x28 images, of 3000 on CIFAR, and every one is local."""
    run = run_of(row)
    width = 3000 if "CIFAR" in row.dataset else 1024
    assert dict(run.backbone.arguments)["widths"] == (width,) * 3
    assert run.backbone.image == ((3, 32, 32) if "CIFAR" in row.dataset else (1, 28, 28))
    with torch.device("meta"):
        units = run.network().units
    assert len(units) == (1 if row.method == "BP" else 4)


@pytest.mark.parametrize("key", SIZES, ids=" ".join)
def test_sizes_of_the_networks(key: tuple[str, str]) -> None:
    row = next(row for row in ROWS if (row.dataset, row.network, row.method) == (*key, "BP"))
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in run_of(row).network().parameters())
    assert count / 1e6 == pytest.approx(SIZES[key], abs=0.051)


def test_options_of_the_perceptrons() -> None:
    for name in ("cifar10.predsim_mlp", "cifar10.backprop_mlp"):
        assert dict(RECIPES[name](hidden=8, layers=2, epochs=3).backbone.arguments)["widths"] == (8, 8)
    assert RECIPES["cifar100.predsim_mlp"](epochs=6).data.classes_per_batch.until_epoch == 3


def test_widths_between_those_of_the_tables_take_the_next_smaller_ones() -> None:
    make = RECIPES["cifar10.predsim_vgg11b"]
    for width, rate, lr, features in ((0.5, 0.2, 5e-4, 2048), (1.5, 0.2, 3e-4, None), (2.5, 0.25, 3e-4, None)):
        run = make(feat_mult=width)
        assert (dict(run.backbone.arguments)["dropout"], run.optimizer.lr) == (rate, lr)
        assert run.method == PredSim(max_features=features)


@pytest.mark.parametrize("method", ["BP", "predsim"])
def test_perceptrons_learn(method: str, tmp_path: Path) -> None:
    """The recipe's settings on small images: most of scikit-learn's digits are told apart after three epochs."""
    recipe = RECIPES["kmnist.backprop_mlp" if method == "BP" else "kmnist.predsim_mlp"](hidden=64, epochs=3)
    backbone = mlp((64,) * 3, 10, 0.05, dict(recipe.backbone.arguments)["nonlinearity"], (1, 8, 8))
    run = replace(recipe, backbone=backbone, data=Digits(), batch_size=32, out=tmp_path / "run", origin=None)
    run = replace(run, optimizer=replace(recipe.optimizer, lr=5e-3))
    last = train(run).last
    assert last is not None and last["test"]["top1"] > 70
