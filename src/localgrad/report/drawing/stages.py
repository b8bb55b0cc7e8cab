"""The plan of a distributed run: what every stage hosts, as time per mini-batch."""

from dataclasses import dataclass
from typing import final

from matplotlib.figure import Figure

from localgrad.report.drawing.pens import Pens
from localgrad.report.planned import Planned
from localgrad.report.style import shorten


@final
@dataclass(frozen=True)
class Stages:
    """A bar per stage, a segment per unit; the longest bar is the pace of the pipeline."""

    plan: Planned
    group: int

    def __call__(self, figure: Figure, pens: Pens) -> None:
        """Draw the bars from the first stage at the top."""
        axes, color, plan = figure.add_subplot(), pens.series(self.group), self.plan
        widest = max(sum(unit.seconds for unit in plan.units_of(stage)) for stage in range(plan.stages))
        for stage in range(plan.stages):
            left = 0.0
            for place, unit in enumerate(plan.units_of(stage)):
                width = 1000 * unit.seconds
                axes.barh(stage, width, left=left, height=0.62, color=color, alpha=(0.3, 0.45)[place % 2], linewidth=0)
                if unit.seconds > widest * 0.013 * (len(unit.name) + 1):
                    axes.text(
                        left + width / 2, stage, shorten(unit.name), fontsize=7.5, ha="center", va="center",
                        color=pens.ink,
                    )  # fmt: skip
                left += width
        axes.set_ylim(plan.stages - 0.5, -0.5)
        axes.set_yticks(range(plan.stages), [f"stage {stage}" for stage in range(plan.stages)])
        axes.set_xlim(0, 1000 * widest * 1.02 or 1)
        axes.set_xlabel("ms per mini-batch, " + ("measured" if plan.measured else "by MACs"))
        axes.grid(visible=False, axis="y")
        axes.grid(visible=True, axis="x")
