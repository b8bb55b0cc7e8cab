"""Recipes of DGL and AugLocal."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from localgrad.methods import DGL, AugLocal
from localgrad.methods.auglocal import Selection, Tail
from localgrad.methods.dgl import Head
from localgrad.methods.reconstruction import Reconstruction
from localgrad.partition import papers
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Run


def dgl(at: Setting) -> Recipe:
    """DGL at a setting."""

    def dgl(
        modules: int = at.modules,
        head: Head = "mlp-sr",
        match_depth: int | None = None,
        split: Literal["infopro", "mlaan"] = "infopro",
        aux_pool: int = 1,
        width: float = 1,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """DGL, a small classifier per unit.

        Args:
            modules: the papers' K
            head: the auxiliary network; "auglocal" is the one of AugLocal's comparison, "1c2f" that of InfoPro's
            match_depth: widen "3x3" and XcYf heads to the cost of AugLocal's of this depth
            split: whose cut into modules; mlaan merges the first layer into the first block, but its K counts it
            aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
            width: factor on all channels of the network
        """
        match = None if match_depth is None else AugLocal(depth=match_depth)
        method, options = DGL(head=head, match=match, aux_pool=aux_pool), dict[str, Any]()
        if split == "mlaan":
            options["partition"] = papers(modules, "mlaan")
        return at.run(
            method,
            None if options else modules,
            epochs,
            seed,
            data_root,
            download,
            run_options=options,
            width=width,
        )

    return at.named(dgl)


def auglocal(at: Setting, defaults: AugLocal | None = None) -> Recipe:
    """AugLocal at a setting, with the ``defaults`` of its experiments there."""
    own = defaults or AugLocal()
    dataset = at.module.rpartition(".")[2]

    def auglocal(
        depth: int = own.depth,
        tau: float = own.tau,
        selection: Selection = "uniform",
        stage_selection: tuple[Selection, ...] = (),
        tail: Tail = own.tail,
        infopro: bool = False,
        aux_pool: int = own.aux_pool,
        modules: int = at.modules,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """AugLocal, auxiliary networks made of later layers.

        Args:
            depth: the paper's d, layers of an auxiliary network with its classifier
            tau: slope of the pyramid; 0 switches it off
            selection: where the layers of an auxiliary network come from
            stage_selection: one rule per stage of the network instead: "[repetitive,repetitive,uniform]"
            tail: whether the last `depth` modules train jointly
            infopro: add InfoPro's reconstruction to every local unit, where its weights are published
            aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
            modules: the papers' K, before the tail is joined
        """
        method = replace(
            own,
            depth=depth,
            tau=tau,
            selection=stage_selection or selection,
            tail=tail,
            reconstruction=Reconstruction(dataset=dataset) if infopro else None,
            aux_pool=aux_pool,
        )
        return at.run(method, modules, epochs, seed, data_root, download)

    return at.named(auglocal)
