"""What a figure of feature maps shows, as data: images, and for every run a column of maps per unit.

Legend: H height, W width.
"""

from dataclasses import dataclass
from typing import Any, final


@final
@dataclass(frozen=True, eq=False)
class Cell:
    """One map in [0, 1], map_HW. ``note`` stands below it, such as the class that a head chose, ``word`` on it."""

    map_HW: Any
    note: str = ""
    word: str = ""


@final
@dataclass(frozen=True)
class Column:
    """One unit or block: its name, what stands below that, a cell per image; ``missing`` says why there are none.

    ``border``: a unit ends here inside the network, and a line is drawn.
    """

    name: str
    about: tuple[str, ...]
    cells: tuple[Cell, ...]
    missing: str = ""
    border: bool = False


@final
@dataclass(frozen=True)
class Group:
    """One run: its title, what stands below that, its columns."""

    title: str
    about: str
    columns: tuple[Column, ...]


@final
@dataclass(frozen=True, eq=False)
class Sheet:
    """The whole figure. ``images`` are arrays in [0, 1], HW or HW3; ``labels`` stand beside them.

    ``low`` and ``high`` say what the ends of the colour scale mean, ``notes`` what else has to be known.
    """

    images: tuple[Any, ...]
    labels: tuple[str, ...]
    groups: tuple[Group, ...]
    low: str
    high: str
    notes: tuple[str, ...]
