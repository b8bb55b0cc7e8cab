"""The networks of GN-DGL's two speed-up tables: thesis 3.4 and 3.5, 4 and 5 of the workshop paper (methods.md 7.4)."""

from collections.abc import Iterator
from dataclasses import replace

import torch

from localgrad.auxnets import ConvFC
from localgrad.backbones import resnet32
from localgrad.cost.speedups import Speedups, speedups
from localgrad.method import Method
from localgrad.methods import GNDGL, InfoPro, Lambdas
from localgrad.methods.infopro import FEATURES
from localgrad.network import LocalNetwork, localize
from localgrad.objective import UnitSpec

GRID = {2: (1, 2, 4, 8, 16), 4: (1, 2, 4, 8), 8: (1, 2, 4)}
"""G to the Ks in the tables; the columns of one group have K = 2, 4, 8, 16."""


def gndgl_speedups() -> Speedups:
    """Both tables for ResNet-32 on CIFAR-10, all cells; a few seconds."""
    with torch.device("meta"):
        return speedups(_networks())


def _networks() -> Iterator[tuple[str, LocalNetwork]]:
    backbone = resnet32()
    for modules in (2, 4, 8, 16):
        yield "DGL", localize(backbone, GNDGL(groups=1), modules)
    for modules in (2, 4, 8, 16):
        # The weights of the losses cost nothing.
        method: Method = InfoPro(lambdas=Lambdas((1.0, 1.0), (1.0, 1.0)))
        units = method.units(backbone, method.cut(backbone, modules)(backbone))
        yield "InfoPro", LocalNetwork(backbone, [_with_gndgl_head(unit) for unit in units])
    for groups, ks in GRID.items():
        for modules in ks:
            yield f"G={groups}", localize(backbone, GNDGL(groups=groups), modules)


def _with_gndgl_head(unit: UnitSpec) -> UnitSpec:
    """GN-DGL's code gives InfoPro its own contrast head: C -> 2C channels with stride 2, at every width."""
    if len(unit.objectives) == 1:  # the last unit, which ends in the classifier
        return unit
    task, reconstruction = unit.objectives
    channels = resnet32().shapes()[unit.span.stop - 1][0]
    return replace(unit, objectives=(replace(task, aux=ConvFC(channels, FEATURES, 2 * channels, 2)), reconstruction))
