"""Tables for people, made with rich; plain text where there is no terminal."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from localgrad.cost import CostRow
from localgrad.paper_tables import Memories

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


def memory_rows(rows: Sequence[Memories], title: str) -> Table:
    """Memory of several methods, four ways."""
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", expand=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    headings = ("units", "aux params", "MMACs", "largest", "live MiB", "ratio", "recompute", "bf16", "both")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        plain = row.plain
        ratios = (plain.ratio, row.recomputed, row.bfloat16, row.both)
        table.add_row(
            plain.name,
            str(plain.units),
            f"{plain.aux_parameters:,}",
            f"{plain.total / 1e6:.2f}",
            f"{plain.max_node / 1e6:.2f}",
            f"{plain.peak / 2**20:.1f}",
            *("-" if ratio is None else f"{ratio:.3f}" for ratio in ratios),
        )
    return table


def memory_legend() -> str:
    """What the numbers of ``memory_rows`` are."""
    return (
        "MMACs: per sample, forward, bodies and auxiliary networks, counted as the papers do; largest: those of the "
        "unit with most. live: bytes of all tensors alive at the peak of a training step (weights, gradients, "
        "optimiser state, activations, input) in float32, found with fake tensors. Ratios are of live memory to "
        "backpropagation in float32: as it is, with recompute=True, in bfloat16 (autocast), and both."
    )


def cost_legend() -> str:
    """What the numbers of ``cost_rows`` are."""
    return (
        "MMACs: per sample, forward, bodies and auxiliary networks, counted as the papers do; largest unit: what the "
        "slowest of parallel machines would do. live: bytes of all tensors alive at the peak of a training step "
        "(weights, gradients, optimiser state, activations, input), found with fake tensors; ratio: to the first row."
    )
