"""How far a run had come when its checkpoint was written: what figures of a network say of whose weights they are."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.train.checkpoint import Progress
from localgrad.train.newest import load_with_progress
from localgrad.train.record import read_rows
from localgrad.train.run import Run
from localgrad.train.runtimes import GreedySpec, QueuedSpec


@final
@dataclass(frozen=True)
class Standing:
    """The checkpoint that was loaded: ``epoch`` whole epochs of ``epochs``, and ``batch`` mini-batches of the next one.

    Greedy counts the epochs of all units together; queued units have epochs of their own, so how many it will be is not
    known (None). ``untrained`` names units that no step has trained; in epoch ``diverged`` a loss was not finite.
    """

    epoch: int
    epochs: int | None
    batch: int
    finished: bool
    seed: int
    precision: str
    untrained: tuple[str, ...] = ()
    diverged: int | None = None

    def row(self) -> dict[str, object]:
        """What a file of figures says of it."""
        row: dict[str, object] = {
            "epoch": self.epoch,
            "epochs": self.epochs,
            "finished": self.finished,
            "seed": self.seed,
            "precision": self.precision,
        }
        more = {"batch": self.batch, "untrained": list(self.untrained), "diverged": self.diverged}
        return row | {name: value for name, value in more.items() if value}

    @property
    def position(self) -> str:
        """How far, in words."""
        of = "" if self.epochs is None else f" of {self.epochs}"
        return f"after epoch {self.epoch}{of}" + (f" and {self.batch} steps of the next" if self.batch else "")

    def lines(self, noun: str) -> tuple[str, ...]:
        """What a person reads: the checkpoint, and where the run has not finished that a later ``noun`` will differ."""
        own = f"Checkpoint: {self.position}, seed {self.seed}, {self.precision}."
        if self.finished:
            return (own,)
        text = f"not finished: {self.position}; a later {noun} will differ."
        if self.diverged is not None:
            text = f"not finished: {self.position}; the run diverged in epoch {self.diverged} and was stopped."
        if self.untrained:
            text += f" Units that have not been trained: {', '.join(self.untrained)}."
        return own, text


def load_standing(run: Run, folder: Path) -> tuple[LocalNetwork, Standing]:
    """The run's network with the weights of its newest checkpoint, on the CPU, and how far the run had come then.

    Raises LocalgradError when there is no checkpoint or it does not fit.
    """
    net, progress = load_with_progress(run, folder)
    return net, standing(run, progress, [unit.name for unit in net.unit_list()], _diverged(folder))


def standing(run: Run, progress: Progress, names: Sequence[str], diverged: int | None = None) -> Standing:
    """What a checkpoint's progress means for a run whose units have these names."""
    epochs: int | None = run.epochs
    begun = len(names)
    if isinstance(run.runtime, QueuedSpec):
        epochs = None
    elif isinstance(run.runtime, GreedySpec):
        epochs = run.epochs * len(names)
        whole, rest = divmod(progress.epoch, run.epochs)
        begun = whole + bool(rest or progress.batch)
    elif progress.step == 0:
        begun = 0
    return Standing(
        epoch=progress.epoch,
        epochs=epochs,
        batch=progress.batch,
        finished=progress.finished,
        seed=run.seed,
        precision=run.precision.value,
        untrained=tuple(names[begun:]),
        diverged=None if progress.finished else diverged,
    )


def _diverged(folder: Path) -> int | None:
    """The epoch of the last row, when its loss was not finite."""
    with suppress(LocalgradError, KeyError, TypeError):  # a run that still trains may be writing this row
        rows = read_rows(folder)
        if rows and rows[-1].get("diverged"):
            return int(rows[-1]["epoch"])
    return None
