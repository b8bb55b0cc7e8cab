"""Recipes of PredSim's multi-layer perceptrons: 3 hidden layers, each of them local (released code)."""

from pathlib import Path

from localgrad.methods import Backprop, PredSim
from localgrad.methods.predsim import LocalLoss
from localgrad.recipes.making.predsim import Layerwise, nonlinearity_of
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Run

ON_GREY = 1024
"""Features of a hidden layer on 28x28 images."""

ON_CIFAR = 3000
"""The same on CIFAR-10 and CIFAR-100."""


def predsim_perceptron(at: Setting, own: Layerwise, features: int) -> Recipe:
    """PredSim on a multi-layer perceptron whose hidden layers have so many features."""

    def predsim(
        loss: LocalLoss = "predsim",
        beta: float = 0.99,
        hidden: int = features,
        layers: int = 3,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """PredSim, every hidden layer with local losses of its own.

        Args:
            loss: what a layer learns from
            beta: the share of similarity matching
            hidden: features of every hidden layer
            layers: number of hidden layers
        """
        options = own.options(1, False, loss != "pred", epochs)
        return at.run(
            PredSim(loss, beta),
            None,
            epochs,
            seed,
            data_root,
            download,
            data_options=options["data"],
            run_options=options["run"],
            widths=(hidden,) * layers,
            nonlinearity=nonlinearity_of(loss),
            **options["network"],
        )

    return at.named(predsim)


def backprop_perceptron(at: Setting, own: Layerwise, features: int) -> Recipe:
    """Backpropagation of PredSim's multi-layer perceptron, under its protocol."""

    def backprop(
        hidden: int = features,
        layers: int = 3,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """End-to-end backpropagation under PredSim's protocol.

        Args:
            hidden: features of every hidden layer
            layers: number of hidden layers
        """
        options = own.options(1, False, False, epochs)
        return at.run(
            Backprop(),
            None,
            epochs,
            seed,
            data_root,
            download,
            data_options=options["data"],
            run_options=options["run"],
            widths=(hidden,) * layers,
            **options["network"],
        )

    return at.named(backprop)
