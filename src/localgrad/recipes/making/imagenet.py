"""Recipes on ImageNet, where every paper has a protocol of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from localgrad.backbones import four_stage_resnet, imagenet_vgg
from localgrad.data import ImageNet
from localgrad.errors import LocalgradError, nearest
from localgrad.method import Method
from localgrad.methods import DGL, Backprop
from localgrad.methods.dgl import Head
from localgrad.partition import Cut, papers
from localgrad.recipes.making.protocols import Protocol
from localgrad.recipes.making.setting import Network, Recipe, Setting
from localgrad.spec import Backbone
from localgrad.train import Run

Paper = Literal["auglocal", "infopro", "mlaan", "dgl"]
"""Whose training of a network: batch, learning rate, epochs."""


def network(layers: int, vgg: bool = False) -> Network:
    """The ImageNet ResNet, or VGG, of so many layers."""

    def build(*, num_classes: int, image: tuple[int, int, int], **options: Any) -> Backbone:
        make = imagenet_vgg if vgg else four_stage_resnet
        return make(layers, num_classes, image=image, **options)

    return build


def imagenet_setting(module: str, name: str, label: str, layers: int, modules: int, protocol: Protocol) -> Setting:
    """An ImageNet network under a protocol."""
    build = network(layers, vgg=name.startswith("vgg"))
    root = Path("data/imagenet")
    return Setting(module, ImageNet, "ImageNet", build, name, label, modules, protocol, downloads=False, root=root)


def _under(at: Setting, protocols: Mapping[Paper, Protocol], paper: Paper) -> Setting:
    """The setting as a paper has it. Raises LocalgradError when it has none."""
    if paper not in protocols:
        raise LocalgradError(f"{at.label}: no protocol {paper!r} is known for it. {nearest(paper, protocols)}")
    return at.under(protocols[paper])


def backprop(at: Setting, protocols: Mapping[Paper, Protocol]) -> Recipe:
    """Backpropagation under the protocols of several papers, the first by default."""
    first = next(iter(protocols))

    def backprop(
        protocol: Paper = first,
        epochs: int | None = None,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """End-to-end backpropagation.

        Args:
            protocol: whose batch size, learning rate and number of epochs
        """
        own = _under(at, protocols, protocol)
        return own.run(Backprop(), None, own.protocol.epochs if epochs is None else epochs, seed, data_root, download)

    return at.named(backprop)


def dgl(at: Setting, protocols: Mapping[Paper, Protocol]) -> Recipe:
    """DGL under the protocols of several papers, the first by default.

    Its own has its own cuts, no dropout, auxiliary networks that start as a VGG's own layers do, and new optimisers
    wherever the learning rate falls.
    """
    first = next(iter(protocols))

    def dgl(
        protocol: Paper = first,
        modules: int = at.modules,
        head: Head = "mlp-sr",
        epochs: int | None = None,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """DGL, a small classifier per unit.

        Args:
            protocol: whose batch size, learning rate and epochs; dgl has cuts of its own and no dropout
            modules: the papers' K
            head: the auxiliary network; "auglocal" is the one of AugLocal's comparison
        """
        own, cut, options = _under(at, protocols, protocol), dict[str, Any](), dict[str, Any]()
        if protocol == "dgl":
            cut["partition"] = papers(modules, "dgl")
            if at.network.startswith("vgg"):
                options |= {"dropout": 0.0, "aux_weights": "network"}
        count = None if cut else modules
        return own.run(
            DGL(head=head),
            count,
            own.protocol.epochs if epochs is None else epochs,
            seed,
            data_root,
            download,
            run_options=cut,
            **options,
        )

    return at.named(dgl)


def published(at: Setting, name: str, title: str, method: Method, cut: Cut) -> Recipe:
    """A recipe of one published setting: ``method`` on the spans of ``cut``; nothing to choose but the training."""

    def recipe(
        epochs: int = at.protocol.epochs, seed: int = 0, data_root: Path | None = None, download: bool = False
    ) -> Run:
        return at.run(method, None, epochs, seed, data_root, download, run_options={"partition": cut})

    recipe.__name__ = name
    recipe.__doc__ = title
    return at.named(recipe)
