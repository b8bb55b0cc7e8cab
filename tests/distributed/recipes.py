"""A recipe for the command line whose steps take long enough to be disturbed."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn
from torch.optim import Optimizer

from localgrad.train import SGD, Run
from tests.distributed.runs import tiny


@dataclass(frozen=True)
class Unhurried:
    """SGD that waits before every step of a unit."""

    lr: float = 0.05
    seconds: float = 0.02

    def problems(self) -> Iterator[str]:
        """None."""
        yield from ()

    def __call__(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """The optimiser of a unit."""
        made = SGD(self.lr)(parameters)
        made.register_step_pre_hook(lambda *_: time.sleep(self.seconds))
        return made


def slow(seed: int = 0, epochs: int = 6, seconds: float = 0.02, lr: float = 0.05) -> Run:
    """Six epochs of 6 batches."""
    return tiny(seed=seed, epochs=epochs, optimizer=Unhurried(lr, seconds))
