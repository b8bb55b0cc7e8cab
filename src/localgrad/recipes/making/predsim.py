"""Recipes of PredSim: block-wise in AugLocal's comparison, layer-wise as in its own paper."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from localgrad.backbones.vgg_layers import Nonlinearity
from localgrad.data import Augment, ClassesPerBatch
from localgrad.methods import AugLocal, Backprop, PredSim
from localgrad.methods.predsim import LocalLoss
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Adam, Run


def predsim(at: Setting) -> Recipe:
    """PredSim block-wise, as in AugLocal's comparison."""

    def predsim(
        loss: LocalLoss = "predsim",
        beta: float = 0.99,
        match_depth: int | None = None,
        aux_pool: int = 1,
        modules: int = at.modules,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """PredSim, linear classifiers and similarity matching per block.

        Args:
            loss: what a unit learns from
            beta: the share of similarity matching
            match_depth: enlarge the heads to the cost of AugLocal's of this depth
            aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
            modules: the papers' K
        """
        match = None if match_depth is None else AugLocal(depth=match_depth)
        method = PredSim(loss, beta, framework="blockwise", match=match, aux_pool=aux_pool)
        return at.run(method, modules, epochs, seed, data_root, download)

    return at.named(predsim)


@final
@dataclass(frozen=True)
class Layerwise:
    """What PredSim's own experiments set per data set and network (methods.md 4; where it says nothing, released code).

    ``augment`` is the augmentation without cutout. ``dropout`` by width factor; widths between take the next smaller
    one's. ``wide_lr`` is the learning rate of networks wider than 1, ``lr`` that of the others. ``max_features`` bounds
    the local classifiers of networks of width 1, None: 4096. ``cutout`` is the square's side where cutout is switched
    on, ``cutout_dropout`` then the dropout. ``few_classes``: batches of so many classes in the first half of a training
    with similarity matching. ``data`` are further options of the data spec.
    """

    augment: Augment
    dropout: dict[float, float]
    lr: float = 5e-4
    wide_lr: float = 3e-4
    max_features: int | None = None
    cutout: int = 16
    cutout_dropout: float | None = None
    few_classes: int | None = None
    data: tuple[tuple[str, Any], ...] = ()

    def options(self, feat_mult: float, cutout: bool, similar: bool, epochs: int) -> dict[str, dict[str, Any]]:
        """Options of the data spec and of the network, and settings of the Run."""
        dropout = max((width, rate) for width, rate in self.dropout.items() if width <= max(feat_mult, 1))[1]
        if cutout and self.cutout_dropout is not None:
            dropout = self.cutout_dropout
        augment = replace(self.augment, cutout=self.cutout) if cutout else self.augment
        data: dict[str, Any] = {**dict(self.data), "augment": augment}
        if self.few_classes is not None and similar:
            data["classes_per_batch"] = ClassesPerBatch(self.few_classes, until_epoch=max(1, epochs // 2))
        return {
            "data": data,
            "network": {"dropout": dropout},
            "run": {"optimizer": Adam(lr=self.lr if feat_mult <= 1 else self.wide_lr)},
        }


def nonlinearity_of(loss: LocalLoss) -> Nonlinearity:
    """LeakyReLU with similarity matching, ReLU without; backpropagation has ReLU."""
    return "relu" if loss == "pred" else "leaky_relu"


def predsim_layers(at: Setting, own: Layerwise) -> Recipe:
    """PredSim layer by layer, as in its own paper."""

    def predsim(
        loss: LocalLoss = "predsim",
        beta: float = 0.99,
        feat_mult: float = 1,
        cutout: bool = False,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """PredSim, every layer with local losses of its own.

        Args:
            loss: what a layer learns from
            beta: the share of similarity matching
            feat_mult: factor on the channels of the convolutions
            cutout: set a square of every training image to the mean colour
        """
        options = own.options(feat_mult, cutout, loss != "pred", epochs)
        method = PredSim(loss, beta, own.max_features if feat_mult <= 1 and loss != "sim" else None)
        return at.run(
            method,
            None,
            epochs,
            seed,
            data_root,
            download,
            data_options=options["data"],
            run_options=options["run"],
            feat_mult=feat_mult,
            nonlinearity=nonlinearity_of(loss),
            **options["network"],
        )

    return at.named(predsim)


def backprop_layers(at: Setting, own: Layerwise) -> Recipe:
    """Backpropagation of PredSim's networks, under its protocol."""

    def backprop(
        feat_mult: float = 1,
        cutout: bool = False,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """End-to-end backpropagation under PredSim's protocol.

        Args:
            feat_mult: factor on the channels of the convolutions
            cutout: set a square of every training image to the mean colour
        """
        options = own.options(feat_mult, cutout, False, epochs)
        return at.run(
            Backprop(),
            None,
            epochs,
            seed,
            data_root,
            download,
            data_options=options["data"],
            run_options=options["run"],
            feat_mult=feat_mult,
            **options["network"],
        )

    return at.named(backprop)
