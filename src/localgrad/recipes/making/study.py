"""Recipes of DGL's small CIFAR networks: its study of heads, its asynchronous runs, one module after the other."""

from collections.abc import Callable
from pathlib import Path

from localgrad.backbones import conv_vgg
from localgrad.data import CIFAR10, Augment
from localgrad.methods import DGL
from localgrad.methods.dgl import Head
from localgrad.recipes.making.protocols import DGL_STUDY
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

QUEUE = QueuedSpec(buffer=30, slowdown=((3, 1 / (1 - 0.1)),), reset_optimizer=True)
"""The example of the released code: 30 batches per buffer, the fourth layer slower by noise 0.1."""


def _network(channels: tuple[int, ...], stages: tuple[int, ...]) -> Callable[..., Backbone]:
    def build(*, num_classes: int, image: tuple[int, int, int]) -> Backbone:
        return conv_vgg(channels, stages, num_classes, image=image)

    return build


def study_setting(module: str, network: str, label: str, channels: tuple[int, ...], stages: tuple[int, ...]) -> Setting:
    """Convolutions on CIFAR-10 as in DGL's study: ``stages[i]`` of ``channels[i]``, a module each."""
    return Setting(module, CIFAR10, "CIFAR-10", _network(channels, stages), network, label, sum(stages), DGL_STUDY)


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

        The last module ends in pooling and one linear layer; the released code has two hidden layers there.

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

        Momentum is forgotten when the learning rate drops; --buffer, --slow-unit, --slowdown and --max-reuse change the
        queues.

        Args:
            modules: the paper's K, one per layer by default
            head: the auxiliary network
        """
        return run(modules, head, epochs, seed, data_root, download)

    return at.named(queued_dgl)


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
    def run(modules: int, head: Head, epochs: int, seed: int, data_root: Path | None, download: bool) -> Run:
        return at.run(
            DGL(head=head),
            modules,
            epochs,
            seed,
            data_root,
            download,
            data_options=DATA,
            run_options={"runtime": runtime},
        )

    return run
