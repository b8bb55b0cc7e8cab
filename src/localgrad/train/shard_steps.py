"""What processes have saved below a run's folder, step by step, and reading it back as one checkpoint."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, final

from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.facts import differences
from localgrad.train.checkpoint import FORMAT, MOVABLE
from localgrad.train.shards import (
    SHARD_FORMAT,
    SHARD_NAME,
    SHARDS_FOLDER,
    STEP_NAME,
    WHAT,
    Position,
    Shard,
    read_shard,
)
from localgrad.train.tensors import read_tensors


@final
@dataclass(frozen=True)
class FoundStep:
    """What a folder holds of one position. ``damaged`` says which files beside the shards cannot be read, and why."""

    position: Position
    shards: tuple[Shard, ...]
    damaged: tuple[str, ...] = ()

    @property
    def step(self) -> int:
        """Mini-batches trained."""
        return self.position[0]

    @property
    def paths(self) -> dict[int, Path]:
        """The files by the process that wrote them."""
        return {shard.rank: shard.path for shard in self.shards}

    @property
    def covered(self) -> frozenset[str]:
        """Names of the units that are there."""
        return frozenset(name for shard in self.shards for name in shard.units)

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of the network's units that are not."""
        return tuple(name for name in self.shards[0].network if name not in self.covered) if self.shards else ()

    @property
    def complete(self) -> bool:
        """Whether all units are there."""
        return bool(self.shards) and not self.missing


def found_steps(folder: Path) -> list[FoundStep]:
    """What the run's folder holds, the oldest first, by the headers of the files; other files are left alone."""
    return [found for home in step_folders(folder) for found in _found(home)]


def step_folders(folder: Path) -> list[Path]:
    """The folders of steps below the run's folder, the oldest first."""
    return sorted((path for path in listed(folder / SHARDS_FOLDER) if STEP_NAME.fullmatch(path.name)), key=step_of)


def step_of(home: Path) -> int:
    """The step whose folder this is."""
    return int(home.name.removeprefix("step-"))


def shard_files(home: Path) -> list[Path]:
    """What processes wrote in the folder of a step, by name."""
    return sorted((path for path in listed(home) if SHARD_NAME.fullmatch(path.name)), key=lambda path: path.name)


def rank_of(path: Path) -> int:
    """The process that wrote a file, by its name."""
    return int(path.name.split(".")[0].removeprefix("rank-"))


def listed(home: Path) -> list[Path]:
    """What is in a folder; nothing where there is none, also when another process removes it now."""
    try:
        return list(home.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _found(home: Path) -> Iterator[FoundStep]:
    shards: list[Shard] = []
    damaged: list[str] = []
    for path in shard_files(home):
        try:
            shards.append(read_shard(path))
        except LocalgradError as error:
            damaged.append(str(error))
    if not shards and damaged:
        yield FoundStep((step_of(home), 0, 0), (), tuple(damaged))
    shards.sort(key=lambda shard: (shard.position, shard.rank, shard.path))
    for position, group in groupby(shards, key=lambda shard: shard.position):
        yield FoundStep(position, tuple(group), tuple(damaged))


def verified(found: FoundStep) -> FoundStep:
    """The same after reading every file: those whose checksum is wrong are among the damaged.

    Raises LocalgradError that names both files when two of them are of different runs.
    """
    whole: list[Shard] = []
    damaged = list(found.damaged)
    for shard in found.shards:
        try:
            read_tensors(shard.path, {SHARD_FORMAT}, WHAT)
            whole.append(shard)
        except LocalgradError as error:
            damaged.append(str(error))
    _check_one_run(whole)
    return FoundStep(found.position, tuple(whole), tuple(damaged))


def _check_one_run(shards: Sequence[Shard]) -> None:
    for shard in shards[1:]:
        first = shards[0]
        changed = [line for line in differences(first.facts, shard.facts) if line.split(":")[0] not in MOVABLE]
        changed += differences(list(first.network), list(shard.network), "units of the network")
        if changed:
            raise LocalgradError(
                f"{first.path} and {shard.path} are of different runs (first -> second):\n"
                + "\n".join(f"  {line}" for line in changed)
                + "\nRemove the one that does not belong to this run."
            )


def read_step(folder: Path, step: int, units: Sequence[str] | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of a step as one checkpoint, in the form of ``read_checkpoint``; see ``read_found``.

    Where the folder holds the step from before and after an evaluation, the later one that is complete counts.
    """
    here = [found for found in found_steps(folder) if found.step == step]
    if not here:
        raise LocalgradError(f"there is no checkpoint of step {step} below {folder / SHARDS_FOLDER}.")
    return read_found(next((found for found in reversed(here) if found.complete), here[-1]), units)


def read_found(found: FoundStep, units: Sequence[str] | None = None) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors of all shards as one checkpoint, in the form of ``read_checkpoint``.

    With ``units``, names, only files that hold one of these are read, and tensors of such files returned; the header is
    that of the whole run all the same. Progress, facts and random state are those of the process with the last unit
    (the random state: of the one with the last unit that is read). Of processes that hold the same unit the first one
    counts. Raises LocalgradError when a unit is missing, a file is damaged, or two are of different runs.
    """
    _check_complete(found)
    _check_one_run(found.shards)
    network = found.shards[0].network
    holder = {name: next(shard for shard in found.shards if name in shard.units) for name in network}
    wanted = [name for name in network if units is None or name in units]
    unknown = sorted(set(units or ()) - set(network))
    if unknown:
        raise LocalgradError(f"{holder[network[0]].path.parent}: no unit is named {', '.join(unknown)}.")
    tail = holder[network[-1]]
    tensors: dict[str, Tensor] = {}
    for shard in dict.fromkeys(holder[name].path for name in reversed(wanted)):
        _, own = read_tensors(shard, {SHARD_FORMAT}, WHAT)
        tensors = own | tensors  # what was read before comes from a later unit, and counts
    progress = dict(tail.progress)
    for entry in ("sums", "seen", "empty"):
        progress[entry] = {
            str(place): holder[name].progress[entry][str(place)]
            for place, name in enumerate(network)
            if str(place) in holder[name].progress[entry]
        }
    scalers = [holder[name].scalers.get(name, {}) for name in network]
    return {"format": FORMAT, "facts": tail.facts, "progress": progress, "scalers": scalers}, tensors


def _check_complete(found: FoundStep) -> None:
    if found.complete:
        return
    there = ", ".join(str(shard.path) for shard in found.shards) or "nothing that can be read"
    raise LocalgradError(
        f"the checkpoint of step {found.step} is not complete: units {', '.join(found.missing)} are missing; there is "
        f"{there}." + "".join(f"\n{line}" for line in found.damaged)
    )
