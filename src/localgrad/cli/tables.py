"""Tables for people, made with rich; plain text where there is no terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from localgrad.cost import CostRow

WIDTH = 120


def console() -> Console:
    """A console of the terminal's width; a fixed width where the output goes to a file."""
    found = Console()
    return found if found.is_terminal else Console(width=WIDTH)


def cost_rows(rows: Sequence[CostRow], title: str) -> Table:
    """What several networks cost, the first row being what ratios refer to."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", expand=False)
    table.add_column("", no_wrap=True)
    for heading in ("units", "params", "aux params", "MMACs", "largest unit", "live MiB", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.name,
            str(row.units),
            f"{row.parameters:,}",
            f"{row.aux_parameters:,}",
            f"{row.total / 1e6:.2f}",
            f"{row.max_node / 1e6:.2f}",
            f"{row.peak / 2**20:.1f}",
            f"{row.ratio:.3f}",
        )
    return table


def cost_legend() -> str:
    """What the numbers of ``cost_rows`` are."""
    return (
        "MMACs: per sample, forward, bodies and auxiliary networks, counted as the papers do; largest unit: what the "
        "slowest of parallel machines would do. live: bytes of all tensors alive at the peak of a training step "
        "(weights, gradients, optimiser state, activations, input), found with fake tensors; ratio: to the first row."
    )
