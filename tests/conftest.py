"""Small networks, batches and optimisers that the tests share."""
# ruff: noqa: E402

import gc

gc.disable()  # until everything is imported and collected: nothing of that is garbage

import multiprocessing
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from localgrad import Backbone, Batch
from localgrad.backbones import cifar_resnet
from localgrad.spec import Shape


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Small tensors on a shared machine: a second thread mostly waits for the first, and burns its core meanwhile."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def same_random_state() -> Iterator[None]:
    """Every test draws its inputs from the same random state, whatever ran before it."""
    torch.manual_seed(0)
    yield


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The papers' optimiser."""
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)


def tiny_resnet(layers: int = 14, image: tuple[int, int, int] = (3, 8, 8), classes: int = 4) -> Backbone:
    """A CIFAR ResNet of 8, 8, 16, 32 channels: 7 blocks for 14 layers."""
    return cifar_resnet(layers, classes, width=0.5, image=image)


@dataclass(frozen=True)
class ConvDropout:
    """A block that draws random numbers in every step and normalises nothing."""

    in_channels: int
    out_channels: int

    def build(self) -> nn.Module:
        conv = nn.Conv2d(self.in_channels, self.out_channels, 3, padding=1)
        return nn.Sequential(OrderedDict(conv=conv, relu=nn.ReLU(), drop=nn.Dropout(0.5)))

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "ConvDropout":
        return replace(self, in_channels=in_channels)

    def group(self, in_channels: int, start: int, stop: int) -> "ConvDropout":
        return replace(self, in_channels=in_channels, out_channels=stop - start)

    def shape(self, shape: Shape) -> Shape:
        return (self.out_channels, *shape[1:])


def with_dropout(backbone: Backbone) -> Backbone:
    """The same network with dropout in its stem and in its second block."""
    first, second = backbone.blocks[0].shape(backbone.image)[0], backbone.shapes()[1][0]
    blocks = (ConvDropout(backbone.image[0], first), ConvDropout(first, second), *backbone.blocks[2:])
    return replace(backbone, blocks=blocks)


def random_batch(backbone: Backbone, rows: int = 8, seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """A batch with every field that a method may need."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((rows, *backbone.image), generator=generator).to(dtype)
    y = torch.randint(0, backbone.num_classes, (rows,), generator=generator)
    return Batch(x=x, y=y, image=x.sigmoid(), views=x.repeat_interleave(2, 0))


def copy_of(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, copied."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    """Names of the tensors that are not the same bit for bit."""
    assert before.keys() == after.keys()
    return {name for name, value in before.items() if not torch.equal(value, after[name])}


def child_processes() -> list[Any]:
    """Processes that this one has started, without the pool of ranks."""
    return [child for child in multiprocessing.active_children() if child.name != "rank of the pool"]


def pytest_collection_finish() -> None:
    """Modules and collected tests stay to the end: the garbage collector need not look through them again and again."""
    sgd([nn.Parameter(torch.zeros(1))])  # the first optimiser of a process imports torch._dynamo
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 10)
    gc.enable()


def pytest_unconfigure() -> None:
    """What was frozen can go at the end, as without."""
    gc.unfreeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file run in one process, and all that use the pool of ranks: there is one pool for the whole run."""
    for item in items:
        path = item.path
        item.add_marker(pytest.mark.xdist_group("distributed" if path.parent.name == "distributed" else str(path)))
