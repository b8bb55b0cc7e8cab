"""Curves over epochs, units or blocks, with their names at their ends."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

from matplotlib.figure import Figure

from localgrad.report.curves import Curve
from localgrad.report.drawing.canvas import LABELS, label_ends, legend_below, logarithmic, whole_numbers
from localgrad.report.drawing.pens import Pens
from localgrad.report.style import dash_of, marker_of, shorten


@final
@dataclass(frozen=True)
class Lines:
    """A bold line for the mean of every group and a thin one for every seed.

    ``marked``: for every group the points that get a marker; all of them where ``points`` is set.
    """

    curves: Sequence[Curve]
    names: Mapping[int, str]
    x: str
    points: bool = False
    log: bool = False
    marked: Mapping[int, frozenset[int]] = field(default_factory=dict)
    ticks: tuple[str, ...] = ()

    def __call__(self, figure: Figure, pens: Pens) -> None:
        """Draw them."""
        axes = figure.add_subplot()
        handles = [self._line(axes, curve, pens) for curve in self.curves]
        axes.set_xlabel(self.x)
        axes.margins(x=0.03)
        if self.ticks:
            step = -(-len(self.ticks) // 8)
            places = range(0, len(self.ticks), step)
            axes.set_xticks(
                [place + 1 for place in places], [shorten(self.ticks[place], 14) for place in places], fontsize=8
            )
            if max(map(len, self.ticks)) > 5:
                axes.tick_params(axis="x", rotation=35)
                for label in axes.get_xticklabels():
                    label.set_horizontalalignment("right")
                    label.set_rotation_mode("anchor")
        else:
            whole_numbers(axes)
        if self.log:
            logarithmic(axes, "y")
        names = [self.names[curve.group] for curve in self.curves]
        ends = [
            (list(curve.mean.values())[-1], name, pens.series(curve.group))
            for curve, name in zip(self.curves, names, strict=True)
            if curve.mean
        ]
        if len(self.curves) > 1:
            self._lead(axes, pens)
            label_ends(axes, ends)
            legend_below(figure, handles, names, pens)

    def _lead(self, axes: Any, pens: Pens) -> None:
        """From the end of a curve that is shorter than others a faint line to where its name stands."""
        last = max((max(curve.mean, default=0) for curve in self.curves), default=0)
        for curve in self.curves if len(self.curves) <= LABELS else ():
            if curve.mean and (end := max(curve.mean)) < last:
                y = curve.mean[end]
                axes.plot([end, last], [y, y], color=pens.series(curve.group), linewidth=0.8, alpha=0.4, linestyle=":")

    def _line(self, axes: Any, curve: Curve, pens: Pens) -> Any:
        color, dash = pens.series(curve.group), dash_of(curve.group)
        style: dict[str, Any] = {"color": color, "linestyle": (0, dash) if dash else "-"}
        for seed in curve.seeds:
            if len(curve.seeds) > 1:
                axes.plot(list(seed), list(seed.values()), color=color, linewidth=0.9, alpha=0.45)
        mean = curve.mean
        chosen = self.marked.get(curve.group)
        marker: dict[str, Any] = {}
        if chosen is not None:
            marker = {"markevery": [place for place, x in enumerate(mean) if x in chosen]}
        if self.points or len(mean) == 1 or chosen is not None:
            marker |= {"marker": marker_of(curve.group), "markersize": 5}
        (line,) = axes.plot(list(mean), list(mean.values()), **style, linewidth=2, **marker)
        return line


@final
@dataclass(frozen=True)
class UnitLines:
    """One curve per unit of one group, from faint for the first unit to full for the last."""

    group: int
    units: Mapping[int, Mapping[int, float]]
    log: bool = False

    def __call__(self, figure: Figure, pens: Pens) -> None:
        """Draw them."""
        axes = figure.add_subplot()
        color, order = pens.series(self.group), sorted(self.units)
        for place, unit in enumerate(order):
            points = self.units[unit]
            alpha = 0.3 + 0.7 * place / max(len(order) - 1, 1)
            marker: dict[str, Any] = {"marker": "o", "markersize": 4} if len(points) == 1 else {}
            axes.plot(list(points), list(points.values()), color=color, alpha=alpha, linewidth=1.6, **marker)
        axes.set_xlabel("epoch")
        axes.margins(x=0.03)
        whole_numbers(axes)
        if self.log:
            logarithmic(axes, "y")
        shown = order if len(order) <= 5 else [order[0], order[-1]]
        ends = [(list(self.units[unit].values())[-1], str(unit + 1), color) for unit in shown]
        label_ends(axes, ends, size=8.5)
