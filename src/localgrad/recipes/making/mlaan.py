"""Recipes of MLAAN."""

from pathlib import Path

from localgrad.methods import DGL, MLAAN
from localgrad.methods.mlaan import Base
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Run


def mlaan(at: Setting) -> Recipe:
    """MLAAN at a setting."""

    def mlaan(
        modules: int = at.modules,
        cascade: int = 3,
        leaps: bool = True,
        base: Base = "plain",
        ema_rate: float = 0.995,
        aux_pool: int = 1,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """MLAAN, losses over several modules and through copies of later blocks.

        Args:
            modules: the paper's K, which counts the stem
            cascade: modules that a loss trains together; 1 is LAM alone
            leaps: copies of later blocks before the heads; False is MLM alone
            base: what the losses look through
            ema_rate: share of itself that an averaged copy keeps in every step
            aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
        """
        method = MLAAN(cascade, leaps, base, ema_rate=ema_rate, dgl=DGL(), aux_pool=aux_pool)
        return at.run(method, modules, epochs, seed, data_root, download)

    return at.named(mlaan)
