"""Colours of a figure: stand-ins for the CSS variables of the page, or those of paper."""

import re
from dataclasses import dataclass
from typing import final

from localgrad.report.style import COLORS, LIGHT, color_of

# Stand-ins: matplotlib needs colours, and nothing else in a figure is near these.
_NAMES = {
    "#a1b301": "var(--muted)",
    "#a1b302": "var(--rule)",
    "#a1b303": "var(--ink)",
    "#a1b304": "var(--paper)",
    "#a1b305": "var(--warn)",
}
_SERIES = "#a1b2"


@final
@dataclass(frozen=True)
class Pens:
    """What a figure is drawn with. ``alone``: it stands in a file of its own, without the page's legend around it."""

    muted: str
    rule: str
    ink: str
    paper: str
    warn: str
    alone: bool

    def series(self, index: int) -> str:
        """The colour of a group."""
        return LIGHT[index % COLORS] if self.alone else f"{_SERIES}{index % 256:02x}"


PAGE = Pens("#a1b301", "#a1b302", "#a1b303", "#a1b304", "#a1b305", alone=False)
PAPER = Pens("#5f6670", "#dfe1e4", "#1c1e21", "#ffffff", "#9a5b00", alone=True)


def with_variables(svg: str) -> str:
    """An SVG drawn with ``PAGE``, its stand-ins replaced by the variables of the page."""
    for color, name in _NAMES.items():
        svg = svg.replace(color, name)
    return re.sub(rf"{_SERIES}([0-9a-f]{{2}})", lambda found: color_of(int(found[1], 16)), svg)
