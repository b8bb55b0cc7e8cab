"""Recipes on scikit-learn's handwritten digits (8x8, 1797 images): no download, seconds on a laptop."""

from pathlib import Path

from localgrad.backbones import cifar_resnet
from localgrad.data import Digits, Views
from localgrad.losses import PairSimilarity
from localgrad.method import Method
from localgrad.methods import (
    DGL,
    DGSSL,
    GNDGL,
    MLAAN,
    AugLocal,
    Backprop,
    Checkpointing,
    InfoPro,
    PairSelection,
    PredSim,
)
from localgrad.methods.auglocal import Selection, Tail
from localgrad.methods.dgl import Head
from localgrad.methods.dgssl_selection import Difficulty
from localgrad.methods.infopro_lambdas import Lambdas, Task
from localgrad.methods.mlaan import Base
from localgrad.methods.predsim import LocalLoss
from localgrad.partition import equal_blocks
from localgrad.recipes.making.dgssl import pair_selection, thresholds_from
from localgrad.train import SGD, Adam, Constant, Cosine, Run


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
    aux_pool: int = 1,
    layers: int = 14,
    epochs: int = 16,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """DGL on the digits: a small classifier per unit.

    Args:
        modules: number of units; one per block by default
        head: the auxiliary network
        aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(DGL(head=head, aux_pool=aux_pool), modules, layers, epochs, seed)


def auglocal(
    depth: int = 3,
    tau: float = 0.5,
    selection: Selection = "uniform",
    tail: Tail = "joint",
    modules: int | None = None,
    aux_pool: int = 1,
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
        aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(AugLocal(depth, tau, selection, tail, aux_pool=aux_pool), modules, layers, epochs, seed)


def predsim(
    loss: LocalLoss = "predsim",
    modules: int | None = None,
    aux_pool: int = 1,
    layers: int = 14,
    epochs: int = 16,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """PredSim on the digits: linear classifiers and similarity matching per block.

    Args:
        loss: what a unit learns from
        modules: number of units; one per block by default
        aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(PredSim(loss, framework="blockwise", aux_pool=aux_pool), modules, layers, epochs, seed)


def infopro(
    loss: Task = "contrast",
    first: tuple[float, float] = (5.0, 0.5),
    last: tuple[float, float] = (0.5, 1.0),
    modules: int | None = None,
    aux_pool: int = 1,
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
        aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(InfoPro(loss, Lambdas(first, last), aux_pool=aux_pool), modules, layers, epochs, seed)


def gndgl(
    groups: int = 2,
    share_features: bool = True,
    diversity: bool = True,
    modules: int | None = None,
    aux_pool: int = 1,
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
        aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(GNDGL(groups, share_features, diversity, aux_pool=aux_pool), modules, layers, epochs, seed)


def mlaan(
    cascade: int = 3,
    leaps: bool = True,
    base: Base = "plain",
    modules: int | None = None,
    aux_pool: int = 1,
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
        aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and augmentation
        data_root: not needed: the digits come with scikit-learn
    """
    return _run(MLAAN(cascade, leaps, base, aux_pool=aux_pool), modules, layers, epochs, seed)


VIEWS = Views(scale=(0.5, 1.0), flip=0.0, saturation=0.0, hue=0.0, grayscale=0.0)
"""Windows, brightness and contrast: a mirrored digit is another one, and digits have no colour."""


def _contrastive(selection: PairSelection | None, modules: int, layers: int, epochs: int, seed: int) -> Run:
    return Run(
        backbone=cifar_resnet(layers, num_classes=10, image=(1, 8, 8)),
        method=DGSSL(hidden=128, out=64, selection=selection),
        partition=equal_blocks(modules),
        data=Digits(),
        optimizer=Adam(lr=1e-3, weight_decay=1e-6),
        schedule=Constant(),
        views=VIEWS,
        knn_every=1,
        linear_every=5,
        batch_size=256,
        drop_last=True,
        epochs=epochs,
        seed=seed,
    )


def simclr(layers: int = 14, epochs: int = 40, seed: int = 0, data_root: Path | None = None) -> Run:
    """SimCLR on the digits: contrastive learning without labels, end to end.

    Args:
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and views
        data_root: not needed: the digits come with scikit-learn
    """
    return _contrastive(None, 1, layers, epochs, seed)


def dgssl(modules: int = 4, layers: int = 14, epochs: int = 40, seed: int = 0, data_root: Path | None = None) -> Run:
    """DGSSL on the digits: SimCLR module by module.

    Args:
        modules: number of units, of nearly equal numbers of blocks
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and views
        data_root: not needed: the digits come with scikit-learn
    """
    return _contrastive(None, modules, layers, epochs, seed)


def dgssl_llm(
    modules: int = 4,
    ratio: float = 0.95,
    negative_ratio: float | None = None,
    difficulty: Difficulty = "increasing",
    negatives: bool = True,
    keep_positive: bool = True,
    calibration: Path | None = None,
    alphas: tuple[float, ...] = (),
    betas: tuple[float, ...] = (),
    similarity: PairSimilarity = "own",
    pretrained: Path | None = None,
    layers: int = 14,
    epochs: int = 40,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """DGSSL-LLM on the digits: DGSSL whose modules learn from easy pairs.

    Args:
        modules: number of units, of nearly equal numbers of blocks
        ratio: sample ratio, the share of pairs that the module before the last keeps; earlier ones its powers
        negative_ratio: the same for negative pairs; ratio by default
        difficulty: whether later modules get harder pairs, or easier ones
        negatives: select negative pairs too; false is positive pairs alone
        keep_positive: keep the positive in the denominator; false is algorithm 7 as printed
        calibration: file of `localgrad calibrate`; running quantiles without it
        alphas: thresholds of positive pairs instead, one per module
        betas: thresholds of negative pairs instead, one per module
        similarity: whose similarities are compared with the thresholds
        pretrained: folder of a SimCLR run, with similarity pretrained
        layers: depth of the CIFAR-style ResNet, 6n + 2
        epochs: passes over the 1437 training images
        seed: of weights, order and views
        data_root: not needed: the digits come with scikit-learn
    """
    thresholds = thresholds_from(calibration, alphas, betas)
    chosen = pair_selection(
        thresholds, ratio, negative_ratio, difficulty, negatives, keep_positive, similarity, pretrained
    )
    return _contrastive(chosen, modules, layers, epochs, seed)
