"""Setting: one network on one data set under one protocol, from which the functions beside this file make recipes."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from localgrad.data import Data
from localgrad.method import Method
from localgrad.recipes.making.protocols import Protocol
from localgrad.spec import Backbone
from localgrad.train import Run

Recipe = Callable[..., Run]

COMMON = """\
    epochs: passes over the training images
    seed: of weights, order and augmentation
    data_root: folder with the published files; {root} by default
    download: let torchvision fetch and verify what is not there
"""


Network = Callable[..., Backbone]
"""A function of ``localgrad.backbones``: takes num_classes, image, and options of its own by name."""


@final
@dataclass(frozen=True)
class Setting:
    """A network on a data set: ``module`` is the file of the recipes, ``network`` the part of their names.

    ``label`` and ``data_label`` are the names in texts. ``modules`` is the papers' K: one module per block.
    ``downloads`` False: nobody may fetch the data set, so its spec takes no ``download``. ``root`` is where the files
    are by default; None: the data spec's own default, ./data.
    """

    module: str
    data: Callable[..., Data]
    data_label: str
    build: Network
    network: str
    label: str
    modules: int
    protocol: Protocol
    downloads: bool = True
    root: Path | None = None

    def under(self, protocol: Protocol) -> "Setting":
        """The same under another protocol."""
        return replace(self, protocol=protocol)

    def run(
        self,
        method: Method,
        modules: int | None,
        epochs: int,
        seed: int,
        data_root: Path | None,
        download: bool,
        *,
        data_options: dict[str, Any] | None = None,
        run_options: dict[str, Any] | None = None,
        **network_options: Any,
    ) -> Run:
        """The Run of ``method``; the options go to the data spec, the Run and the network."""
        fetch = {"download": download} if self.downloads else {}
        spec = self.data(root=data_root or self.root, **fetch, **(data_options or {}))
        assert spec.image is not None and spec.num_classes is not None
        settings = {
            "optimizer": self.protocol.optimizer,
            "schedule": self.protocol.schedule,
            "batch_size": self.protocol.batch_size,
            "reset_optimizer": self.protocol.reset_optimizer,
            **(run_options or {}),
        }
        return Run(
            backbone=self.build(num_classes=spec.num_classes, image=spec.image, **network_options),
            method=method,
            modules=modules,
            data=spec,
            epochs=epochs,
            seed=seed,
            **settings,
        )

    def named(self, recipe: Recipe) -> Recipe:
        """The recipe as a function of the recipes' file: ``<its name>_<network>``, its docstring completed."""
        name = f"{recipe.__name__}_{self.network}"
        first, _, rest = inspect.cleandoc(recipe.__doc__ or "").partition("\n")
        common = COMMON.format(root=f"./{self.root or 'data'}")
        if not self.downloads:
            recipe = without_download(recipe)
            common = "\n".join(line for line in common.splitlines() if "download:" not in line)
        recipe.__module__ = self.module
        recipe.__name__ = recipe.__qualname__ = name
        recipe.__doc__ = (
            f"{first.rstrip('.')}: {self.label} on {self.data_label}.\n\n{rest.strip() or 'Args:'}\n{common}"
        )
        return recipe


def without_download(recipe: Recipe) -> Recipe:
    """The recipe without its last argument, for data sets that nobody may fetch."""

    def same(*args: Any, **keywords: Any) -> Run:
        return recipe(*args, **keywords)

    signature = inspect.signature(recipe)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "download"]
    same.__signature__ = signature.replace(parameters=kept)  # type: ignore[attr-defined]
    same.__doc__ = recipe.__doc__
    return same
