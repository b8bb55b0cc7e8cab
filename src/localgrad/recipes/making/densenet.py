"""Recipes of InfoPro's DenseNet, of which the released code has neither the modules nor the weights of the losses.

Modules are of equally many blocks; InfoPro's weights are those of ResNet-110 on CIFAR-10 in as many modules.
"""

from pathlib import Path

from localgrad.backbones import densenet_bc_100_12
from localgrad.data import CIFAR10
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, InfoPro
from localgrad.methods.dgl import Head
from localgrad.methods.infopro_lambdas import SCHEDULES, Lambdas, Task, published
from localgrad.partition import equal_blocks
from localgrad.recipes.making.protocols import LARGE_BATCH
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Run

MODULES = 16
"""The most that the paper cuts it into."""

EPOCHS = 160


def densenet_setting(module: str) -> Setting:
    """DenseNet-BC-100-12 on CIFAR-10."""
    return Setting(
        module, CIFAR10, "CIFAR-10", densenet_bc_100_12, "densenet100", "DenseNet-BC-100-12", MODULES, LARGE_BATCH
    )


def densenet_dgl(at: Setting) -> Recipe:
    """DGL on modules of equally many blocks."""

    def dgl(
        modules: int = at.modules,
        head: Head = "1c2f",
        width: float = 1,
        epochs: int = EPOCHS,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """DGL, a small classifier per unit.

        Args:
            modules: the paper's K, modules of equally many layers
            head: the auxiliary network; "0c1f" is the one of Greedy SL
            width: factor on the growth rate and so on all channels
        """
        cut = {"partition": equal_blocks(modules)}
        return at.run(DGL(head=head), modules, epochs, seed, data_root, download, run_options=cut, width=width)

    return at.named(dgl)


def densenet_infopro(at: Setting) -> Recipe:
    """InfoPro on modules of equally many blocks."""

    def infopro(
        modules: int = at.modules,
        loss: Task = "contrast",
        first: tuple[float, float] | None = None,
        last: tuple[float, float] | None = None,
        width: float = 1,
        epochs: int = EPOCHS,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """InfoPro, a task loss and a reconstruction of the image per unit.

        Args:
            modules: the paper's K, modules of equally many layers
            loss: the task loss, supervised contrast or cross-entropy
            first: weights, reconstruction and task, of the first module: --first "[5,0.5]"; by default those that the
                paper has for ResNet-110 in 2, 4, 8 or 16 modules
            last: the same of the last local module; those of the first by default
            width: factor on the growth rate and so on all channels
        """
        if last is not None and first is None:
            raise LocalgradError(
                f"InfoPro: last={last} are weights of the last local module: give those of the first too."
            )
        if first is not None:
            lambdas = Lambdas(first, first if last is None else last)
        else:
            lambdas = SCHEDULES[published("infopro", "contrast", "cifar10", "resnet110", "standard", modules)]
        cut = {"partition": equal_blocks(modules)}
        return at.run(InfoPro(loss, lambdas), modules, epochs, seed, data_root, download, run_options=cut, width=width)

    return at.named(infopro)
