"""Wall-clock time of training steps, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median, quantiles
from time import perf_counter
from typing import final

import torch

from localgrad.errors import LocalgradError
from localgrad.runtime import Sequential
from localgrad.spec import Batch


@final
@dataclass(frozen=True)
class StepTime:
    """Seconds of a step in every measured turn, in order."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median in seconds."""
        return median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Lower and upper quartile in seconds: the spread."""
        low, _, high = quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    def ratio(self, other: "StepTime") -> float:
        """Median over the rounds of this step's time by the other's in the same round."""
        return median(mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True))


def step_times(
    loops: Mapping[str, Sequential], batch: Batch, repeats: int = 10, warmup: int = 3, burst: int = 1
) -> dict[str, StepTime]:
    """Time ``repeats`` turns of every loop on ``batch``, after ``warmup`` that are not counted.

    The loops take turns, so that what else the machine does hits all of them alike: ratios between loops of one call
    make sense, absolute times and ratios between calls only on a machine that does nothing else. A turn is ``burst``
    steps and counts as their mean; with two or more, one step before them is not counted: it finds caches and heap as
    another loop left them, which no step of a training does. CUDA devices are waited for before and after every turn.
    The steps train the networks.

    Raises LocalgradError for fewer than 2 repeats, a negative warm-up, or a burst below 1.
    """
    if repeats < 2:
        raise LocalgradError(f"step_times: repeats must be at least 2, a spread needs two steps, got {repeats}.")
    if warmup < 0:
        raise LocalgradError(f"step_times: warmup must be at least 0, got {warmup}.")
    if burst < 1:
        raise LocalgradError(f"step_times: burst must be at least 1, got {burst}.")
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in range(warmup + repeats):
        for name, loop in loops.items():
            if burst > 1:
                loop.step(batch)
            _wait(batch.x.device)
            start = perf_counter()
            for _ in range(burst):
                loop.step(batch)
            _wait(batch.x.device)
            if turn >= warmup:
                seconds[name].append((perf_counter() - start) / burst)
    return {name: StepTime(tuple(values)) for name, values in seconds.items()}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
