"""Learning rate as a pure function of the epoch. Stepped per epoch, as in the papers' codes (methods.md 0)."""

from dataclasses import dataclass
from math import cos, pi
from typing import Protocol, final


class Schedule(Protocol):
    """A learning rate schedule."""

    def lr(self, base: float, epoch: int, epochs: int) -> float:
        """Learning rate of ``epoch`` (from 0) of ``epochs``; ``base`` is the optimiser's."""
        ...


@final
@dataclass(frozen=True)
class Constant:
    """The base learning rate throughout."""

    def lr(self, base: float, epoch: int, epochs: int) -> float:
        """The base."""
        return base


@final
@dataclass(frozen=True)
class Cosine:
    """Cosine annealing, by default with the ramp of the InfoPro family's code over its first 10 epochs.

    With e = 1..E: b(e) = base/2 (1 + cos(pi e / E)), so the last epoch has rate 0. Ramp: for e <= ``warmup_epochs`` = W
    the rate is b(e) (e-1)/W + ``warmup_lr`` (W+1-e)/W. The papers mention no ramp (methods.md 12, row 7).
    ``from_zero`` counts e = 0..E-1, as the ImageNet codes do.
    """

    warmup_epochs: int = 10
    warmup_lr: float = 0.01
    from_zero: bool = False

    def lr(self, base: float, epoch: int, epochs: int) -> float:
        """Rate of the epoch."""
        e = epoch if self.from_zero else epoch + 1
        annealed = 0.5 * base * (1 + cos(pi * e / epochs))
        if epoch >= self.warmup_epochs:
            return annealed
        done = epoch / self.warmup_epochs
        return annealed * done + self.warmup_lr * (1 - done)


@final
@dataclass(frozen=True)
class MultiStep:
    """The base times ``gamma`` for every milestone (an epoch from 0) that has been reached."""

    milestones: tuple[int, ...] = (80, 120)
    gamma: float = 0.1

    def lr(self, base: float, epoch: int, epochs: int) -> float:
        """Rate of the epoch."""
        return base * self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
