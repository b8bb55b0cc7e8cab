"""The CIFAR ResNet recipes of the InfoPro family of papers, for any data set (methods.md 0 and 0.1).

SGD with Nesterov momentum and weight decay 1e-4 on everything, cosine with a 10-epoch ramp, 400 epochs as in AugLocal's
comparison. Each data set's file says what differs.
"""

from collections.abc import Callable
from pathlib import Path

from localgrad.backbones import cifar_resnet
from localgrad.data import Data
from localgrad.method import Method
from localgrad.methods import DGL, AugLocal, Backprop, Checkpointing
from localgrad.methods.auglocal import Selection, Tail
from localgrad.methods.dgl import Head
from localgrad.train import SGD, Cosine, Run


def resnet_recipes(
    module: str, data: Callable[..., Data], name: str, *, layers: int, modules: int, batch: int, lr: float
) -> tuple[Callable[..., Run], ...]:
    """Recipes (backprop, checkpointing, dgl, auglocal) of ResNet-``layers`` on one data set, for the file ``module``.

    ``modules`` is the papers' K for this depth: one module per block.
    """
    default_modules = modules

    def run(method: Method, modules: int | None, epochs: int, seed: int, data_root: Path | None, download: bool) -> Run:
        spec = data(root=data_root, download=download)
        assert spec.image is not None and spec.num_classes is not None
        return Run(
            backbone=cifar_resnet(layers, num_classes=spec.num_classes, image=spec.image),
            method=method,
            modules=modules,
            data=spec,
            optimizer=SGD(lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4),
            schedule=Cosine(warmup_epochs=10, warmup_lr=0.01),
            batch_size=batch,
            epochs=epochs,
            seed=seed,
        )

    def backprop(epochs: int = 400, seed: int = 0, data_root: Path | None = None, download: bool = False) -> Run:
        """End-to-end backpropagation.

        Args:
            epochs: passes over the training images
            seed: of weights, order and augmentation
            data_root: folder with the published files; ./data by default
            download: let torchvision fetch and verify what is not there
        """
        return run(Backprop(), None, epochs, seed, data_root, download)

    def checkpointing(
        segments: int | None = None,
        epochs: int = 400,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """Backpropagation with recomputed activations, the memory baseline.

        Args:
            segments: segments that are recomputed; the square root of the number of blocks by default
            epochs: passes over the training images
            seed: of weights, order and augmentation
            data_root: folder with the published files; ./data by default
            download: let torchvision fetch and verify what is not there
        """
        return run(Checkpointing(segments), None, epochs, seed, data_root, download)

    def dgl(
        modules: int = default_modules,
        head: Head = "mlp-sr",
        epochs: int = 400,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """DGL, a small classifier per unit.

        Args:
            modules: the papers' K
            head: the auxiliary network; "auglocal" is the one of AugLocal's comparison
            epochs: passes over the training images
            seed: of weights, order and augmentation
            data_root: folder with the published files; ./data by default
            download: let torchvision fetch and verify what is not there
        """
        return run(DGL(head=head), modules, epochs, seed, data_root, download)

    def auglocal(
        depth: int = 6,
        tau: float = 0.5,
        selection: Selection = "uniform",
        tail: Tail = "joint",
        modules: int = default_modules,
        epochs: int = 400,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """AugLocal, auxiliary networks made of later layers.

        Args:
            depth: the paper's d, layers of an auxiliary network with its classifier
            tau: slope of the pyramid; 0 switches it off
            selection: where the layers of an auxiliary network come from
            tail: whether the last `depth` modules train jointly
            modules: the papers' K, before the tail is joined
            epochs: passes over the training images
            seed: of weights, order and augmentation
            data_root: folder with the published files; ./data by default
            download: let torchvision fetch and verify what is not there
        """
        return run(AugLocal(depth, tau, selection, tail), modules, epochs, seed, data_root, download)

    recipes = (backprop, checkpointing, dgl, auglocal)
    for recipe in recipes:
        recipe.__module__ = module
        recipe.__name__ = recipe.__qualname__ = f"{recipe.__name__}_resnet{layers}"
        first, _, rest = (recipe.__doc__ or "").partition("\n")
        recipe.__doc__ = f"{first.rstrip('.')}: ResNet-{layers} on {name}.\n{rest}"
    return recipes
