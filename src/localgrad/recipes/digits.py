"""Recipes on scikit-learn's handwritten digits (8x8, 1797 images): no download, seconds on a laptop."""

from pathlib import Path

from localgrad.backbones import cifar_resnet
from localgrad.data import Digits
from localgrad.method import Method
from localgrad.methods import DGL, AugLocal, Backprop, Checkpointing
from localgrad.methods.auglocal import Selection, Tail
from localgrad.methods.dgl import Head
from localgrad.train import SGD, Cosine, Run


def _run(method: Method, modules: int | None, layers: int, epochs: int, seed: int) -> Run:
    return Run(
        backbone=cifar_resnet(layers, num_classes=10, image=(1, 8, 8)),
        method=method,
        modules=modules,
        data=Digits(),
        optimizer=SGD(lr=0.1),
        schedule=Cosine(warmup_epochs=0, from_zero=True),
        batch_size=256,
        epochs=epochs,
        seed=seed,
    )


def backprop(layers: int = 14, epochs: int = 16, seed: int = 0, data_root: Path | None = None) -> Run:
    """End-to-end backpropagation on the digits.

    Args:
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(Backprop(), None, layers, epochs, seed)


def checkpointing(
    layers: int = 14, segments: int | None = None, epochs: int = 16, seed: int = 0, data_root: Path | None = None
) -> Run:
    """Backpropagation with recomputed activations on the digits: the memory baseline.

    Args:
        layers: depth of the CIFAR-style ResNet, 6n + 2
        segments: segments that are recomputed; the square root of the number of blocks by default
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(Checkpointing(segments), None, layers, epochs, seed)


def dgl(
    modules: int | None = None,
    head: Head = "mlp-sr",
    layers: int = 14,
    epochs: int = 16,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """DGL on the digits: a small classifier per unit.

    Args:
        modules: number of units; one per block by default
        head: the auxiliary network
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(DGL(head=head), modules, layers, epochs, seed)


def auglocal(
    depth: int = 3,
    tau: float = 0.5,
    selection: Selection = "uniform",
    tail: Tail = "joint",
    modules: int | None = None,
    layers: int = 14,
    epochs: int = 16,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """AugLocal on the digits: auxiliary networks made of later layers.

    Args:
        depth: the paper's d, layers of an auxiliary network with its classifier
        tau: slope of the pyramid; 0 switches it off
        selection: where the layers of an auxiliary network come from
        tail: whether the last `depth` modules train jointly
        modules: number of modules before the tail is joined; one per block by default
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(AugLocal(depth, tau, selection, tail), modules, layers, epochs, seed)
