"""CKA of all blocks of one run with all of another as a heat map, with the borders of units on both axes.

Legend: P blocks of the first run, from the bottom up; Q blocks of the second, from left to right. Lengths in inches.
"""

from collections.abc import Sequence
from textwrap import wrap
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from localgrad.report.cka_matrix import CkaMatrix
from localgrad.report.figure_file import plain_text
from localgrad.report.text_width import FONT, cut_to, text_width

# Its lightness grows evenly: it reads the same to colour-blind eyes and in grey print.
COLORS = "YlGnBu"
_INK, _MUTED = "#1a1a1a", "#5c5c5c"
_LEAST, _MOST, _WIDE = 0.1, 0.46, 6.6
_LINE = 0.155
_VALUE = 0.3
"""Side of a cell that a value fits in."""
_NAME = 0.13
"""Distance of two names that can be read."""


def draw(matrix: CkaMatrix) -> Figure:
    """The figure; the same matrix gives the same bytes (``figure_file.figure_bytes``)."""
    rows, columns = np.shape(matrix.values_PQ)
    cell = min(_MOST, max(_LEAST, _WIDE / max(rows, columns)))
    left = max(text_width(name, 7) for name in matrix.rows) + 0.55
    below = max(text_width(name, 7) for name in matrix.columns) + 0.38
    width = left + max(columns * cell, 2.0) + 0.95
    width = max(width, text_width(matrix.title, 9.5, bold=True) + 0.4, 4.4)
    notes = [line for note in matrix.notes for line in wrap(plain_text(note), max(30, int((width - 0.36) / 0.0585)))]
    top = 0.5
    height = top + rows * cell + below + _LINE * len(notes) + 0.3
    with mpl.rc_context({"font.family": [FONT, "sans-serif"], "text.parse_math": False}):
        figure = Figure(figsize=(width, height), facecolor="white")
        box = (left / width, 1 - (top + rows * cell) / height, columns * cell / width, rows * cell / height)
        axes = figure.add_axes(box)
        _heat(axes, matrix, cell)
        _names(axes, matrix, cell)
        scale = figure.add_axes((box[0] + box[2] + 0.15 / width, box[1], 0.12 / width, box[3]))
        _scale(scale)
        figure.text(0.18 / width, 1 - 0.16 / height, plain_text(matrix.title), size=9.5, weight="bold", va="top")
        for number, line in enumerate(notes):
            y = (_LINE * (len(notes) - number) + 0.12) / height
            figure.text(0.18 / width, y, line, size=7, color=_MUTED, va="top")
    return figure


def _heat(axes: Axes, matrix: CkaMatrix, cell: float) -> None:
    values_PQ = np.asarray(matrix.values_PQ)
    rows, columns = values_PQ.shape
    image = axes.imshow(values_PQ, cmap=COLORS, vmin=0, vmax=1, origin="lower", aspect="auto", interpolation="nearest")
    wide = 1.0 if cell > 0.15 else 0.6
    # White below black: seen on light and on dark cells.
    for color, width in (("white", 2.2 * wide), (_INK, wide)):
        for place in _ends(matrix.row_borders):
            axes.plot([-0.5, columns - 0.5], [place] * 2, color=color, linewidth=width)
        for place in _ends(matrix.column_borders):
            axes.plot([place] * 2, [-0.5, rows - 0.5], color=color, linewidth=width)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(-0.5, rows - 0.5))
    if cell >= _VALUE:
        for p, name in enumerate(matrix.rows):
            for q, other in enumerate(matrix.columns):
                if name == other:
                    value = values_PQ[p, q]
                    light = np.dot(image.to_rgba(value)[:3], (0.299, 0.587, 0.114)) > 0.55
                    axes.text(q, p, f"{value:.2f}", size=7, ha="center", va="center", color=_INK if light else "white")


def _ends(borders: Sequence[bool]) -> list[float]:
    """Where lines go: behind every block with which a unit ends."""
    return [place + 0.5 for place, ends in enumerate(borders) if ends]


def _names(axes: Axes, matrix: CkaMatrix, cell: float) -> None:
    every = max(1, int(np.ceil(_NAME / cell)))
    for axis, names in ((axes.yaxis, matrix.rows), (axes.xaxis, matrix.columns)):
        shown = range(0, len(names), every)
        labels = axis.set_ticks(shown, [plain_text(names[place]) for place in shown])
        for label in labels:
            label.label1.set(parse_math=False, fontsize=7, color=_INK)
    axes.tick_params(length=2, width=0.5, pad=2)
    axes.tick_params(axis="x", rotation=90)
    rows, columns = np.shape(matrix.values_PQ)
    style: dict[str, Any] = {"size": 8, "color": _INK, "parse_math": False}
    axes.set_ylabel(cut_to(plain_text(matrix.row_run), 8, rows * cell), **style)
    axes.set_xlabel(cut_to(plain_text(matrix.column_run), 8, columns * cell), **style)
    axes.spines[:].set(linewidth=0.5, color=_MUTED)


def _scale(axes: Axes) -> None:
    ramp = np.linspace(0, 1, 128)[:, None]
    axes.imshow(ramp, cmap=COLORS, vmin=0, vmax=1, origin="lower", aspect="auto", extent=(0, 1, 0, 1))
    axes.yaxis.tick_right()
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"], size=7)
    axes.set_xticks([])
    axes.tick_params(length=2, width=0.5, pad=2)
    axes.spines[:].set(linewidth=0.5, color=_MUTED)
