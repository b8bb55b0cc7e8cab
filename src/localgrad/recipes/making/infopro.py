"""Recipes of InfoPro."""

from pathlib import Path
from typing import Literal

from localgrad.errors import LocalgradError
from localgrad.methods import AugLocal, InfoPro
from localgrad.methods.infopro import Head
from localgrad.methods.infopro_lambdas import Balance, Lambdas, Task
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Run

Weights = Literal["infopro", "auglocal", "mlaan", "constant"]
"""Whose weights of the two losses; constant: 1 and 1 in every module, the released codes' when none are given."""

CONSTANT = Lambdas((1, 1), (1, 1))


def infopro(at: Setting, *, modules: int, dataset: str, source: Weights = "infopro", epochs: int = 160) -> Recipe:
    """InfoPro at a setting, ``epochs`` as in its own paper.

    ``source`` is "constant" for data sets and networks for which InfoPro published no schedule.
    """
    default_modules, default_source, default_epochs = modules, source, epochs

    def infopro(
        modules: int = default_modules,
        loss: Task = "contrast",
        split: Balance = "standard",
        source: Weights = default_source,
        first: tuple[float, float] | None = None,
        last: tuple[float, float] | None = None,
        head: Head = "1c2f",
        match_depth: int | None = None,
        aux_pool: int = 1,
        width: float = 1,
        epochs: int = default_epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """InfoPro, a task loss and a reconstruction of the image per unit.

        Args:
            modules: the papers' K
            loss: the task loss, supervised contrast or cross-entropy
            split: modules of equally many blocks, or of equal memory (InfoPro*)
            source: whose weights of the two losses; auglocal and mlaan compare InfoPro with loss softmax, mlaan also
                has cuts of its own; constant weighs both 1 everywhere
            first: weights of your own, reconstruction and task, of the first module: --first "[5,0.5]"
            last: the same of the last local module; those of the first by default
            head: the task's auxiliary network; "gndgl-1c2f" is the one of GN-DGL's comparison
            match_depth: widen the heads to the cost of AugLocal's of this depth
            aux_pool: 2 averages 2x2 features before an auxiliary network that reads maps larger than 8x8
            width: factor on all channels of the network
        """
        if last is not None and first is None:
            raise LocalgradError(
                f"InfoPro: last={last} are weights of the last local module: give those of the first too."
            )
        lambdas = CONSTANT if source == "constant" else None
        if first is not None:
            lambdas = Lambdas(first, first if last is None else last)
        match = None if match_depth is None else AugLocal(depth=match_depth)
        known = "infopro" if source == "constant" else source
        method = InfoPro(loss, lambdas, dataset, known, split, head, match=match, aux_pool=aux_pool)
        return at.run(method, modules, epochs, seed, data_root, download, width=width)

    return at.named(infopro)
