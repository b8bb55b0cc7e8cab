"""Rows of every table become Runs that can be trained; what is scaled down and what stays."""

import json
from collections.abc import Iterator

import pytest

from localgrad.data import CIFAR10, Digits, Prefix
from localgrad.errors import LocalgradError
from localgrad.methods import AugLocal, InfoPro
from localgrad.network import find_partition
from localgrad.partition import EqualBlocks, EqualMemory
from localgrad.recipes.experiments import Experiment, experiment, run_of
from localgrad.reported import Row, tables
from localgrad.reproduction.figures import paper_run
from localgrad.reproduction.shrinking import Small, changes, shrink, small_modules
from localgrad.reproduction.small import SmallSetting, small_run
from localgrad.train import Adam, Cosine, MultiStep, Run

SMALL = Small(Digits(), 0, 4)
DIGITS = SmallSetting("digits", 0, 0, 4)
MATCHING = ("conv1x1", "conv3x3", "3x3")


def experiments() -> Iterator[tuple[str, Row, Experiment]]:
    """All figures that a training gives; heads whose widths are solved for, which take long, for one depth."""
    for name, own in tables().items():
        for row in own:
            found = experiment(row)
            if not isinstance(found, Experiment) or found.verb != "train":
                continue
            words = dict(found.keywords)
            solved = {str(words.get("selection")), str(words.get("head"))} & set(MATCHING) or "match_depth" in words
            if not solved or words.get("match_depth", words.get("depth")) == 2:
                yield name, row, found


def small(recipe: str, **keywords: object) -> tuple[Run, Run]:
    run = run_of(recipe, keywords)
    return run, shrink(run, SMALL)


def test_rows_of_every_table_have_units() -> None:
    """All small runs are made, and the units of every fifth; whole networks are built below."""
    different: dict[str, tuple[str, Run]] = {}
    names = set()
    for name, _, found in experiments():
        run = small_run(found.recipe, dict(found.keywords), DIGITS, 0, None)
        names.add(name)
        key = json.dumps([str(run.method), run.backbone.arguments, str(run.partition), run.modules], default=str)
        different.setdefault(key, (name, run))
    assert len(names) == 37 and len(different) > 150
    for name, run in list(different.values())[::5]:
        spans = find_partition(run.backbone, run.method, run.modules, run.partition)
        assert run.method.units(run.backbone, spans), name


def test_some_rows_of_several_papers_have_no_problems() -> None:
    seen = set()
    for _, row, found in experiments():
        if (row.paper, row.network.partition("+")[0], row.method.partition("(")[0]) in seen or "match_depth" in dict(
            found.keywords
        ):
            continue
        seen.add((row.paper, row.network.partition("+")[0], row.method.partition("(")[0]))
        if len(seen) % 9:  # whole networks are built, which takes its time
            continue
        run = small_run(found.recipe, dict(found.keywords), DIGITS, 0, None)
        assert list(run.problems()) == [], (row, run)
    assert len(seen) > 60


def test_the_paper_budgets_runs_lack_nothing_but_data() -> None:
    for recipe, keywords in (
        ("cifar10.auglocal_resnet32", {"depth": 2}),
        ("imagenet.backprop_resnet34", {}),
        ("stl10.predsim_vgg8b", {}),
    ):
        run = paper_run(Experiment(recipe, tuple(keywords.items())), 3, None, False)
        assert run.seed == 3 and run.origin is not None and run.origin.recipe == recipe
        assert len(list(run.problems())) == 1 and run.data.name in next(iter(run.problems()))


def test_what_is_scaled_and_what_stays() -> None:
    run, found = small("cifar10.auglocal_resnet32", depth=2)
    assert found.method == run.method and found.modules == run.modules == 16
    assert found.backbone.name == "resnet32" and found.backbone.image == (1, 8, 8)
    assert (found.batch_size, found.epochs, found.data) == (64, 4, Digits())
    assert found.optimizer.lr == pytest.approx(0.8 * 64 / 1024)
    assert found.schedule == Cosine(0, 0.0, from_zero=True)
    assert list(changes(run, found)) == [
        "resnet32", "digits 1x8x8 (cifar10 3x32x32)", "4 epochs (400)", "batch 64 (1024)", "lr 0.05 (0.8)",
    ]  # fmt: skip


def test_small_runs_are_judged_when_they_are_done() -> None:
    run, shrunk = small("cifar10.dgssl_resnet50", modules=4)
    assert (run.knn_every, run.linear_every) == (1, 100) and (shrunk.knn_every, shrunk.linear_every) == (0, 0)


def test_deeper_networks_become_smaller_ones() -> None:
    run, found = small("cifar10.auglocal_resnet110", depth=9)
    assert found.backbone.name == "resnet44" and found.partition == EqualBlocks(22)
    assert isinstance(found.method, AugLocal) and found.method.depth == 9
    assert "K=22 (55)" in list(changes(run, found))
    _, cut = small("cifar10.infopro_resnet110", split="balanced", modules=3)
    assert cut.partition == EqualMemory(3)


@pytest.mark.parametrize(
    ("modules", "blocks", "small_blocks", "expected"),
    [(16, 16, 16, 16), (55, 55, 22, 22), (8, 55, 22, 8), (32, 55, 22, 13), (2, 16, 7, 2), (1, 17, 16, 1)],
)
def test_modules(modules: int, blocks: int, small_blocks: int, expected: int) -> None:
    assert small_modules(modules, blocks, small_blocks) == expected


def test_weights_of_losses_are_those_of_the_papers_network() -> None:
    run, found = small("stl10.infopro_resnet110", modules=4)
    assert isinstance(found.method, InfoPro) and found.method.lambdas is not None
    assert (found.method.lambdas.first, found.method.lambdas.last) == ((20, 0.2), (5, 2))
    assert isinstance(run.method, InfoPro) and run.method.lambdas is None


def test_shares_of_schedules_and_cutout() -> None:
    run, found = small("cifar10.predsim_vgg11b", cutout=True)
    assert isinstance(found.schedule, MultiStep) and found.schedule.milestones == (0.5, 0.75, 0.875, 0.9375)
    assert isinstance(found.optimizer, Adam) and found.optimizer == run.optimizer
    assert isinstance(found.data, Digits) and found.data.augment.cutout == 4
    _, greedy = small("cifar10.greedy_dgl_conv4")
    assert isinstance(greedy.schedule, MultiStep) and greedy.schedule.milestones == (0.3, 0.6, 0.9)


def test_a_prefix_of_cifar() -> None:
    setting = Small(Prefix(CIFAR10(), 1000, 1000), 2, 4)
    run = shrink(run_of("cifar100.auglocal_resnet32", {}), setting)
    assert run.backbone.name == "resnet14" and run.backbone.num_classes == 10 and run.backbone.image == (3, 32, 32)
    assert run.data.name == "cifar10[:1000]" and run.partition == EqualBlocks(7)


def test_a_network_without_a_small_version() -> None:
    run = run_of("cifar10.backprop_resnet32", {})
    foreign = Run(**{**vars(run), "backbone": type(run.backbone)(**{**vars(run.backbone), "constructor": "own"})})
    with pytest.raises(LocalgradError, match="there is no small version of resnet32"):
        shrink(foreign, SMALL)
