"""The weights and images that the golden traces start from: an integer hash of a key instead of a random generator.

The key of a tensor says what it is: 1000 * block + place in the block; auxiliary networks start at 100 in their block.
Values are computed in float64 and rounded to float32, in float64 runs too.
"""

import json
from collections.abc import Iterable
from math import prod, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from localgrad import LocalNetwork


def golden(name: str) -> Any:
    """The numbers of one file of this folder."""
    return json.loads((Path(__file__).parent / f"{name}.json").read_text())


def hashed(count: int, key: int) -> np.ndarray:
    """``count`` numbers in [0, 1): the lowbias32 hash of position plus a multiple of the key, modulo 2**32."""
    bits = np.arange(count, dtype=np.uint32) + np.uint32(key * 2654435761 % 2**32)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        bits = (bits ^ (bits >> np.uint32(shift))) * np.uint32(factor)
    return bits / 2.0**32


def tensor_value(shape: tuple[int, ...], key: int, kind: str) -> Tensor:
    """A float32 tensor of one of the kinds conv, linear, bias, bn_weight, bn_bias."""
    sign = 2 * hashed(prod(shape), key) - 1
    scale = {
        "conv": lambda: sqrt(6 / prod(shape[1:])),
        "linear": lambda: sqrt(3 / shape[1]),
        "bias": lambda: 0.1,
        "bn_weight": lambda: 0.2,
        "bn_bias": lambda: 0.1,
    }[kind]()
    value = scale * sign + (1 if kind == "bn_weight" else 0)
    return torch.from_numpy(value.reshape(shape).astype(np.float32))


def images(count: int) -> Tensor:
    """Waves and a little hash noise, 32x32, normalised with the papers' CIFAR-10 mean and standard deviation."""
    n, c, h, w = np.ogrid[:count, :3, :32, :32]
    waves = np.sin(0.35 * h * (1 + n % 3) + 0.9 * c + 0.7 * n) * np.cos(0.22 * w * (1 + n % 2) + 0.5 * n)
    noise = hashed(count * 3 * 32 * 32, 7).reshape(count, 3, 32, 32) - 0.5
    mean, std = np.array([125.3, 123.0, 113.9]) / 255, np.array([63.0, 62.1, 66.7]) / 255
    normalised = (0.5 + 0.3 * waves + 0.2 * noise - mean[:, None, None]) / std[:, None, None]
    return torch.from_numpy(normalised.astype(np.float32))


def own_tensors(module: nn.Module) -> Iterable[tuple[nn.Parameter, str]]:
    """Parameters in forward order with their kinds."""
    for part in module.modules():
        norm = isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)
        weight = "bn_weight" if norm else "conv" if isinstance(part, nn.Conv2d) else "linear"
        for name, parameter in part.named_parameters(recurse=False):
            yield parameter, weight if name == "weight" else "bn_bias" if norm else "bias"


@torch.no_grad()
def fill(module: nn.Module, key: int) -> None:
    """Give the parameters of a block or an auxiliary network the values of keys ``key``, ``key + 1``, ..."""
    for place, (parameter, kind) in enumerate(own_tensors(module)):
        parameter.copy_(tensor_value(tuple(parameter.shape), key + place, kind))


def fill_network(net: LocalNetwork) -> None:
    """Start a network where the traces start."""
    for index, name in enumerate((*net.backbone.block_names, net.backbone.head_name)):
        fill(net.model.get_submodule(name), 1000 * index)
    for unit in net.unit_list()[:-1]:
        fill(unit.aux, 1000 * (unit.span.stop - 1) + 100)
