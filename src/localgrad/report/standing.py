"""Of which moment of its run a file's figures are, and what a reader must know when that is not the end."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from localgrad.report.json_files import texts, whole


@final
@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint that was looked at: after ``epoch`` of ``epochs`` (None: not known how many it will be)."""

    epoch: int
    epochs: int | None
    finished: bool
    untrained: tuple[str, ...] = ()


def checkpoint_of(data: object) -> Checkpoint | None:
    """From a file; None where it says nothing of it, as older ones do. Raises ``WRONG`` for another form."""
    if data is None:
        return None
    if not isinstance(data, dict):
        raise ValueError("checkpoint is no object")
    found: Mapping[str, Any] = data
    epochs = found["epochs"]
    return Checkpoint(
        whole(found["epoch"]),
        None if epochs is None else whole(epochs),
        found["finished"] is True,
        texts(found.get("untrained", [])),
    )


def standing_note(what: str, checkpoint: Checkpoint | None, newest: int | None = None) -> str | None:
    """A sentence where figures are not of the run's end; ``newest`` is the run's last epoch as the report reads it."""
    if checkpoint is None:
        return None
    if newest is not None and newest > checkpoint.epoch:
        text = f"{what} of epoch {checkpoint.epoch}, the run is at {newest}"
    elif not checkpoint.finished:
        of = "" if checkpoint.epochs is None else f" of {checkpoint.epochs}"
        text = f"{what} of epoch {checkpoint.epoch}{of}, the run had not finished"
    else:
        return None
    return text + (f"; not trained then: {', '.join(checkpoint.untrained)}." if checkpoint.untrained else ".")
