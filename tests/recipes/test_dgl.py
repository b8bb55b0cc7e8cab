"""DGL's own experiments as its released code has them (methods.md 2.3, 2.4 and 3)."""

import pytest
import torch

from localgrad.auxnets import MlpSR
from localgrad.backbones.vgg_layers import pytorch_default
from localgrad.cli.recipes import built_in
from localgrad.data import Augment
from localgrad.methods import DGL
from localgrad.train import SGD, GreedySpec, QueuedSpec

RECIPES = built_in()
ZERO_4 = Augment(4, "zero", flip=True)


@pytest.mark.parametrize(
    ("name", "epochs", "falls", "last_hidden"),
    [
        ("cifar10.dgl_conv6", 50, (15, 30, 45), 2),
        ("cifar10.greedy_dgl_conv6", 50, (15, 30, 45), 2),
        ("cifar10.dgl_conv4", 50, (15, 30, 45), 2),
        ("cifar10.greedy_dgl_conv4", 50, (15, 30, 45), 2),
        # The released code's own epochs are counted two late.
        ("cifar10.queued_dgl_conv6", 51, (17, 32, 47), 3),
    ],
)
def test_dgls_study(name: str, epochs: int, falls: tuple[int, ...], last_hidden: int) -> None:
    run = RECIPES[name]()
    assert (run.optimizer, run.batch_size, run.epochs) == (SGD(lr=0.1, nesterov=False, weight_decay=5e-4), 128, epochs)
    for count, epoch in enumerate(falls):
        rates = [run.schedule.lr(0.1, e, epochs) for e in (epoch - 1, epoch)]
        assert rates == pytest.approx([0.1 * 0.2**count, 0.1 * 0.2 ** (count + 1)])
    assert run.data.augment == ZERO_4
    assert run.data.std == (0.2023, 0.1994, 0.2010)
    channels, *size = run.backbone.shapes()[-1]
    assert run.backbone.head == MlpSR(channels, tuple(size), 10, convs=0, hidden=last_hidden)  # type: ignore[arg-type]
    # All weights are as PyTorch draws them.
    assert run.backbone.initialise is pytorch_default and run.backbone.initialise_aux is None
    asynchronous = "queued" in name
    assert (run.reset_optimizer, run.drop_last) == (asynchronous, asynchronous)
    assert isinstance(run.method, DGL) and run.method.least_probability == (1e-5 if asynchronous else 0)


def test_dgls_resnet110() -> None:
    """methods.md 2.4, released code: 26 blocks behind the stem in the first module; epochs are counted from 1 there."""
    run = RECIPES["cifar10.dgl_resnet110_option_a"]()
    assert (run.optimizer, run.batch_size, run.epochs) == (SGD(lr=0.01, nesterov=False, weight_decay=5e-4), 128, 300)
    rates = [run.schedule.lr(0.01, epoch, 300) for epoch in (148, 149, 223, 224)]
    assert rates == pytest.approx([1e-2, 1e-3, 1e-3, 1e-4])
    assert run.reset_optimizer and not run.drop_last
    assert (run.data.augment, run.data.std) == (ZERO_4, (0.2023, 0.1994, 0.2010))
    assert dict(run.backbone.arguments)["shortcut"] == "A"
    with torch.device("meta"):
        first, last = run.network().unit_list()
    assert (first.name, len(first.span), len(last.span)) == ("layer2.7", 1 + 18 + 8, 10 + 18)
    assert first.spec.objectives[0].aux == MlpSR(32, (16, 16), 10)
    assert first.spec.initialise is pytorch_default


def test_who_makes_new_optimisers() -> None:
    """DGL's code, where the learning rate falls: on ImageNet, asynchronous, and on ResNet-110."""
    runs = {name: make() for name, make in RECIPES.items() if not name.startswith("folder.")}
    found = {name for name, run in runs.items() if run.reset_optimizer}
    assert found == {
        *("imagenet.dgl_vgg19", "imagenet.dgl_resnet152"),
        *("cifar10.queued_dgl_conv6", "cifar10.dgl_resnet110_option_a"),
    }
    assert RECIPES["imagenet.dgl_vgg13"](protocol="dgl").reset_optimizer


def test_dgls_networks_and_runtimes() -> None:
    channels = [shape[0] for shape in RECIPES["cifar10.dgl_conv6"]().backbone.shapes()]
    assert channels == [128, 256, 256, 512, 512, 512]
    assert RECIPES["cifar10.dgl_conv4"]().backbone.shapes() == ((64, 32, 32), *((128, 16, 16),) * 2, (256, 8, 8))
    queued = RECIPES["cifar10.queued_dgl_conv6"]()
    assert [shape[0] for shape in queued.backbone.shapes()] == [128, 128, 256, 256, 512, 512]
    assert [shape[1] for shape in queued.backbone.shapes()] == [32, 32, 16, 16, 8, 8]
    queue = queued.runtime
    assert isinstance(queue, QueuedSpec)
    assert queue.buffer == 30
    assert queue.slowdown == ((3, pytest.approx(1 / 0.9)),)
    assert RECIPES["cifar10.greedy_dgl_conv6"]().runtime == GreedySpec()
    assert RECIPES["cifar10.dgl_conv6"]().runtime == "sequential"
