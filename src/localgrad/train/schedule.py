"""Learning rate as a pure function of the epoch. Stepped per epoch, as in the papers' codes (methods.md 0)."""

from dataclasses import dataclass
from math import cos, inf, pi, prod
from typing import Protocol, final

from localgrad.errors import LocalgradError


class Schedule(Protocol):
    """A learning rate schedule."""

    def lr(self, base: float, epoch: int, epochs: int) -> float:
        """Learning rate of ``epoch`` (from 0) of ``epochs``; ``base`` is the optimiser's."""
        ...


def falls(schedule: Schedule, base: float, epoch: int, epochs: int) -> bool:
    """Whether the rate of ``epoch`` (from 0) is lower than that of the epoch before."""
    return epoch > 0 and schedule.lr(base, epoch, epochs) < schedule.lr(base, epoch - 1, epochs)


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
    """The base times ``gamma`` for every milestone that has been reached.

    A milestone is an epoch from 0, or, below 1, a share of all epochs, rounded (half to even). ``gamma`` is one factor
    for all milestones, or one for each. PredSim's 400 epochs: ``MultiStep((200, 300, 350, 375), 0.25)``; GN-DGL's 150
    layer-wise ones (1e-3, 5e-4, 1e-4): ``MultiStep((50, 100), (0.5, 0.2))``.

    Raises LocalgradError for milestones that do not grow, that are below 0 or fractional above 1, for shares mixed with
    epochs, and for factors that are negative or not as many as the milestones.
    """

    milestones: tuple[int | float, ...] = (80, 120)
    gamma: float | tuple[float, ...] = 0.1

    def __post_init__(self) -> None:
        numbers = (*self.milestones, *(self.gamma if isinstance(self.gamma, tuple) else (self.gamma,)))
        if any(type(number) not in (int, float) or not 0 <= number < inf for number in numbers):
            raise LocalgradError(
                f"MultiStep: milestones and gamma must be numbers and not negative, got {self.milestones} and "
                f"{self.gamma}."
            )
        shares = {0 < milestone < 1 for milestone in self.milestones}
        whole = all(0 < milestone < 1 or milestone == int(milestone) for milestone in self.milestones)
        if len(shares) > 1 or not whole:
            raise LocalgradError(
                "MultiStep: milestones must be whole epochs, or all of them shares of the epochs between 0 and 1, got "
                f"{self.milestones}."
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            raise LocalgradError(f"MultiStep: milestones must grow, got {self.milestones}.")
        if isinstance(self.gamma, tuple) and len(self.gamma) != len(self.milestones):
            raise LocalgradError(
                f"MultiStep: gamma must be one factor or one per milestone, got {len(self.gamma)} for "
                f"{len(self.milestones)} milestones."
            )

    def epochs(self, epochs: int) -> tuple[int, ...]:
        """The milestones as epochs from 0 in a training of ``epochs``."""
        return tuple(round(m * epochs) if 0 < m < 1 else int(m) for m in self.milestones)

    def lr(self, base: float, epoch: int, epochs: int) -> float:
        """Rate of the epoch."""
        reached = sum(epoch >= milestone for milestone in self.epochs(epochs))
        factors = self.gamma[:reached] if isinstance(self.gamma, tuple) else (self.gamma,) * reached
        return base * prod(factors)
