"""The papers' networks on small images, and all recipes that they have on every small data set."""

from collections.abc import Callable

from localgrad.backbones import cifar_resnet
from localgrad.data import Data
from localgrad.recipes.making.baselines import backprop, checkpointing
from localgrad.recipes.making.greedy_heads import auglocal, dgl
from localgrad.recipes.making.infopro import Weights, infopro
from localgrad.recipes.making.mlaan import mlaan
from localgrad.recipes.making.predsim import predsim
from localgrad.recipes.making.protocols import Protocol
from localgrad.recipes.making.setting import Network, Recipe, Setting
from localgrad.spec import Backbone

MODULES = {32: 16, 110: 55}
"""One module per block."""


def resnet(layers: int) -> Network:
    """The CIFAR ResNet of so many layers."""

    def build(*, num_classes: int, image: tuple[int, int, int], width: float = 1) -> Backbone:
        return cifar_resnet(layers, num_classes, width, image)

    return build


def resnet_setting(
    module: str, data: Callable[..., Data], label: str, layers: int, protocol: Protocol, *, downloads: bool = True
) -> Setting:
    """ResNet-``layers`` on a data set."""
    return Setting(
        module,
        data,
        label,
        resnet(layers),
        f"resnet{layers}",
        f"ResNet-{layers}",
        MODULES[layers],
        protocol,
        downloads,
    )


def resnet_recipes(at: Setting, dataset: str, source: Weights = "infopro") -> tuple[Recipe, ...]:
    """(backprop, checkpointing, dgl, auglocal, predsim, infopro, mlaan) of a ResNet.

    ``source``: whose weights InfoPro takes by default.
    """
    return (
        backprop(at),
        checkpointing(at),
        dgl(at),
        auglocal(at),
        predsim(at),
        infopro(at, modules=16, dataset=dataset, source=source),
        mlaan(at),
    )
