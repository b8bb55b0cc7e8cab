"""Reading the two kinds of safetensors files that localgrad writes: checkpoints and exported networks."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from localgrad.errors import LocalgradError


def read_tensors(path: Path, formats: Collection[str], what: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The JSON document in the header, and the tensors. ``formats`` are those accepted.

    Raises LocalgradError when the file is damaged, no safetensors file, or of another format or program.
    """
    if not path.is_file():
        raise LocalgradError(f"there is no file {path}; expected {what}.")
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get("localgrad")
            document = None if header is None else json.loads(header)
            found = document.get("format") if isinstance(document, dict) else None
            if found in formats and isinstance(document, dict):
                return document, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise LocalgradError(
            f"{path} cannot be read as {what}: {error}. It is damaged or no safetensors file."
        ) from error
    raise LocalgradError(f"{path} is not {what}: expected format {' or '.join(formats)!r}, got {found!r}.")
