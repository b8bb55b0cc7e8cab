"""How much of a training fits into the time: the arithmetic of the estimate. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

from localgrad.train import GreedySpec, Run

SHARE = 0.7
"""Share of the time that is planned with; machines are not steady."""
MOST_EPOCHS = 16
LEAST_EPOCHS = 3
"""Below it a smaller network, or fewer images, are taken."""
START = 0.5
"""Seconds to build, write and read a run, beside its epochs."""
SAVE = 0.1
"""Seconds to write a row and a checkpoint."""


@final
@dataclass(frozen=True)
class Pace:
    """Measured seconds of one training step, of one evaluation on the test split, and of what comes after the run."""

    step: float
    evaluation: float
    after: float = 0.0


@final
@dataclass(frozen=True)
class Candidate:
    """A level of the networks and a number of training images (0: all)."""

    level: int
    images: int


DIGITS = (Candidate(0, 0), Candidate(1, 0), Candidate(2, 0), Candidate(2, 500))
FASTER = (1.0, 0.65, 0.45)
"""About what a step of a smaller level takes of one of level 0, by the layers of its ResNets."""
CIFAR = (Candidate(1, 2000), Candidate(2, 2000), Candidate(2, 1000), Candidate(2, 500))
"""From the most to the least; the first that fits is taken."""


def passes(run: Run, units: int) -> int:
    """How often the epochs of a run are walked: once, or by every unit on its own turn."""
    return units if isinstance(run.runtime, GreedySpec) else 1


def epoch_seconds(pace: Pace, steps: int) -> float:
    """An epoch with its evaluation and checkpoint."""
    return steps * pace.step + pace.evaluation + SAVE


def run_seconds(pace: Pace, steps: int, epochs: int, walks: int = 1) -> float:
    """One whole run."""
    return START + pace.after + walks * epochs * epoch_seconds(pace, steps)


@final
@dataclass(frozen=True)
class Walk:
    """One training: its pace, batch and training images, how often its epochs are walked, how many seeds train."""

    pace: Pace
    samples: int
    batch_size: int
    drop_last: bool
    walks: int
    seeds: int

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        whole, rest = divmod(self.samples, self.batch_size)
        return max(1, whole + (rest > 0 and not self.drop_last))

    def seconds(self, epochs: int) -> float:
        """All seeds."""
        return self.seeds * run_seconds(self.pace, self.steps, epochs, self.walks)

    def at(self, candidate: Candidate, measured: Candidate) -> "Walk":
        """The same at another candidate: fewer images, and steps faster in proportion to the layers."""
        factor = FASTER[candidate.level] / FASTER[measured.level]
        samples = min(candidate.images or self.samples, self.samples)
        pace = Pace(self.pace.step * factor, self.pace.evaluation * factor, self.pace.after)
        return replace(self, pace=pace, samples=samples)


def table_seconds(walks: Mapping[str, Walk], epochs: int) -> float:
    """All trainings of a table."""
    return sum(walk.seconds(epochs) for walk in walks.values())


def fitting_epochs(walks: Mapping[str, Walk], seconds: float) -> int:
    """The most epochs, up to ``MOST_EPOCHS``, with which all trainings fit; 0: not even one does."""
    return max((epochs for epochs in range(1, MOST_EPOCHS + 1) if table_seconds(walks, epochs) <= seconds), default=0)


def choose(
    walks: Mapping[str, Walk], measured: Candidate, candidates: Sequence[Candidate], seconds: float
) -> tuple[Candidate, int]:
    """The first candidate with which at least ``LEAST_EPOCHS`` fit into ``seconds``, else the last; and its epochs."""
    chosen, epochs = measured, 0
    for candidate in candidates:
        at = {name: walk.at(candidate, measured) for name, walk in walks.items()}
        chosen, epochs = candidate, fitting_epochs(at, seconds)
        if epochs >= LEAST_EPOCHS:
            break
    return chosen, epochs
