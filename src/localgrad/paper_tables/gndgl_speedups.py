"""The networks of GN-DGL's two speed-up tables: thesis 3.4 and 3.5, 4 and 5 of the workshop paper (methods.md 7.4)."""

from collections.abc import Iterator
from functools import cache

import torch

from localgrad.backbones import resnet32
from localgrad.cost.speedups import Speedups, speedups
from localgrad.methods import GNDGL, InfoPro, Lambdas
from localgrad.network import LocalNetwork, localize

GRID = {2: (1, 2, 4, 8, 16), 4: (1, 2, 4, 8), 8: (1, 2, 4)}
"""G to the Ks in the tables; the columns of one group have K = 2, 4, 8, 16."""


@cache
def gndgl_speedups() -> Speedups:
    """Both tables for ResNet-32 on CIFAR-10, all cells; a few seconds."""
    with torch.device("meta"):
        return speedups(_networks())


def _networks() -> Iterator[tuple[str, LocalNetwork]]:
    backbone = resnet32()
    for modules in (2, 4, 8, 16):
        yield "DGL", localize(backbone, GNDGL(groups=1), modules)
    # The weights of the losses cost nothing.
    infopro = InfoPro(lambdas=Lambdas((1.0, 1.0), (1.0, 1.0)), head="gndgl-1c2f")
    for modules in (2, 4, 8, 16):
        yield "InfoPro", localize(backbone, infopro, modules)
    for groups, ks in GRID.items():
        for modules in ks:
            yield f"G={groups}", localize(backbone, GNDGL(groups=groups), modules)
