"""The run's records: ``run.json`` (settings and conditions) and ``metrics.jsonl`` (append-only, one row per line).

A row has ``kind``: "epoch" or "end". There are no sentinel values: what was not measured has no key. A number that is
not finite is null, since JSON has no NaN; ``diverged`` then lists the units whose training loss it is.
"""

import errno
import json
import math
import os
import platform
import shlex
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import torch

from localgrad.errors import LocalgradError
from localgrad.train.run import Run
from localgrad.version import VERSION

RUN_FILE = "run.json"
METRICS_FILE = "metrics.jsonl"
PROBE_FILE = "probe.json"
PARTIAL = ".partial"
"""How the name of a file ends while it is being written."""

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)


def conditions(device: torch.device) -> dict[str, object]:
    """What a number of this run depends on besides its settings."""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {}
    return {
        "localgrad": VERSION,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": str(device),
        **gpu,
        "command": shlex.join(sys.argv),
    }


def write_atomic(path: Path, data: bytes, what: str) -> None:
    """Replace ``path`` by ``data``, or leave it as it was: no kill and no full disk leaves half a file.

    Raises LocalgradError when the data cannot be written; ``path`` is then untouched.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        kept = " The one written before is untouched." if path.is_file() else ""
        raise LocalgradError(f"{what} was not written to {path} ({len(data)} bytes): {why(error)}.{kept}") from error
    finally:
        # Gone after replace; here still after an error or a second interrupt.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, document: Mapping[str, object], what: str) -> None:
    """The same for nested plain data, as JSON; NaN and infinities are null."""
    write_atomic(path, json.dumps(finite(dict(document)), indent=1, allow_nan=False).encode(), what)


def why(error: OSError) -> str:
    """The system's words, and what to do about a full disk."""
    text = error.strerror or str(error)
    return f"{text}; free some space (or raise the file size limit) and resume" if error.errno in FULL else text


def write_run(folder: Path, run: Run, device: torch.device, more: Mapping[str, object] | None = None) -> None:
    """Write ``run.json``: origin (how to make the Run again), facts, conditions and ``more`` of them."""
    origin = None
    if run.origin is not None:
        origin = {
            "recipe": run.origin.recipe,
            "arguments": run.origin.arguments,
            "overrides": run.origin.overrides,
        }
    document = {"origin": origin, "facts": run.facts(), "conditions": {**conditions(device), **(more or {})}}
    write_atomic(folder / RUN_FILE, json.dumps(document, indent=1).encode(), "the run's description")


def read_run(folder: Path) -> dict[str, Any]:
    """The content of ``run.json``. Raises LocalgradError when the folder holds no run or the file is damaged."""
    path = folder / RUN_FILE
    if not path.is_file():
        raise LocalgradError(
            f"{folder} is not a run folder: it has no {RUN_FILE}. Give the folder that `train` printed."
        )
    try:
        document = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise LocalgradError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(document, dict) or not {"origin", "facts"} <= document.keys():
        raise LocalgradError(f"{path} is not a localgrad run: expected the keys origin and facts.")
    return document


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a run's ``metrics.jsonl``. Raises LocalgradError when it cannot be read whole."""
    path = folder / METRICS_FILE
    try:
        return [json.loads(line) for line in path.read_text().splitlines()]
    except (ValueError, OSError) as error:
        raise LocalgradError(f"{path} cannot be read as rows of JSON: {error}.") from error


def finite(value: Any) -> Any:
    """The same nested data with None in place of NaN and infinities."""
    if isinstance(value, dict):
        return {name: finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@final
class MetricsLog:
    """Appends rows to ``metrics.jsonl`` (or ``name``), each on the disk before the next."""

    def __init__(self, folder: Path, name: str = METRICS_FILE) -> None:
        self.path = folder / name

    def append(self, row: dict[str, object]) -> None:
        """Write one row. Raises LocalgradError when the disk is full."""
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(finite(row), allow_nan=False) + "\n")
                file.flush()
                # Before the checkpoint that counts on it.
                os.fsync(file.fileno())
        except OSError as error:
            raise LocalgradError(f"a row was not written to {self.path}: {why(error)}.") from error

    def size(self) -> int:
        """Bytes written so far; a checkpoint remembers it."""
        return self.path.stat().st_size if self.path.exists() else 0

    def truncate(self, size: int) -> None:
        """Drop what was written after a checkpoint, so that a resumed run has every row once."""
        if self.size() == size:
            return
        if self.size() < size:
            raise LocalgradError(
                f"{self.path} is shorter than the checkpoint says ({self.size()} of {size} bytes): rows were lost. "
                "Restore the file, or train anew in another folder."
            )
        os.truncate(self.path, size)


@final
class RankLog:
    """Appends rows to ``metrics.rank-N.jsonl``: what one process of a distributed run did, epoch by epoch.

    Rows about later steps than ``step``, where the run stands, are dropped: they come again.
    """

    def __init__(self, folder: Path, rank: int, step: int) -> None:
        self.log = MetricsLog(folder, f"metrics.rank-{rank}.jsonl")
        if self.log.path.exists():
            lines = self.log.path.read_text().splitlines(keepends=True)
            kept = [line for line in lines if line.endswith("\n") and json.loads(line)["step"] <= step]
            if kept != lines:
                write_atomic(self.log.path, "".join(kept).encode(), "the rows of a process")

    def append(self, row: dict[str, object]) -> None:
        """Write one row. Raises LocalgradError when the disk is full."""
        self.log.append(row)
