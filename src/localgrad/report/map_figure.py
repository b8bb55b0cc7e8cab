"""Feature maps as a figure: images on the left, a column per unit, a group of rows per run.

Lengths are in inches.
"""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from localgrad.report.figure_file import plain_text
from localgrad.report.map_sheet import Cell, Column, Group, Sheet
from localgrad.report.text_width import FONT, text_width

# Its lightness grows evenly: it reads the same to colour-blind eyes and in grey print.
COLORS = "YlOrRd"
_INK, _MUTED, _RULE, _EMPTY = "#1a1a1a", "#5c5c5c", "#c8c8c8", "#f0f0f0"
_LINE = 0.155
_GAP = 0.04
_APART = 0.32
_MARGIN = 0.18
_LEAST, _MOST, _WIDE = 0.52, 0.95, 10.5


def draw(sheet: Sheet) -> Figure:
    """The figure; the same sheet gives the same bytes (``figure_file.figure_bytes``)."""
    columns = max(len(group.columns) for group in sheet.groups)
    cell = min(_MOST, max(_LEAST, _WIDE / (columns + 1)))
    left = _MARGIN + max(text_width(line, 7.5) for label in sheet.labels for line in label.split("\n")) + 0.08
    first = left + cell + 3 * _GAP
    lean = max((_lean(group, cell) for group in sheet.groups), default=0.0)
    right = first + columns * (cell + _GAP) + (0.6 * lean)
    titles = max(text_width(group.title, 9.5, bold=True) for group in sheet.groups)
    width = max(right, 4.6, min(titles, 11.0) + _MARGIN) + _MARGIN
    notes = [
        line for note in sheet.notes for line in wrap(plain_text(note), max(20, int((width - 2 * _MARGIN) / 0.0585)))
    ]
    below = _LINE if any(c.note for g in sheet.groups for column in g.columns for c in column.cells) else 0.0
    row = cell + _GAP + below
    height = 2 * _MARGIN + 0.35 + _LINE * (len(notes) + 0.5)
    for group in sheet.groups:
        height += _head(group, cell) + len(sheet.images) * row + _APART
    with mpl.rc_context({"font.family": [FONT, "sans-serif"], "text.parse_math": False}):
        figure = Figure(figsize=(width, height), facecolor="white")
        axes = figure.add_axes((0, 0, 1, 1))
        y = _MARGIN
        for group in sheet.groups:
            _text(axes, _MARGIN, y, group.title, size=9.5, weight="bold")
            _text(axes, _MARGIN, y + 1.35 * _LINE, group.about, size=7.5, color=_MUTED)
            y += _head(group, cell)
            tall = len(sheet.images) * row - _GAP - below
            for number, label in enumerate(sheet.labels):
                top = y + number * row
                _text(axes, left - 0.08, top + cell / 2, label, size=7.5, color=_MUTED, ha="right", va="center")
                _image(axes, sheet.images[number], left, top, cell)
            for place, column in enumerate(group.columns):
                x = first + place * (cell + _GAP)
                _column_head(axes, column, x, y, cell, leaning=_lean(group, cell) > 0)
                for number, one in enumerate(column.cells):
                    _cell(axes, one, x, y + number * row, cell)
                if column.border:
                    middle = x + cell + _GAP / 2
                    axes.plot([middle] * 2, [y, y + tall], color=_INK, linewidth=1)
                if column.missing:
                    _missing(axes, column.missing, x, y, cell, tall)
            y += len(sheet.images) * row + _APART
        _scale(axes, sheet, left, y)
        for number, line in enumerate(notes):
            _text(axes, _MARGIN, y + 0.35 + number * _LINE, line, size=7, color=_MUTED)
        axes.set(xlim=(0, width), ylim=(height, 0), aspect="auto")
        axes.axis("off")
    return figure


def _lean(group: Group, cell: float) -> float:
    """How long the longest name is where names do not fit above their columns, so that they lean; else 0."""
    longest = max((text_width(column.name, 7.5) for column in group.columns), default=0.0)
    return longest if longest > cell + _GAP / 2 else 0.0


def _head(group: Group, cell: float) -> float:
    """Height of what stands above the cells of a group."""
    lines = max((len(column.about) for column in group.columns), default=0)
    lean = _lean(group, cell)
    return 2.4 * _LINE + (0.8 * lean + 0.12 if lean else _LINE) + lines * 0.9 * _LINE + 0.06


def _column_head(axes: Axes, column: Column, x: float, y: float, cell: float, *, leaning: bool) -> None:
    lines = len(column.about)
    base = y - 0.05 - lines * 0.9 * _LINE
    style: dict[str, Any] = {"size": 7.5, "va": "bottom"}
    if leaning:
        style |= {"rotation": 50, "rotation_mode": "anchor", "ha": "left"}
    _text(axes, x + (cell / 2 if leaning else 0), base, column.name, **style)
    for number, line in enumerate(column.about):
        _text(axes, x, base + (number + 1) * 0.9 * _LINE, line, size=6.5, color=_MUTED, va="bottom")


def _image(axes: Axes, image: Any, x: float, y: float, cell: float) -> None:
    _put(axes, image, x, y, cell, "gray")


def _cell(axes: Axes, one: Cell, x: float, y: float, cell: float) -> None:
    _put(axes, one.map_HW, x, y, cell, COLORS)
    if one.word:
        _text(axes, x + cell / 2, y + cell / 2, one.word, size=7, color=_MUTED, ha="center", va="center")
    if one.note:
        _text(axes, x + cell / 2, y + cell + 0.01, one.note, size=6.5, color=_MUTED, ha="center", va="top")


def _put(axes: Axes, values: Any, x: float, y: float, cell: float, colors: str) -> None:
    """An array into a square cell, pixels as they are; one that is not square keeps its proportions."""
    high, wide = np.shape(values)[:2]
    width, height = cell * wide / max(high, wide), cell * high / max(high, wide)
    x, y = x + (cell - width) / 2, y + (cell - height) / 2
    axes.imshow(
        values,
        cmap=colors,
        vmin=0,
        vmax=1,
        extent=(x, x + width, y + height, y),
        interpolation="nearest",
        aspect="auto",
    )
    axes.add_patch(mpl.patches.Rectangle((x, y), width, height, fill=False, edgecolor=_RULE, linewidth=0.5))


def _missing(axes: Axes, why: str, x: float, y: float, cell: float, height: float) -> None:
    axes.add_patch(mpl.patches.Rectangle((x, y), cell, height, facecolor=_EMPTY, edgecolor=_RULE, linewidth=0.5))
    _text(axes, x + cell / 2, y + height / 2, why, size=7, color=_MUTED, ha="center", va="center", rotation=90)


def _scale(axes: Axes, sheet: Sheet, x: float, y: float) -> None:
    wide = 1.2
    start = x + text_width(sheet.low, 7.5) + 0.08
    ramp = np.linspace(0, 1, 128)[None, :]
    extent = (start, start + wide, y + 0.12, y)
    axes.imshow(ramp, cmap=COLORS, vmin=0, vmax=1, extent=extent, interpolation="nearest", aspect="auto")
    _text(axes, x, y + 0.06, sheet.low, size=7.5, va="center")
    _text(axes, start + wide + 0.08, y + 0.06, sheet.high, size=7.5, va="center")


def _text(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    lines: Sequence[str] = [plain_text(line) for line in text.split("\n")]
    defaults: dict[str, Any] = {"color": _INK, "va": "top", "ha": "left"}
    axes.text(x, y, "\n".join(lines), parse_math=False, **{**defaults, **style})
