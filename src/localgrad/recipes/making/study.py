"""Recipes of DGL's own experiments on CIFAR-10: its study of heads, asynchronous, greedy, and with ResNet-110.

They follow the released code: all weights start as PyTorch draws them, but the convolutions of ResNet-110.
"""

from collections.abc import Callable
from pathlib import Path

from localgrad.backbones import cifar_resnet, conv_vgg
from localgrad.data import CIFAR10, Augment
from localgrad.methods import DGL
from localgrad.methods.dgl import Head
from localgrad.partition import papers
from localgrad.recipes.making.protocols import DGL_QUEUED, DGL_RESNET110, DGL_STUDY, Protocol
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.spec import Backbone
from localgrad.train import GreedySpec, QueuedSpec, Run
from localgrad.train.runtimes import RuntimeSpec

DATA = {
    "augment": Augment(4, "zero", flip=True),
    "mean": (0.4914, 0.4822, 0.4465),
    "std": (0.2023, 0.1994, 0.2010),
}
"""DGL's own preparation of CIFAR-10 (methods.md 0.1)."""

QUEUE = QueuedSpec(buffer=30, slowdown=((3, 1 / (1 - 0.1)),))
"""The example of the released code: 30 batches per buffer, the fourth layer slower by noise 0.1."""


LEAST_PROBABILITY = 1e-5
"""Where the asynchronous code stops the loss of a sample (methods.md 3)."""


def _network(channels: tuple[int, ...], stages: tuple[int, ...], mlp_hidden: int) -> Callable[..., Backbone]:
    def build(*, num_classes: int, image: tuple[int, int, int]) -> Backbone:
        return conv_vgg(channels, stages, num_classes, image=image, mlp_hidden=mlp_hidden, weights="pytorch")

    return build


def _setting(
    module: str, network: str, channels: tuple[int, ...], stages: tuple[int, ...], mlp_hidden: int, protocol: Protocol
) -> Setting:
    layers = [width for width, count in zip(channels, stages, strict=True) for _ in range(count)]
    label = f"{len(layers)} layers ({', '.join(map(str, layers))})"
    build = _network(channels, stages, mlp_hidden)
    return Setting(module, CIFAR10, "CIFAR-10", build, network, label, len(layers), protocol)


def study_setting(module: str, network: str, channels: tuple[int, ...], stages: tuple[int, ...]) -> Setting:
    """Convolutions on CIFAR-10 as in DGL's study: ``stages[i]`` of ``channels[i]``, a module each.

    The last one ends in the multi-layer perceptron of the other heads, with two hidden layers.
    """
    return _setting(module, network, channels, stages, 2, DGL_STUDY)


def queued_setting(module: str, network: str, channels: tuple[int, ...], stages: tuple[int, ...]) -> Setting:
    """The same as in DGL's asynchronous experiments, where the last head has three hidden layers as all others.

    Their convolutions have no bias; before BatchNorm it changes nothing.
    """
    return _setting(module, network, channels, stages, 3, DGL_QUEUED)


def resnet110_setting(module: str) -> Setting:
    """ResNet-110 with option-A shortcuts on CIFAR-10, as in DGL's comparison."""

    def build(*, num_classes: int, image: tuple[int, int, int]) -> Backbone:
        return cifar_resnet(110, num_classes, image=image, shortcut="A", aux_weights="pytorch")

    label = "ResNet-110 with option-A shortcuts"
    return Setting(module, CIFAR10, "CIFAR-10", build, "resnet110_option_a", label, 2, DGL_RESNET110)


def study_dgl(at: Setting, default: Head = "mlp-sr") -> Recipe:
    """DGL, all modules on every batch."""
    run = _runner(at, "sequential")

    def dgl(
        modules: int = at.modules,
        head: Head = default,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """DGL under the protocol of its own study.

        The last module ends in the network's own head, two hidden layers and a linear one on 2x2 positions.

        Args:
            modules: the paper's K, one per layer by default
            head: the auxiliary network
        """
        return run(modules, head, epochs, seed, data_root, download)

    return at.named(dgl)


def study_queued(at: Setting) -> Recipe:
    """Asynchronous DGL."""
    run = _runner(at, QUEUE)

    def queued_dgl(
        modules: int = at.modules,
        head: Head = "mlp",
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """Asynchronous DGL, 30 batches per buffer, unit 3 slower by 1.11, as in the released code's example.

        Every unit makes 51 epochs of its own and its rate falls after 17, 32 and 47, as the released code counts its
        50 epochs and steps of 15; momentum is forgotten there, and the units take turns in their first order again. The
        short last batch is left out. --buffer, --slow-unit, --slowdown and --max-reuse change the queues.

        Args:
            modules: the paper's K, one per layer by default
            head: the auxiliary network
        """
        return run(modules, head, epochs, seed, data_root, download)

    return at.named(queued_dgl)


def comparison(at: Setting) -> Recipe:
    """DGL on a network cut as its own code cuts it."""

    def dgl(
        head: Head = "mlp-sr",
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """DGL in two modules, the first of 27 blocks, as in its comparison with delayed gradients (DDG).

        Args:
            head: the auxiliary network
        """
        options = {"partition": papers(2, "dgl")}
        method = DGL(head=head)
        return at.run(method, None, epochs, seed, data_root, download, data_options=DATA, run_options=options)

    return at.named(dgl)


def study_greedy(at: Setting) -> Recipe:
    """Sequential greedy training."""
    run = _runner(at, GreedySpec())

    def greedy_dgl(
        modules: int = at.modules,
        head: Head = "mlp-sr",
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """Sequential greedy training, one module after the other, those before it frozen.

        Args:
            modules: the paper's K, one per layer by default
            head: the auxiliary network
        """
        return run(modules, head, epochs, seed, data_root, download)

    return at.named(greedy_dgl)


def _runner(at: Setting, runtime: RuntimeSpec) -> Recipe:
    queued = isinstance(runtime, QueuedSpec)

    def run(modules: int, head: Head, epochs: int, seed: int, data_root: Path | None, download: bool) -> Run:
        return at.run(
            DGL(head=head, least_probability=LEAST_PROBABILITY if queued else 0.0),
            modules,
            epochs,
            seed,
            data_root,
            download,
            data_options=DATA,
            run_options={"runtime": runtime, "drop_last": queued},
        )

    return run
