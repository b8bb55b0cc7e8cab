"""A checkpoint of many processes: below the run's folder one file per process, with the tensors of its own units.

``checkpoints/step-00000120/rank-3.safetensors``: the names and the header are those of the single checkpoint
(``checkpoint.py``), restricted to the units that the process holds, so any number of processes can read what any other
number wrote. ``shard_steps.py`` reads them, ``newest.py`` chooses among them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from localgrad.errors import LocalgradError
from localgrad.facts import Plain
from localgrad.network import LocalNetwork
from localgrad.train.checkpoint import (
    Progress,
    check_weights,
    load_optimizers,
    optimizer_tensors,
    random_tensors,
    weights_in,
)
from localgrad.train.record import write_atomic
from localgrad.train.tensors import file_bytes, read_header

SHARDS_FOLDER = "checkpoints"
SHARD_FORMAT = "localgrad shard 1"
WHAT = "a process's part of a checkpoint"
STEP_NAME = re.compile(r"step-(\d{8,})")
SHARD_NAME = re.compile(r"rank-(\d+)(?:\.(\d+))?\.safetensors")

RUNTIME = "runtime."

Position = tuple[int, int, int]
"""Step, epoch, batch: before and after the evaluation at an epoch's end the step is the same."""


class ScaledUpdate(Protocol):
    """What is saved of a unit's update."""

    @property
    def optimizer(self) -> Optimizer:
        """The unit's own optimiser."""
        ...

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """Only under float16."""
        ...

    def scaler_state(self) -> Mapping[str, object]:
        """State of the scaler as plain numbers; empty without one."""
        ...


@final
@dataclass(frozen=True)
class Shard:
    """The header of one file. ``units`` are the names of those in it, ``network`` of all units, in their order."""

    path: Path
    step: int
    rank: int
    ranks: int
    units: tuple[str, ...]
    network: tuple[str, ...]
    progress: dict[str, Any]
    scalers: dict[str, Any]
    facts: Plain

    @property
    def position(self) -> Position:
        """Where the run stood."""
        return (self.step, self.progress["epoch"], self.progress["batch"])


def step_folder(folder: Path, step: int) -> Path:
    """Where the shards of a step lie, below the run's folder."""
    return folder / SHARDS_FOLDER / f"step-{step:08d}"


def own_state(net: LocalNetwork, places: Sequence[int]) -> dict[str, Tensor]:
    """Weights and buffers of the units at these places, the tensors themselves, by their names in ``state_dict``.

    What belongs to no unit, such as a head that no loss looks at, goes with the last unit. Raises LocalgradError where
    a unit's weights are not in this process.
    """
    named = net.state_dict(keep_vars=True)
    units = net.unit_list()
    owners: dict[int, set[int]] = {}
    for place, unit in enumerate(units):
        for tensor in (*unit.parameters(), *unit.buffers()):
            owners.setdefault(id(tensor), set()).add(place)
    last = {len(units) - 1}
    own = {name: value for name, value in named.items() if owners.get(id(value), last) & set(places)}
    absent = [name for name, value in own.items() if value.is_meta]
    if absent:
        raise LocalgradError(
            f"units {', '.join(units[place].name for place in places)}: {len(absent)} of their {len(own)} tensors have "
            f"no values in this process, such as {absent[0]}. A process saves and loads the units that it holds."
        )
    return own


def own_parameter_names(net: LocalNetwork, places: Sequence[int]) -> list[str]:
    """Names of the parameters of the units at these places, without buffers."""
    return [name for name, value in own_state(net, places).items() if isinstance(value, nn.Parameter)]


def save_shard(
    folder: Path,
    *,
    step: int,
    rank: int,
    ranks: int,
    net: LocalNetwork,
    units: Sequence[int],
    updates: Sequence[ScaledUpdate],
    facts: Mapping[str, object],
    progress: Progress,
    runtime: Mapping[str, Tensor] | None = None,
) -> Path:
    """Write what process ``rank`` of ``ranks`` knows below the run's ``folder``; returns the file.

    ``units`` are the places of the units that it holds, ``updates`` theirs in the same order. The progress of the
    process that holds the last unit is that of the run, but for ``sums`` and ``seen`` of the others' units.
    ``runtime`` are tensors of the runtime's own, which are saved as ``runtime.<name>``.
    A file of the same name that holds other units or another position stays until ``forget_older``.
    Raises LocalgradError when the file cannot be written; the one before stays whole then.
    """
    names = [unit.name for unit in net.unit_list()]
    held = [names[place] for place in units]
    own = own_state(net, units)
    tensors = {f"weights.{name}": value for name, value in own.items()}
    tensors |= optimizer_tensors(net, [update.optimizer for update in updates])
    tensors |= random_tensors(next(iter(own.values())).device)
    tensors |= {f"{RUNTIME}{name}": value for name, value in (runtime or {}).items()}
    scalers = {name: dict(update.scaler_state()) for name, update in zip(held, updates, strict=True)}
    header: dict[str, object] = {
        "format": SHARD_FORMAT,
        "step": step,
        "rank": rank,
        "ranks": ranks,
        "units": held,
        "network": names,
        "progress": vars(progress),
        "scalers": scalers,
        "facts": facts,
    }
    path = _free_path(folder, rank, (step, progress.epoch, progress.batch), held)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalgradError(f"the folder {path.parent} cannot be made: {error.strerror or error}.") from error
    write_atomic(path, file_bytes(header, tensors), f"the checkpoint of process {rank}")
    return path


def runtime_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What ``save_shard`` got as ``runtime``, among a checkpoint's tensors."""
    return {name.removeprefix(RUNTIME): value for name, value in tensors.items() if name.startswith(RUNTIME)}


def _free_path(folder: Path, rank: int, position: Position, held: Sequence[str]) -> Path:
    """``rank-3.safetensors``, or ``rank-3.1.safetensors`` and so on: a file with other content is never replaced.

    It may be all that is left of some unit when this process dies before the others have written.
    """
    home = step_folder(folder, position[0])
    found = re.compile(rf"rank-{rank}(?:\.\d+)?\.safetensors")
    for path in sorted(home.iterdir()) if home.is_dir() else ():
        if not found.fullmatch(path.name):
            continue
        try:
            shard = read_shard(path)
        except LocalgradError:
            continue  # of somebody else, or damaged: whoever looks at the folder is told
        # Looked for first: the file before it may be gone, and two of one position would be one too many.
        if shard.position == position and shard.units == tuple(held):
            return path
    number = 0
    while True:
        path = home / (f"rank-{rank}.{number}.safetensors" if number else f"rank-{rank}.safetensors")
        if not path.exists():
            return path
        number += 1


def read_shard(path: Path) -> Shard:
    """The header of a file; its checksum is not verified. Raises LocalgradError when it is none."""
    header = read_header(path, {SHARD_FORMAT}, WHAT)
    try:
        shard = Shard(
            path=path,
            step=header["step"],
            rank=header["rank"],
            ranks=header["ranks"],
            units=tuple(header["units"]),
            network=tuple(header["network"]),
            progress=vars(Progress(**header["progress"])),
            scalers=dict(header["scalers"]),
            facts=header["facts"],
        )
        if not all(type(number) is int for number in shard.position) or not set(shard.units) <= set(shard.network):
            raise ValueError("its numbers or units do not fit each other")
    except (KeyError, TypeError, ValueError) as error:
        raise LocalgradError(f"{path} cannot be read as {WHAT}: {error!r}. It is damaged.") from error
    if path.parent.name != step_folder(path, shard.step).name:
        raise LocalgradError(f"{path} is of step {shard.step}: it was moved. Put it back, or remove it.")
    return shard


def load_shard_state(
    net: LocalNetwork,
    places: Sequence[int],
    updates: Sequence[ScaledUpdate],
    header: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    where: str,
) -> Progress:
    """Put the units at these places, and their updates in the same order, back to what a checkpoint says of them.

    ``tensors`` may hold more than these units need; ``where`` names the checkpoint in errors. Returns where the run
    stood. The random state stays as it is (``checkpoint.load_random``). Raises LocalgradError that lists everything
    that does not fit, before changing anything.
    """
    own = own_state(net, places)
    known = net.state_dict(keep_vars=True)
    weights = weights_in(tensors)
    # Other units' are no surprise, names of another network are.
    check_weights(own, {name: value for name, value in weights.items() if name in own or name not in known}, where)
    scalers = header["scalers"]
    if len(scalers) != len(net.units):
        raise LocalgradError(
            f"{where}: expected an optimiser for each of the {len(net.units)} units, got {len(scalers)}. It was "
            "trained with update='fused', which one process can continue."
        )
    with torch.no_grad():
        for name, value in own.items():
            value.copy_(weights[name])
    load_optimizers(net, [update.optimizer for update in updates], tensors)
    for place, update in zip(places, updates, strict=True):
        if update.scaler is not None:
            update.scaler.load_state_dict(scalers[place])
    return Progress(**header["progress"])
