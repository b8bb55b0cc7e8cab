"""Accuracy against a cost, the area of every bubble being a third quantity (GN-DGL Fig. 3, MLAAN Fig. 1)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from matplotlib.figure import Figure

from localgrad.report.drawing.canvas import logarithmic
from localgrad.report.drawing.pens import Pens

LARGEST = 800.0
"""Area in square points of the largest bubble."""

Box = tuple[float, float, float, float]


@final
@dataclass(frozen=True)
class Point:
    """One bubble: place, error of y, third quantity, and the name beside it."""

    group: int
    name: str
    x: float
    y: float
    error: float
    third: float


@final
@dataclass(frozen=True)
class Bubbles:
    """All of them with their names beside them."""

    points: Sequence[Point]
    x: str
    y: str

    def __call__(self, figure: Figure, pens: Pens) -> None:
        """Draw them, the largest first."""
        axes = figure.add_subplot()
        largest = max(point.third for point in self.points)
        for point in sorted(self.points, key=lambda one: -one.third):
            color = pens.series(point.group)
            if point.error > 0:
                axes.errorbar(point.x, point.y, yerr=point.error, color=color, linewidth=1.2, alpha=0.7)
            axes.scatter(
                [point.x], [point.y], s=LARGEST * point.third / largest, color=color, alpha=0.35, linewidths=0,
            )  # fmt: skip
            axes.plot([point.x], [point.y], marker="o", markersize=3, color=color)
        values = [point.x for point in self.points]
        if min(values) > 0 and max(values) > 20 * min(values):
            logarithmic(axes, "x")
        axes.margins(x=0.2, y=0.25)
        axes.set_xlabel(self.x)
        axes.set_ylabel(self.y)
        self._names(axes, pens)

    def _names(self, axes: Any, pens: Pens) -> None:
        """Beside each bubble, where no other name or bubble is, as far as there is such a place."""
        axes.autoscale_view()
        to_axes = axes.transData + axes.transAxes.inverted()
        width, height = 250.0, 145.0  # of the axes in points, about
        largest = max(point.third for point in self.points)
        centres = [tuple(map(float, to_axes.transform((point.x, point.y)))) for point in self.points]
        radii = [(LARGEST * point.third / largest / 3.14159) ** 0.5 for point in self.points]
        taken: list[Box] = [
            (x - r / width, y - r / height, x + r / width, y + r / height)
            for (x, y), r in zip(centres, radii, strict=True)
        ]
        for point, (x, y), r in zip(self.points, centres, radii, strict=True):
            half, line = len(point.name) * 5.6 / width / 2, 11 / height
            right, up = (r + 4) / width, (r + 4) / height
            places: list[tuple[float, float, str]] = [
                (x + right, y, "left"), (x - right, y, "right"), (x, y + up + line / 2, "center"),
                (x, y - up - line / 2, "center"), (x + right, y + line, "left"), (x + right, y - line, "left"),
                (x - right, y + line, "right"), (x - right, y - line, "right"),
            ]  # fmt: skip
            chosen = min(places, key=lambda at: _crowding(_box(at, half, line), taken))
            taken.append(_box(chosen, half, line))
            axes.text(
                *chosen[:2], point.name, color=pens.series(point.group), fontsize=9, ha=chosen[2], va="center",
                transform=axes.transAxes,
            )  # fmt: skip


def _box(at: tuple[float, float, str], half: float, line: float) -> Box:
    x, y, side = at
    centre = x + {"left": half, "center": 0.0, "right": -half}[side]
    return centre - half, y - line / 2, centre + half, y + line / 2


def _crowding(box: Box, taken: Sequence[Box]) -> float:
    """How much of the box others cover, or lies outside of the axes."""
    left, low, right, high = box
    covered = sum(max(0.0, min(right, r) - max(left, x)) * max(0.0, min(high, t) - max(low, b)) for x, b, r, t in taken)
    outside = max(0.0, -left) + max(0.0, right - 1) + max(0.0, -low) + max(0.0, high - 1)
    return covered + outside
