"""Recipes of GN-DGL."""

from pathlib import Path
from typing import Any

from localgrad.methods import GNDGL, PredSim
from localgrad.methods.gndgl import FinalHead
from localgrad.methods.predsim import LocalLoss
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Run


def gndgl(at: Setting) -> Recipe:
    """Multi-layer GN-DGL at a setting."""

    def gndgl(
        modules: int = 2,
        groups: int = 2,
        share_features: bool = True,
        diversity: bool = True,
        detach_ratio: float = 1.0,
        final_head: FinalHead = "linear",
        extra_head: bool = False,
        fuse_groups: bool = False,
        aux_pool: int = 1,
        width: float = 1,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """GN-DGL, neuron groups with losses of their own.

        Args:
            modules: the papers' K, grouped modules; the classifier is one more
            groups: the papers' G, neuron groups per module; 1 is the papers' DGL
            share_features: heads also see the other groups' channels, detached (stop-gradient GN-DGL)
            diversity: penalise wrong classes that groups agree on
            detach_ratio: share of the other groups' channels that heads see
            final_head: the network's classifier
            extra_head: with one group, a head behind the last module and a classifier of its own (released code)
            fuse_groups: run the groups of a module as grouped convolutions
            aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
            width: factor on all channels of the network; 2 is ResNet-32x2
        """
        method = GNDGL(
            groups,
            share_features,
            diversity,
            detach_ratio,
            final_head=final_head,
            extra_head=extra_head,
            fuse_groups=fuse_groups,
            aux_pool=aux_pool,
        )
        return at.run(method, modules, epochs, seed, data_root, download, width=width)

    return at.named(gndgl)


def single_thread(at: Setting) -> Recipe:
    """GN-DGL's baseline of independent thin networks at a setting."""

    def single_thread(
        groups: int = 2,
        width: float = 1,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """GN-DGL's single thread, a network of 1/groups of the channels (several at once, sharing nothing).

        Args:
            groups: how many thin networks; the paper's figure is the accuracy of one of them
            width: factor on all channels of the network
        """
        method = GNDGL(groups, share_features=False, diversity=False)
        return at.run(method, 1, epochs, seed, data_root, download, width=width)

    return at.named(single_thread)


def gndgl_layers(at: Setting, data: dict[str, Any]) -> Recipe:
    """Layer-wise GN-DGL at a setting; ``data`` are options of the data spec."""

    def gndgl(
        groups: int = 6,
        share_features: bool = False,
        diversity: bool = False,
        loss: LocalLoss = "predsim",
        fuse_groups: bool = False,
        feat_mult: float = 1,
        dropout: float = 0.01,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """GN-DGL layer by layer, the first three layers cut into groups, 2 x groups and groups.

        Args:
            groups: the paper's G; 1 is its DGL, PredSim on every layer
            share_features: losses also see the other groups' channels, detached (stop-gradient GN-DGL)
            diversity: penalise wrong classes that groups agree on
            loss: what a group learns from
            fuse_groups: run the groups of a layer as grouped convolutions
            feat_mult: factor on the channels of the convolutions
            dropout: share of the features that are dropped between layers
        """
        signals = PredSim(loss)
        method = GNDGL(
            groups,
            share_features and groups > 1,
            diversity and groups > 1,
            layerwise=True,
            signals=signals,
            fuse_groups=fuse_groups,
        )
        nonlinearity = "relu" if loss == "pred" else "leaky_relu"
        return at.run(
            method,
            None,
            epochs,
            seed,
            data_root,
            download,
            data_options=data,
            feat_mult=feat_mult,
            dropout=dropout,
            nonlinearity=nonlinearity,
        )

    return at.named(gndgl)
