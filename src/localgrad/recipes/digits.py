"""Recipes on scikit-learn's handwritten digits (8x8, 1797 images): no download, seconds on a laptop."""

from pathlib import Path

from localgrad.backbones import cifar_resnet
from localgrad.data import Digits
from localgrad.method import Method
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, Backprop, Checkpointing, InfoPro, PredSim
from localgrad.methods.auglocal import Selection, Tail
from localgrad.methods.dgl import Head
from localgrad.methods.infopro_lambdas import Lambdas, Task
from localgrad.methods.mlaan import Base
from localgrad.methods.predsim import LocalLoss
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


def predsim(
    loss: LocalLoss = "predsim",
    modules: int | None = None,
    layers: int = 14,
    epochs: int = 16,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """PredSim on the digits: linear classifiers and similarity matching per block.

    Args:
        loss: what a unit learns from
        modules: number of units; one per block by default
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(PredSim(loss, framework="blockwise"), modules, layers, epochs, seed)


def infopro(
    loss: Task = "contrast",
    first: tuple[float, float] = (5.0, 0.5),
    last: tuple[float, float] = (0.5, 1.0),
    modules: int | None = None,
    layers: int = 14,
    epochs: int = 16,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """InfoPro on the digits: a task loss and a reconstruction of the image per unit.

    Args:
        loss: the task loss, supervised contrast or cross-entropy
        first: weights of the first module, reconstruction and task, "[5,0.5]"; no paper has this data set
        last: the same of the last local module
        modules: number of units; one per block by default
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(InfoPro(loss, Lambdas(first, last)), modules, layers, epochs, seed)


def gndgl(
    groups: int = 2,
    share_features: bool = True,
    diversity: bool = True,
    modules: int | None = None,
    layers: int = 14,
    epochs: int = 16,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """GN-DGL on the digits: neuron groups with losses of their own.

    Args:
        groups: neuron groups per module
        share_features: heads also see the other groups' channels, detached
        diversity: penalise wrong classes that groups agree on
        modules: number of grouped modules, the classifier is one more; one per block by default
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(GNDGL(groups, share_features, diversity), modules, layers, epochs, seed)


def mlaan(
    cascade: int = 3,
    leaps: bool = True,
    base: Base = "plain",
    modules: int | None = None,
    layers: int = 14,
    epochs: int = 16,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """MLAAN on the digits: losses over several modules and through copies of later blocks.

    Args:
        cascade: modules that a loss trains together; 1 is LAM alone
        leaps: copies of later blocks before the heads; False is MLM alone
        base: what the losses look through
        modules: number of units; one per block by default
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(MLAAN(cascade, leaps, base), modules, layers, epochs, seed)
