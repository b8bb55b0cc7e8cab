"""Live memory over one training step, beside that of training end to end."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from localgrad.report.drawing.pens import Pens
from localgrad.report.sides import Timeline
from localgrad.report.words import mib

POINTS = 800
"""Events that a curve shows; of more, the highest and the lowest of neighbours are."""


@final
@dataclass(frozen=True)
class Step:
    """Bytes alive from the first event of a step to the last, of a group and of what it is compared with."""

    own: Timeline
    baseline: Timeline
    group: int
    names: tuple[str, str]

    def __call__(self, figure: Figure, pens: Pens) -> None:
        """Draw both curves, and a strip that says what the units do."""
        axes, color = figure.add_subplot(), pens.series(self.group)
        own_x, own_y = thinned(self.own.live)
        axes.fill_between(own_x, own_y, step="post", color=color, alpha=0.14, linewidth=0)
        lines = [(own_x, own_y, self.names[0], color, 0.0)]
        if self.own.live != self.baseline.live:
            x, y = thinned(self.baseline.live)
            axes.plot(x, y, drawstyle="steps-post", color=pens.muted, linewidth=1.1)
            lines.append((x, y, self.names[1], pens.muted, 1.0))
        axes.plot(own_x, own_y, drawstyle="steps-post", color=color, linewidth=1.5)
        for x, y, name, ink, at in lines:
            peak = max(y)
            axes.plot([x[y.index(peak)]], [peak], marker="o", markersize=4, color=ink)
            # Above the axes: curves of any form stay clear of it.
            side = "right" if at else "left"
            axes.text(
                at, 1.03, f"{name} {mib(peak * 2**20)} MiB", color=ink, fontsize=9, ha=side, transform=axes.transAxes
            )
        axes.set(xlim=(0, 1), ylim=(0, max(self.own.live + self.baseline.live) / 2**20 * 1.06))
        axes.set_ylabel("live MiB")
        self._strip(axes, pens, color)

    def _strip(self, axes: Any, pens: Pens, color: str) -> None:
        """Below the axis: forward faint, backward full, update grey; the number of each unit below it."""
        shades = {"forward": (color, 0.4), "backward": (color, 1.0), "update": (pens.muted, 0.45)}
        count = len(self.own.live)
        for phase, (shade, alpha) in shades.items():
            boxes = [
                Rectangle((start / count, -0.055), (stop - start) / count, 0.035)
                for _, name, start, stop in self.own.spans
                if name == phase
            ]
            axes.add_collection(
                PatchCollection(
                    boxes, facecolors=shade, alpha=alpha, linewidths=0, transform=axes.transAxes, clip_on=False
                ),
                autolim=False,
            )
        centres = unit_centres(self.own)
        step = -(-len(centres) // 16)
        shown = centres[::step]
        axes.set_xticks([at for _, at in shown], [str(unit + 1) for unit, _ in shown], fontsize=8)
        axes.tick_params(axis="x", pad=9)
        axes.set_xlabel("unit at work, first event of the step to the last")


def unit_centres(line: Timeline) -> list[tuple[int, float]]:
    """Every unit with the middle of its first to its last event, as a share of all events."""
    ends: dict[int, tuple[int, int]] = {}
    for unit, _, start, stop in line.spans:
        first, last = ends.get(unit, (start, stop))
        ends[unit] = min(first, start), max(last, stop)
    count = len(line.live)
    return [(unit, (first + last) / 2 / count) for unit, (first, last) in sorted(ends.items())]


def thinned(live: Sequence[int], points: int = POINTS) -> tuple[list[float], list[float]]:
    """Places in [0, 1] and MiB of at most about so many events, the peak among them."""
    size = max(1, -(-2 * len(live) // points))
    kept: list[int] = []
    for start in range(0, len(live), size):
        part = range(start, min(start + size, len(live)))
        kept += sorted({min(part, key=live.__getitem__), max(part, key=live.__getitem__)})
    x = [event / len(live) for event in kept]
    y = [live[event] / 2**20 for event in kept]
    return [*x, 1.0], [*y, y[-1]]
