"""What a heat map of CKA shows, as data.

Legend: P blocks of the first run, Q of the second.
"""

from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, eq=False)
class CkaMatrix:
    """values_PQ with the blocks' names; a border is True where a unit ends behind the block.

    ``row_run`` and ``column_run`` name the runs, ``notes`` say what else has to be known.
    """

    title: str
    row_run: str
    column_run: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_borders: tuple[bool, ...]
    column_borders: tuple[bool, ...]
    values_PQ: Any
    notes: tuple[str, ...]
