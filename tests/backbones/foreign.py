"""Small foreign networks that tests wrap, and what they are checked with."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

import localgrad as lg

EXAMPLE = torch.zeros(1, 3, 64, 64)


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def chained(net: lg.LocalNetwork, x: Tensor) -> Tensor:
    """Logits by the units' bodies in sequence and the head."""
    for unit in net.unit_list():
        x = unit(x)
    logits: Tensor = net.unit_list()[-1].aux(x)
    return logits


def conv(c_in: int, c_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU(inplace=True))


class Head(nn.Module):
    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(channels, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc(x.mean((2, 3)))
        return out


class Plain(nn.Module):
    """conv1, conv2, head with whatever happens in between."""

    def __init__(self, between: Callable[[Tensor], Tensor] | nn.Module) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = conv(3, 4), conv(4, 4), Head()
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.conv2(self.between(self.conv1(x))))
        return out
