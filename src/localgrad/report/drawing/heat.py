"""Matrices: how alike blocks are, and which loss reaches which unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from localgrad.report.drawing.pens import Pens
from localgrad.report.style import shorten

FEW = 9
"""Rows and columns up to which every cell carries its number."""


@final
@dataclass(frozen=True)
class Heat:
    """Values in [0, 1] from clear to full in one colour; rows from the top."""

    values: Sequence[Sequence[float]]
    rows: Sequence[str]
    columns: Sequence[str]
    y: str
    x: str
    group: int

    def __call__(self, figure: Figure, pens: Pens) -> None:
        """Draw the cells, and a scale beside them."""
        axes, scale = figure.subplots(1, 2, width_ratios=[24, 1])
        color = to_rgb(pens.series(self.group))
        cells = [Rectangle((column, row), 1, 1) for row in range(len(self.rows)) for column in range(len(self.columns))]
        shades = [(*color, 0.04 + 0.96 * min(max(value, 0.0), 1.0)) for line in self.values for value in line]
        axes.add_collection(PatchCollection(cells, facecolors=shades, linewidths=0, antialiaseds=False))
        if max(len(self.rows), len(self.columns)) <= FEW:
            for row, line in enumerate(self.values):
                for column, value in enumerate(line):
                    ink = pens.paper if value > 0.7 else pens.ink
                    axes.text(column + 0.5, row + 0.5, f"{value:.2f}", color=ink, fontsize=8, ha="center", va="center")
        _sides(axes, self.rows, self.columns)
        axes.set_ylabel(self.y)
        axes.set_xlabel(self.x)
        steps = 32
        bars = [Rectangle((0, step / steps), 1, 1 / steps) for step in range(steps)]
        shades = [(*color, 0.04 + 0.96 * (step + 0.5) / steps) for step in range(steps)]
        scale.add_collection(PatchCollection(bars, facecolors=shades, linewidths=0, antialiaseds=False))
        scale.set(xlim=(0, 1), ylim=(0, 1), xticks=[])
        scale.set_yticks([0, 0.5, 1], ["0", "0.5", "1"], fontsize=8)
        scale.yaxis.tick_right()
        _bare(scale)


@final
@dataclass(frozen=True)
class Reach:
    """Row: the loss of a unit. Filled: it has a gradient for parameters of the column's unit; framed: it may."""

    names: Sequence[str]
    reach: Sequence[Sequence[bool]]
    declared: Sequence[int]
    group: int

    def __call__(self, figure: Figure, pens: Pens) -> None:
        """Draw the squares; those that should not be are in the colour of warnings."""
        axes, count = figure.add_subplot(), len(self.names)
        gap = 0.08 if count <= 24 else 0.0
        good: list[Rectangle] = []
        bad: list[Rectangle] = []
        for row, line in enumerate(self.reach):
            for column, hit in enumerate(line):
                if hit:
                    allowed = row - self.declared[row] < column <= row
                    (good if allowed else bad).append(Rectangle((column + gap, row + gap), 1 - 2 * gap, 1 - 2 * gap))
        axes.add_collection(PatchCollection(good, facecolors=pens.series(self.group), linewidths=0))
        axes.add_collection(PatchCollection(bad, facecolors=pens.warn, linewidths=0))
        if count <= 24:
            lines = [Rectangle((column, row), 1, 1) for row in range(count) for column in range(count)]
            axes.add_collection(PatchCollection(lines, facecolors="none", edgecolors=pens.rule, linewidths=0.6))
        frames = [
            Rectangle((max(row - declared + 1, 0), row), min(declared, row + 1), 1)
            for row, declared in enumerate(self.declared)
        ]
        axes.add_collection(PatchCollection(frames, facecolors="none", edgecolors=pens.muted, linewidths=0.8))
        _sides(axes, self.names, self.names)
        axes.set_ylabel("loss of unit")
        axes.set_xlabel("parameters of unit")


def _sides(axes: Any, rows: Sequence[str], columns: Sequence[str]) -> None:
    """Names of rows from the top and of columns, not more than can be read."""
    axes.set(xlim=(0, len(columns)), ylim=(len(rows), 0))
    axes.set_aspect("equal" if len(rows) == len(columns) else "auto")
    for axis, names in ((axes.yaxis, rows), (axes.xaxis, columns)):
        step = -(-len(names) // (16 if axis is axes.yaxis else 12))
        places = range(0, len(names), step)
        axis.set_ticks([place + 0.5 for place in places], [shorten(names[place], 14) for place in places], fontsize=8)
    if any(len(name) > 3 for name in columns):
        axes.tick_params(axis="x", rotation=50)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    _bare(axes)


def _bare(axes: Any) -> None:
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
