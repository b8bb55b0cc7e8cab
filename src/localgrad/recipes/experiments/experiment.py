"""Experiment: which recipe makes a figure of a paper's table; NotCovered: why none does."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, final

Verb = Literal["train", "cost", "compare", "evaluate"]
"""What gives the figure: training, the cost table, a comparison that measures time, or a test on other data."""

ENSEMBLE = "ensemble.layerwise"
LAST = "ensemble.last"
UNIT = "units.{}"


@final
@dataclass(frozen=True)
class Experiment:
    """A recipe and its keywords, without those that the recipe has by default.

    The figure is the network's test accuracy after the last epoch, ``top1`` or ``top5``, or 100 minus it; ``figure``
    names another one of the last epoch's ``test`` in metrics.jsonl: "ensemble.layerwise", "ensemble.last" (the heads of
    the last module), "units.0" (the own head of unit 0). ``note`` says where the paper leaves something open, and what
    is taken; ``usage`` where the command leaves the figure, and what else it needs. ``data`` is the other set on which
    the trained network is tested (``localgrad evaluate RUN --data``): the figure is then ``top1`` of
    ``transfer-DATA.json``.
    """

    recipe: str
    keywords: tuple[tuple[str, object], ...] = ()
    figure: str = ""
    note: str = ""
    verb: Verb = "train"
    data: str = ""
    usage: str = ""

    @property
    def notes(self) -> str:
        """What a reader of the command has to know."""
        return "; ".join(filter(None, [self.usage, self.note]))

    @property
    def command(self) -> str:
        """What to type; for a test on other data, the training and the test of its last epoch."""
        if self.verb == "evaluate":
            train = replace(self, verb="train").command
            return (
                f"{train} && {shlex.join(['localgrad', 'evaluate', f'runs/{self.recipe}-seed0', '--data', self.data])}"
            )
        words, keywords = ["localgrad", self.verb], dict(self.keywords)
        if self.verb == "cost":
            keywords.pop("epochs", None)
        if self.verb == "compare":
            # Times are those of a step: one epoch is enough.
            data, _, name = self.recipe.partition(".")
            words.append(f"{data}.backprop_{name.rpartition('_')[2]}")
            keywords["epochs"] = 1
        return shlex.join([*words, self.recipe, *options(keywords)])


@final
@dataclass(frozen=True)
class NotCovered:
    """No recipe makes the figure; ``reason`` says why."""

    reason: str


def options(keywords: Mapping[str, object]) -> list[str]:
    """Keywords as words of the command line."""
    return [word for name, value in keywords.items() for word in ("--" + name.replace("_", "-"), written(value))]


def written(value: object) -> str:
    """A keyword's value as the command line takes it."""
    if isinstance(value, tuple):
        return f"[{','.join(map(written, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def ran(recipe: str, figure: str = "", note: str = "", **keywords: object) -> Experiment:
    """An experiment of a recipe with keywords."""
    return Experiment(recipe, tuple(keywords.items()), figure, note)


DATASETS = {
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "SVHN": "svhn",
    "STL-10": "stl10",
    "ImageNet32": "imagenet32",
    "ImageNet": "imagenet",
    "MNIST": "mnist",
    "Fashion-MNIST": "fashion_mnist",
    "KMNIST": "kmnist",
    "SVHN(+extra)": "svhn",
}
"""Data sets as the tables call them, and the file of their recipes."""

NETWORKS = {
    "ResNet-32": "resnet32",
    "ResNet-110": "resnet110",
    "ResNet-34": "resnet34",
    "ResNet-101": "resnet101",
    "ResNet-152": "resnet152",
    "ResNeXt-101-32x8d": "resnext101",
    "DenseNet-BC-100-12": "densenet100",
    "VGG13": "vgg13",
    "VGG19": "vgg19",
    "MobileNetV2": "mobilenetv2",
    "EfficientNetB0": "efficientnet_b0",
    "RegNetX_400MF": "regnetx_400mf",
}
"""Networks as the tables call them, and as names of recipes end."""


def named(dataset: str, method: str, network: str) -> str:
    """``cifar10.dgl_resnet32`` for a data set and a network as the tables call them."""
    return f"{DATASETS[dataset]}.{method}_{NETWORKS[network]}"
