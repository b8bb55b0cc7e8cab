"""Small networks, methods and batches of the distributed tests, the same in every process."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import nn

import localgrad as lg
from localgrad.methods import Lambdas

IMAGE = (3, 8, 8)
LEAPS = lg.methods.MLAAN(ema_rate=0.8, ema_on="all")
LEAP_ALONE = replace(LEAPS, cascade=1)
LAMBDAS = Lambdas(first=(2, 0.5), last=(0.5, 1))


def small(depth: int = 20) -> lg.Backbone:
    """A narrow ResNet for 8 px."""
    return lg.backbones.cifar_resnet(depth, num_classes=4, width=0.25, image=IMAGE)


def vgg() -> lg.Backbone:
    """The layers of VGG6a with dropout."""
    return lg.backbones.vgg6a(num_classes=4, image=IMAGE, feat_mult=0.0625, dropout=0.2)


def cut(method: object, modules: int, groups: int | None = None) -> Callable[[], lg.LocalNetwork]:
    """The narrow ResNet in so many modules."""
    return lambda: lg.localize(small(), method, partition=lg.equal_blocks(modules), groups=groups)  # type: ignore[arg-type]


def follows_back() -> lg.LocalNetwork:
    """One block per unit; a copy in the unit of layer3.2 follows layer3.1, which is of an earlier unit and as wide."""
    cut_up = lg.localize(small(26), LEAP_ALONE, partition=lg.equal_blocks(13))
    specs = [unit.spec for unit in cut_up.unit_list()]
    follows = tuple(replace(one, block=10) if one.rate is not None else one for one in specs[11].follows)
    assert any(one.rate is not None for one in follows)
    specs[11] = replace(specs[11], follows=follows)
    return lg.LocalNetwork(cut_up.backbone, specs, seed=0)


CASES: dict[str, Callable[[], lg.LocalNetwork]] = {
    "dgl": cut(lg.methods.DGL(), 4),
    "dgl-2": cut(lg.methods.DGL(), 2),
    "auglocal": cut(lg.methods.AugLocal(depth=2), 5),
    "infopro": cut(lg.methods.InfoPro(loss="softmax", lambdas=LAMBDAS), 3),
    "predsim": cut(lg.methods.PredSim(framework="blockwise"), 3),
    "gndgl": cut(lg.methods.GNDGL(), 2, 2),
    "gndgl-apart": cut(lg.methods.GNDGL(share_features=False, diversity=False), 2, 2),
    "gndgl-wide": cut(lg.methods.GNDGL(), 1, 4),
    "mlaan": cut(lg.methods.MLAAN(leaps=False), 5),
    "mlaan-dgl": cut(lg.methods.MLAAN(leaps=False, base="dgl"), 4),
    "leaps": cut(LEAPS, 5),
    "leaps-alone": cut(LEAP_ALONE, 5),
    "leaps-back": follows_back,
    "dropout": lambda: lg.localize(vgg(), lg.methods.PredSim(), partition=lg.equal_blocks(4)),
}


def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The papers' SGD."""
    return lg.SGD(lr=0.05)(parameters)


def batches(count: int, rows: int = 8) -> list[lg.Batch]:
    """Random images; the last batch is short when there are several."""
    generator = torch.Generator().manual_seed(7)
    found = []
    for index in range(count):
        size = rows - 2 if count > 1 and index == count - 1 else rows
        image = torch.rand(size, *IMAGE, generator=generator)
        y = torch.randint(0, 4, (size,), generator=generator)
        found.append(lg.Batch(image * 2 - 1, y, image, step=index))
    return found
