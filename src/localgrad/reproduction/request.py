"""What is asked for, and what a folder holds already: the same request goes on, another one is refused."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, final

from localgrad.errors import LocalgradError
from localgrad.facts import differences, plain
from localgrad.reproduction.entries import FILE, FORMAT
from localgrad.reproduction.small import found_data

Budget = Literal["short", "paper"]


@final
@dataclass(frozen=True)
class Request:
    """A table, the numbers of its rows, the seeds. ``minutes`` bound the short budget; the paper's has no bound."""

    table: str
    budget: Budget
    numbers: tuple[int, ...]
    seeds: tuple[int, ...]
    data_root: Path | None = None
    download: bool = False
    minutes: float = 15.0

    def facts(self) -> dict[str, Any]:
        """What makes the numbers: saved, and compared when a table goes on. Where the data lies does not."""
        data = {"data": found_data(self.data_root)} if self.budget == "short" else {}
        return {
            "table": self.table,
            "budget": self.budget,
            "rows": list(self.numbers),
            "seeds": list(self.seeds),
            **data,
        }


def read_saved(folder: Path) -> Mapping[str, Any] | None:
    """The document of a folder; None when there is none. Raises LocalgradError when it is damaged or another one."""
    path = folder / FILE
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise LocalgradError(
            f"{path} cannot be read as JSON: {error}. Move it away: finished runs below {folder} are kept."
        ) from error
    if not isinstance(document, dict) or document.get("kind") != FORMAT or not isinstance(document.get("rows"), list):
        raise LocalgradError(f"{path}: expected the kind {FORMAT!r}. Give another folder with --out.")
    return document


def check_request(saved: Mapping[str, Any], request: Request, folder: Path) -> None:
    """Raise LocalgradError that lists where a request differs from the one that a folder was made for."""
    changed = list(differences(saved.get("request"), plain(request.facts())))
    if changed:
        raise LocalgradError(
            f"{folder} holds a table that was asked for otherwise (before -> now):\n"
            + "\n".join(f"  {line}" for line in changed)
            + "\nGive the same words to go on with it, or another folder with --out."
        )
