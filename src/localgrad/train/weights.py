"""Weights without a run: exported files, and what a run may start from.

An exported file is safetensors with the plain network's weights and, in the header, the constructor facts of its
backbone with a checksum: nothing else, so equal weights give equal bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.facts import plain
from localgrad.network import LocalNetwork
from localgrad.spec import Backbone
from localgrad.train.checkpoint import CHECKPOINT_FILE, FORMAT, check_weights, load_weights, weights_in
from localgrad.train.newest import read_newest
from localgrad.train.record import write_atomic
from localgrad.train.shard_steps import found_steps
from localgrad.train.shards import own_state
from localgrad.train.tensors import file_bytes, read_tensors

EXPORT_FORMAT = "localgrad weights 1"


def export_bytes(backbone: Backbone, weights: Mapping[str, Tensor]) -> bytes:
    """The exported file of a network with these weights (its plain state_dict)."""
    header = {"format": EXPORT_FORMAT, "backbone": plain(backbone)}
    return file_bytes(header, weights)


def export_weights(net: LocalNetwork, path: Path) -> None:
    """Write the plain network's weights. Raises LocalgradError when the file cannot be written."""
    data = export_bytes(net.backbone, net.model.state_dict())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LocalgradError(f"the folder {path.parent} cannot be made: {error.strerror or error}.") from error
    write_atomic(path, data, "the exported network")


def read_exported(path: Path) -> tuple[dict[str, object], dict[str, Tensor]]:
    """Constructor facts and weights of an exported file. Raises LocalgradError for anything else."""
    header, weights = read_tensors(path, {EXPORT_FORMAT}, "a network that localgrad exported")
    return header["backbone"], weights


def network_weights(path: Path) -> dict[str, Tensor]:
    """The plain network's weights in an exported file, a checkpoint, or a run folder's newest checkpoint."""
    if path.is_dir() and found_steps(path):
        _, tensors, _ = read_newest(path)
    else:
        path = path / CHECKPOINT_FILE if path.is_dir() else path
        header, tensors = read_tensors(path, {EXPORT_FORMAT, FORMAT}, "a checkpoint or an exported network")
        if header["format"] == EXPORT_FORMAT:
            return tensors
    prefix = "model."
    weights = weights_in(tensors)
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def load_initial_weights(net: LocalNetwork, path: Path) -> None:
    """Start the plain network from saved weights; auxiliary networks keep theirs. Raises LocalgradError on a misfit."""
    load_weights(net.model, network_weights(path), str(path))


def load_own_weights(net: LocalNetwork, places: Sequence[int], path: Path) -> None:
    """The same for the units at these places, where the others have no weights in this process."""
    prefix = "model."
    own = own_state(net, places)
    mine = {name.removeprefix(prefix): value for name, value in own.items() if name.startswith(prefix)}
    weights = network_weights(path)
    known = net.model.state_dict()
    fitting = {name: value for name, value in weights.items() if name in mine or name not in known}
    check_weights(mine, fitting, str(path))
    with torch.no_grad():
        for name, value in mine.items():
            value.copy_(weights[name])
