"""The comparison as one table for a terminal; it fits 80 columns and reads the same in a plain file."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from localgrad.report.comparison import Comparison, Row
from localgrad.report.words import frozen_accuracy, legend_of, title_of


def table(comparison: Comparison) -> RenderableType:
    """A table to print with rich: a row per name, below it what the numbers are."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    grid.add_column(Text("name"), overflow="fold")
    judge = {"linear evaluation": "linear", "kNN": "kNN"}.get(str(frozen_accuracy(comparison)), "test")
    heads = (f"{judge}\ntop-1 %", "best\ntop-1", "units", "live MiB\n(ratio)", "ms/step\n(ratio)", "reach\n(blocks)")
    for head in heads:
        grid.add_column(Text(head, justify="right"), justify="right", no_wrap=True)
    for row in comparison.rows:
        grid.add_row(Text(row.name), *_cells(row))
    problems = [f"{row.name}: audit: {problem}" for row in comparison.rows for problem in row.audit_problems]
    lines = ["", *legend_of(comparison), *problems]
    return Group(Text(title_of(comparison), style="bold"), Text(""), grid, *map(Text, lines))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        str(row.top1),
        f"{row.best_top1.mean:.2f}",
        str(len(row.spans)),
        f"{row.live_bytes / 2**20:.1f} ({row.live_ratio:.2f})",
        f"{1000 * row.step_seconds:.1f} ({row.step_ratio:.2f})",
        f"{row.reach_units} ({row.reach_blocks}/{row.blocks}){' !' if row.audit_problems else ''}",
    )
