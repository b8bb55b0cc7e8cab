"""Every figure of the papers has an experiment that fits it, or a reason why there is none."""

import inspect
from collections import Counter
from functools import cache
from typing import Any

import pytest
import torch

from localgrad.cli.recipes import built_in
from localgrad.method import regrouped
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, InfoPro, PredSim
from localgrad.network import find_partition
from localgrad.recipes.experiments import Experiment, NotCovered, experiment
from localgrad.reported import Row, rows
from localgrad.train import Run

RECIPES = built_in()
FOUND = {index: experiment(row) for index, row in enumerate(rows())}
COVERED: list[tuple[Row, Experiment]] = [
    (row, found) for index, row in enumerate(rows()) if isinstance(found := FOUND[index], Experiment)
]
MATCHING = ("conv1x1", "conv3x3", "3x3")


@cache
def run_of(recipe: str, keywords: tuple[tuple[str, object], ...]) -> Run:
    return RECIPES[recipe](**dict(keywords))


def one(paper: str, table: str, method: str, *, metric: str = "", **setting: Any) -> Experiment | NotCovered:
    """The experiments of all rows that are told so, which must be one."""
    own = {name: setting.pop(name) for name in ("dataset", "network") if name in setting}
    found = {
        experiment(row)
        for row in rows()
        if (row.paper, row.table, row.method) == (paper, table, method)
        and row.metric.startswith(metric)
        and all(getattr(row, name) == value for name, value in own.items())
        and all(row.get(name) == value for name, value in setting.items())
    }
    assert len(found) == 1, found
    return found.pop()


def test_every_figure_is_covered_or_has_a_reason() -> None:
    reasons = Counter(found.reason for found in FOUND.values() if isinstance(found, NotCovered))
    assert len(COVERED) + reasons.total() == len(rows()) == 992
    assert sorted(reasons.values()) == [2, 4, 12, 26]
    assert all(len(reason) > 20 for reason in reasons)


def test_every_experiment_is_a_recipe_with_keywords_that_differ_from_its_defaults() -> None:
    for _, found in COVERED:
        parameters = inspect.signature(RECIPES[found.recipe]).parameters
        for name, value in found.keywords:
            assert name in parameters, (found, name)
            assert parameters[name].default != value, (found, name)


def test_every_experiment_has_the_settings_of_its_row() -> None:
    checked: Counter[str] = Counter()
    for row, found in COVERED:
        run, modules = run_of(found.recipe, found.keywords), row.get("K")
        method = run.method
        # MLAAN T6 gives backpropagation the K of the methods beside it.
        if isinstance(modules, int) and modules > 1 and row.method != "BP":
            checked["K"] += 1
            assert modules == (getattr(run.partition, "modules", None) or run.modules), (row, found)
        if row.get("epochs") is not None:
            checked["epochs"] += 1
            assert run.epochs == row.get("epochs"), (row, found)
        if row.get("G") is not None:
            checked["G"] += 1
            assert getattr(method, "groups", 1) == row.get("G"), (row, found)
        if row.get("batch_size") is not None:
            checked["batch_size"] += 1
            assert run.batch_size == row.get("batch_size"), (row, found)
        depth = row.get("d")
        if isinstance(depth, int) and isinstance(method, AugLocal):
            checked["d"] += 1
            assert method.depth == depth, (row, found)
        for name, attribute in (("stop_gradient", "share_features"), ("diversity", "diversity"), ("tau", "tau")):
            if row.get(name) is not None:
                checked[name] += 1
                assert getattr(method, attribute) == row.get(name), (row, found)
        if row.get("width_mult") is not None:
            checked["width_mult"] += 1
            assert dict(run.backbone.arguments)["feat_mult"] == row.get("width_mult"), (row, found)
    assert all(count >= 18 for count in checked.values()) and len(checked) == 9, checked


def test_every_experiment_has_the_number_of_classes_and_the_protocol_of_its_data() -> None:
    classes = {"cifar100": 100, "imagenet": 1000, "imagenet32": 1000}
    for _, found in COVERED:
        run, data = run_of(found.recipe, found.keywords), found.recipe.partition(".")[0]
        assert run.backbone.num_classes == classes.get(data, 10)
        assert run.backbone.image == run.data.image or data == "svhn"


def test_every_experiment_fits_its_network() -> None:
    """The units are made, once for data sets that differ in nothing else; one network per kind of recipe is built.

    Heads whose widths are solved for are made for one or two depths only: that takes seconds each.
    """
    different: dict[object, tuple[str, Run]] = {}
    for _, found in COVERED:
        run = run_of(found.recipe, found.keywords)
        words = dict(found.keywords)
        solved = {str(words.get("selection")), str(words.get("head"))} & set(MATCHING) or "match_depth" in words
        depth = words.get("match_depth", words.get("depth", 6))
        if solved and depth not in (5, 9):
            continue
        arguments = tuple((name, value) for name, value in run.backbone.arguments if name != "num_classes")
        key = (run.backbone.constructor, arguments, run.method, run.modules, run.partition)
        different.setdefault(key, (found.recipe, run))
    built: set[str] = set()
    for recipe, run in different.values():
        method = regrouped(run.method, run.groups)
        spans = find_partition(run.backbone, method, run.modules, run.partition)
        assert len(method.units(run.backbone, spans)) >= 1
        kind = recipe.partition(".")[2]
        if kind not in built:
            built.add(kind)
            with torch.device("meta"):
                assert all(parameter.is_meta for parameter in run.network().parameters())
    assert len(different) > 300 and len(built) == 54


@pytest.mark.parametrize(
    ("paper", "table", "method", "setting", "command"),
    [
        (
            "auglocal", "T1", "AugLocal", {"dataset": "CIFAR-10", "network": "ResNet-32", "d": 2},
            "localgrad train cifar10.auglocal_resnet32 --depth 2",
        ),
        (
            "auglocal", "T1", "InfoPro", {"dataset": "CIFAR-10", "network": "ResNet-110"},
            "localgrad train cifar10.infopro_resnet110 --modules 55 --loss softmax --source auglocal --epochs 400",
        ),
        (
            "auglocal", "T1", "DGL", {"dataset": "STL-10", "network": "ResNet-32"},
            "localgrad train stl10.dgl_resnet32 --head auglocal",
        ),
        (
            "auglocal", "T7", "AugLocal", {"metric": "wallclock", "d": 3},
            "localgrad compare cifar10.backprop_resnet110 cifar10.auglocal_resnet110 --depth 3 --epochs 1",
        ),
        (
            "auglocal", "T11", "AugLocal", {"d": 9, "tau": 1.0},
            "localgrad cost cifar10.auglocal_resnet110 --depth 9 --tau 1.0",
        ),
        (
            "auglocal", "T10", "AugLocal-aux-ablation", {"variant": "stage2 -> repetitive, no downsampling"},
            "localgrad train cifar10.auglocal_resnet110 --stage-selection '[uniform,repetitive,uniform]'",
        ),
        ("thesis", "T4.1", "SimCLR e2e", {}, "localgrad train cifar10.simclr_resnet50"),
        ("thesis", "T4.1", "DGSSL", {"K": 8}, "localgrad train cifar10.dgssl_resnet50 --modules 8"),
        (
            "thesis", "T4.2", "DGSSL-LLM", {"K": 4, "sample_ratio_pos": 0.81},
            "localgrad train cifar10.dgssl_llm_resnet50 --modules 4 --ratio 0.81",
        ),
        (
            "thesis", "T4.3", "DGSSL-LLM", {"K": 8},
            "localgrad train cifar10.dgssl_llm_resnet50 --modules 8 --ratio 0.97 --difficulty decreasing",
        ),
        (
            "thesis", "T4.4", "DGSSL-LLM", {"select": "pos only"},
            "localgrad train cifar10.dgssl_llm_resnet50 --negatives false",
        ),
        (
            "infopro", "T2", "GreedySL", {"dataset": "SVHN", "K": 8},
            "localgrad train svhn.dgl_resnet110 --modules 8 --head 0c1f --epochs 160",
        ),
        (
            "infopro", "T2", "DGL", {"network": "ResNet-32", "K": 4},
            "localgrad train cifar10.dgl_resnet32 --modules 4 --head 1c2f --epochs 160",
        ),
        (
            "infopro", "T2", "InfoPro(contrast)", {"dataset": "STL-10", "K": 16},
            "localgrad train stl10.infopro_resnet110",
        ),
        (
            "infopro", "T2", "InfoPro(softmax)", {"network": "ResNet-32", "K": 16},
            "localgrad train cifar10.infopro_resnet32 --loss softmax --first '[5,0.05]' --last '[0.2,0.5]'",
        ),
        (
            "infopro", "T2", "DGL", {"network": "DenseNet-BC-100-12", "K": 8},
            "localgrad train cifar10.dgl_densenet100 --modules 8",
        ),
        (
            "infopro", "T2", "GreedySL", {"network": "DenseNet-BC-100-12", "K": 2},
            "localgrad train cifar10.dgl_densenet100 --modules 2 --head 0c1f",
        ),
        (
            "infopro", "T2", "InfoPro(softmax)", {"network": "DenseNet-BC-100-12", "K": 4},
            "localgrad train cifar10.infopro_densenet100 --modules 4 --loss softmax",
        ),
        (
            "infopro", "T2", "BP", {"network": "DenseNet-BC-100-12"},
            "localgrad train cifar10.backprop_densenet100 --epochs 160",
        ),
        (
            "infopro", "T4", "InfoPro*", {"network": "ResNeXt-101-32x8d", "metric": "top1"},
            "localgrad train imagenet.infopro_resnext101",
        ),
        (
            "infopro", "T4", "BP", {"network": "ResNeXt-101-32x8d", "metric": "gpu"},
            "localgrad cost imagenet.backprop_resnext101",
        ),
        (
            "infopro", "T4", "BP", {"network": "ResNet-101", "metric": "gpu"},
            "localgrad cost imagenet.backprop_resnet101 --protocol infopro",
        ),
        (
            "gndgl-v1", "T2", "GN-DGL", {"stop_gradient": True},
            "localgrad train cifar10.gndgl_vgg6a --share-features true --diversity true",
        ),
        (
            "thesis", "T3.4", "DGL", {"K": 16, "metric": "train_speedup"},
            "localgrad cost cifar10.gndgl_resnet32 --modules 16 --groups 1",
        ),
        (
            "gndgl-v2", "fig 3-5", "single-thread", {"dataset": "ImageNet32", "network": "ResNet-32x2", "G": 4},
            "localgrad train imagenet32.single_thread_resnet32 --groups 4 --width 2",
        ),
        (
            "mlaan", "T4", "DGL+LAM", {},
            "localgrad train cifar10.mlaan_resnet32 --cascade 1 --base dgl",
        ),
        (
            "mlaan", "T5", "DGL+MLAAN", {"K": 55},
            "localgrad train cifar10.mlaan_resnet110 --base dgl --epochs 300",
        ),
        (
            "mlaan", "T6", "BP", {"network": "ResNet-110"},
            "localgrad train cifar10.backprop_resnet110 && localgrad evaluate runs/cifar10.backprop_resnet110-seed0 "
            "--data stl10",
        ),
        (
            "predsim", "README", "sim", {"dataset": "CIFAR-100", "network": "mlp"},
            "localgrad train cifar100.predsim_mlp --loss sim",
        ),
        (
            "predsim", "README", "predsim", {"dataset": "Fashion-MNIST", "network": "vgg8b(2x)+cutout"},
            "localgrad train fashion_mnist.predsim_vgg8b --feat-mult 2 --cutout true",
        ),
    ],
)  # fmt: skip
def test_commands(paper: str, table: str, method: str, setting: dict[str, Any], command: str) -> None:
    found = one(paper, table, method, **setting)
    assert isinstance(found, Experiment)
    assert found.command == command


def test_which_figure_of_the_run_it_is() -> None:
    figures = {
        (row.paper, row.get("eval"), found.figure) for row, found in COVERED if row.method == "GN-DGL" and row.get("K")
    }
    assert ("gndgl-v2", "last-layer", "ensemble.last") in figures
    assert ("gndgl-v2", "layerwise ensemble", "ensemble.layerwise") in figures
    assert ("thesis", None, "ensemble.layerwise") in figures and ("gndgl-v1", None, "") in figures
    single = one("gndgl-v2", "fig 3-5", "single-thread", dataset="CIFAR-10", network="ResNet-32", G=8)
    assert isinstance(single, Experiment) and single.figure == "units.0"


def test_methods_are_those_of_the_rows() -> None:
    kinds = {"PredSim": PredSim, "MLAAN": MLAAN, "AugLocal": AugLocal, "GN-DGL": GNDGL, "InfoPro(contrast)": InfoPro}
    for row, found in COVERED:
        method = run_of(found.recipe, found.keywords).method
        if row.method in kinds:
            assert isinstance(method, kinds[row.method]), (row, found)
        if row.method == "DGL":
            assert isinstance(method, DGL) or (isinstance(method, GNDGL) and method.groups == 1)


def test_what_a_paper_leaves_open_is_said() -> None:
    for row, found in COVERED:
        lost = any(str(value).startswith("UNKNOWN") for _, value in row.setting)
        assert not lost or "known" in found.note, (row, found)
    softmax = one("infopro", "T2", "InfoPro(softmax)", network="ResNet-32", K=2)
    assert isinstance(softmax, Experiment) and "not published" in softmax.note
    notes = {
        (row.network, row.method): found.note
        for row, found in COVERED
        if row.network in ("DenseNet-BC-100-12", "ResNeXt-101-32x8d")
    }
    dense = "DenseNet's modules and heads are not in the released code: equally many layers, heads as of ResNets"
    weights = f"{dense}; nor are the weights of the losses: those of ResNet-110"
    batch = "the table has batches of 512; the learning rate is that of the released command, which has batches of 1024"
    assert notes == {
        ("DenseNet-BC-100-12", "BP"): "",
        ("DenseNet-BC-100-12", "GreedySL"): dense,
        ("DenseNet-BC-100-12", "DGL"): dense,
        ("DenseNet-BC-100-12", "InfoPro(softmax)"): weights,
        ("DenseNet-BC-100-12", "InfoPro(contrast)"): weights,
        ("ResNeXt-101-32x8d", "BP"): batch,
        ("ResNeXt-101-32x8d", "InfoPro*"): batch,
    }
