"""One checkpoint: a single safetensors file with weights, optimiser state, random state, and the position in the run.

Keys: ``weights.<name in state_dict>``, ``optimizer.<entry>.<parameter name>``, ``random.<device>``, ``runtime.<name>``.
The header holds one JSON document: format, facts of the run, progress, checksum, and the runtime's own state where it
has one. Nothing in it can run code. Written atomically.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from localgrad.errors import LocalgradError
from localgrad.facts import Plain, differences
from localgrad.runtime import Sequential
from localgrad.train.pace import Runtime
from localgrad.train.record import write_atomic
from localgrad.train.tensors import file_bytes, read_tensors

CHECKPOINT_FILE = "checkpoint.safetensors"
FORMAT = "localgrad checkpoint 1"

MOVABLE = (
    "device", "data.root", "data.cache", "data.download", "data.workers", "data.whole.root", "data.whole.cache",
    "data.whole.download", "workers", "knn_every", "linear_every",
)  # fmt: skip
"""Settings that may differ when a run continues: they say where and how often it is looked at, not what is trained."""


@final
@dataclass
class Progress:
    """Where a run stands. ``epoch`` and ``batch`` name the mini-batch to train next.

    ``sums`` are the loss terms of the samples that each unit has ``seen`` in this epoch; ``samples`` are all those of
    the training split. ``empty`` holds, by unit, the images of this and all epochs before whose selection of pairs was
    empty, and all that it trained on then (``empty.py``).
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    metrics_bytes: int = 0
    seconds: float = 0.0
    sums: dict[str, dict[str, float]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    samples: int = 0
    empty: dict[str, list[float]] = field(default_factory=dict)
    best: dict[str, Any] | None = None
    last: dict[str, Any] | None = None
    finished: bool = False


def parameter_names(net: nn.Module, optimizer: Optimizer) -> list[str]:
    """Names of an optimiser's parameters in the order in which its state numbers them."""
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    return [names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]]


def optimizer_tensors(net: nn.Module, optimizers: Sequence[Optimizer]) -> dict[str, Tensor]:
    """The state of all optimisers by parameter name: the same for one optimiser or one per unit."""
    tensors = {}
    for optimizer in optimizers:
        names = parameter_names(net, optimizer)
        for index, state in optimizer.state_dict()["state"].items():
            for entry, value in state.items():
                if value is not None:
                    tensors[f"optimizer.{entry}.{names[index]}"] = torch.as_tensor(value)
    return tensors


def random_tensors(device: torch.device) -> dict[str, Tensor]:
    """The random state of this process, that of a GPU with it where ``device`` is one."""
    tensors = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        tensors["random.cuda"] = torch.cuda.get_rng_state(device)
    return tensors


def load_random(tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Put a saved random state back."""
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and device.type == "cuda":
        torch.cuda.set_rng_state(tensors["random.cuda"], device)


def save_checkpoint(path: Path, loop: Runtime, facts: Mapping[str, object], progress: Progress) -> None:
    """Write everything needed to continue bit for bit. Raises LocalgradError; the file before stays whole then."""
    tensors = {f"weights.{name}": value for name, value in loop.net.state_dict().items()}
    tensors |= optimizer_tensors(loop.net, loop.optimizers)
    tensors |= random_tensors(next(loop.net.parameters()).device)
    header: dict[str, object] = {
        "format": FORMAT,
        "facts": facts,
        "progress": vars(progress),
        "scalers": [dict(update.scaler_state()) for update in dict.fromkeys(loop.updates)],
    }
    if not isinstance(loop, Sequential):
        header["runtime"], own = loop.state()
        tensors |= {f"runtime.{name}": value for name, value in own.items()}
    write_atomic(path, file_bytes(header, tensors), "the checkpoint")


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Header and tensors. Raises LocalgradError when there is none, when it is damaged, or of another program."""
    if not path.is_file():
        raise LocalgradError(
            f"there is no checkpoint at {path}. A run writes one after its first epoch, or when interrupted."
        )
    return read_tensors(path, {FORMAT}, "a localgrad checkpoint")


def check_facts(before: Plain, now: Plain, path: Path) -> None:
    """Raise LocalgradError that lists every setting in which a run differs from its checkpoint."""
    changed = [line for line in differences(before, now) if line.split(":")[0] not in MOVABLE]
    if changed:
        raise LocalgradError(
            f"{path} was made with other settings (checkpoint -> now):\n"
            + "\n".join(f"  {line}" for line in changed)
            + "\nUse the same settings, or start a new run with init_from (--init-from) to take the weights only."
        )


def check_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], where: str) -> None:
    """Raise LocalgradError that lists which weights are missing, unexpected or of another shape."""
    problems = [f"missing: {name}" for name in own if name not in weights]
    problems += [f"unexpected: {name}" for name in weights if name not in own]
    problems += [
        f"shape of {name}: expected {tuple(own[name].shape)}, got {tuple(value.shape)}"
        for name, value in weights.items()
        if name in own and own[name].shape != value.shape
    ]
    if problems:
        shown = problems[:8] + ([f"... and {len(problems) - 8} more"] if len(problems) > 8 else [])
        raise LocalgradError(f"{where} does not fit this network:\n" + "\n".join(f"  {line}" for line in shown))


def load_weights(module: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Copy weights by name. Raises LocalgradError that lists what is missing, unexpected or of another shape."""
    check_weights(module.state_dict(), weights, where)
    module.load_state_dict(dict(weights))


def weights_in(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the whole network, auxiliary networks included, in a checkpoint's tensors."""
    return {name.removeprefix("weights."): value for name, value in tensors.items() if name.startswith("weights.")}


def like(parameter: Tensor, value: Tensor) -> Tensor:
    """``value`` in the memory format of ``parameter`` if shaped like it: fused optimisers read both side by side."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value


def load_optimizers(net: nn.Module, optimizers: Sequence[Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Give optimisers the state that a checkpoint has of their parameters, by name."""
    states: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        if key.startswith("optimizer."):
            _, entry, name = key.split(".", 2)
            states.setdefault(name, {})[entry] = value
    parameters = dict(net.named_parameters())
    for optimizer in optimizers:
        names = parameter_names(net, optimizer)
        state = {
            index: {entry: like(parameters[name], value) for entry, value in states[name].items()}
            for index, name in enumerate(names)
            if name in states
        }
        optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def load_checkpoint(path: Path, loop: Runtime, facts: Plain) -> Progress:
    """Put a saved run back into ``loop``; returns where it stood. Raises LocalgradError before changing anything."""
    header, tensors = read_checkpoint(path)
    return restore(header, tensors, loop, facts, path)


def restore(
    header: Mapping[str, Any], tensors: Mapping[str, Tensor], loop: Runtime, facts: Plain, path: Path
) -> Progress:
    """``load_checkpoint`` from what was read at ``path``: one file, or the shards of many processes."""
    check_facts(header["facts"], facts, path)
    load_weights(loop.net, weights_in(tensors), str(path))
    load_optimizers(loop.net, loop.optimizers, tensors)
    for update, scaler in zip(dict.fromkeys(loop.updates), header["scalers"], strict=True):
        if update.scaler is not None:
            update.scaler.load_state_dict(scaler)
    load_random(tensors, next(loop.net.parameters()).device)
    progress = Progress(**header["progress"])
    if isinstance(loop, Sequential):
        loop.steps = progress.step
    else:
        own = {name.removeprefix("runtime."): value for name, value in tensors.items() if name.startswith("runtime.")}
        loop.load_state(header["runtime"], own)
    return progress
