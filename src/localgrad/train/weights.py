"""Weights without a run: exported files, and what a run may start from.

An exported file is safetensors with the plain network's weights and, in the header, the constructor facts of its
backbone with a checksum: nothing else, so equal weights give equal bytes.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from localgrad.errors import LocalgradError
from localgrad.facts import plain
from localgrad.network import LocalNetwork
from localgrad.spec import Backbone
from localgrad.train.checkpoint import CHECKPOINT_FILE, FORMAT, load_weights, weights_in
from localgrad.train.record import write_atomic
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
    """The plain network's weights in an exported file, a checkpoint, or a run folder."""
    if path.is_dir():
        path = path / CHECKPOINT_FILE
    header, tensors = read_tensors(path, {EXPORT_FORMAT, FORMAT}, "a checkpoint or an exported network")
    if header["format"] == EXPORT_FORMAT:
        return tensors
    prefix = "model."
    weights = weights_in(tensors)
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def load_initial_weights(net: LocalNetwork, path: Path) -> None:
    """Start the plain network from saved weights; auxiliary networks keep theirs. Raises LocalgradError on a misfit."""
    load_weights(net.model, network_weights(path), str(path))
