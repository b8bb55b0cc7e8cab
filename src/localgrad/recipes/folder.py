"""Recipes on any image folder: DATA_ROOT/train and DATA_ROOT/test (or val), one folder per class."""

from pathlib import Path

from localgrad.backbones import cifar_resnet
from localgrad.data import ImageFolder
from localgrad.data.errors import extra
from localgrad.data.scan import scan
from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.methods import DGL, AugLocal, Backprop
from localgrad.methods.dgl import Head
from localgrad.train import SGD, Cosine, Run


def _run(
    method: Method, modules: int | None, data_root: Path, image: int | None, layers: int, epochs: int, seed: int
) -> Run:
    data = ImageFolder(data_root, image=image)
    problems = data.problems()
    if problems or data.num_classes is None:
        raise LocalgradError("\n".join(problems))
    return Run(
        backbone=cifar_resnet(layers, num_classes=data.num_classes, image=data.image or _first_size(data_root)),
        method=method,
        modules=modules,
        data=data,
        optimizer=SGD(lr=0.1),
        schedule=Cosine(warmup_epochs=0, from_zero=True),
        batch_size=128,
        epochs=epochs,
        seed=seed,
    )


def _first_size(data_root: Path) -> tuple[int, int, int]:
    """Shape of the first training image, as RGB; reading the folder refuses images of another size."""
    listing, _ = scan(data_root)
    assert listing is not None
    first = data_root / listing.train[0].path
    try:
        with extra("PIL.Image", "reading an image folder").open(first) as image:
            return 3, image.height, image.width
    except OSError as error:
        raise LocalgradError(f"{first} cannot be read as an image: {error}.") from error


def backprop(data_root: Path, image: int | None = None, layers: int = 32, epochs: int = 30, seed: int = 0) -> Run:
    """End-to-end backpropagation of a CIFAR-style ResNet on an image folder.

    Args:
        data_root: folder with train/ and test/ (or val/), one folder per class in each
        image: side to resize and crop to; not needed when all images have one size
        layers: depth of the network, 6n + 2
        epochs: passes over the training images
        seed: of weights, order and augmentation
    """
    return _run(Backprop(), None, data_root, image, layers, epochs, seed)


def dgl(
    data_root: Path,
    image: int | None = None,
    modules: int | None = None,
    head: Head = "mlp-sr",
    aux_pool: int = 1,
    layers: int = 32,
    epochs: int = 30,
    seed: int = 0,
) -> Run:
    """DGL on an image folder: a small classifier per unit.

    Args:
        data_root: folder with train/ and test/ (or val/), one folder per class in each
        image: side to resize and crop to; not needed when all images have one size
        modules: number of units; one per block by default
        head: the auxiliary network
        aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        layers: depth of the network, 6n + 2
        epochs: passes over the training images
        seed: of weights, order and augmentation
    """
    return _run(DGL(head=head, aux_pool=aux_pool), modules, data_root, image, layers, epochs, seed)


def auglocal(
    data_root: Path,
    image: int | None = None,
    depth: int = 6,
    tau: float = 0.5,
    modules: int | None = None,
    aux_pool: int = 1,
    layers: int = 32,
    epochs: int = 30,
    seed: int = 0,
) -> Run:
    """AugLocal on an image folder: auxiliary networks made of later layers.

    Args:
        data_root: folder with train/ and test/ (or val/), one folder per class in each
        image: side to resize and crop to; not needed when all images have one size
        depth: the paper's d, layers of an auxiliary network with its classifier
        tau: slope of the pyramid; 0 switches it off
        modules: number of modules before the tail is joined; one per block by default
        aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        layers: depth of the network, 6n + 2
        epochs: passes over the training images
        seed: of weights, order and augmentation
    """
    return _run(AugLocal(depth, tau, aux_pool=aux_pool), modules, data_root, image, layers, epochs, seed)
