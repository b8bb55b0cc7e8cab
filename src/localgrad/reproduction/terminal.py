"""A reproduction on the terminal: theirs beside ours, a row per figure."""

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from localgrad.reproduction.entries import Reproduction
from localgrad.reproduction.writing import cells, common_line, legend, shared, title


def table(found: Reproduction) -> RenderableType:
    """A table to print with rich; in a short budget the warning stands above and below it."""
    metrics = list(dict.fromkeys(entry.figure.row.metric for entry in found.entries))
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0))
    grid.add_column("#", justify="right", no_wrap=True)
    grid.add_column("row", overflow="fold", ratio=3)
    if len(metrics) > 1:
        grid.add_column("metric", overflow="fold", ratio=1)
    for head in ("theirs", "ours", "n", "gap"):
        grid.add_column(head, justify="right", no_wrap=True)
    grid.add_column("conditions", overflow="fold", ratio=4)
    common = shared(found)
    for entry in found.entries:
        words = list(cells(entry, common))
        if len(metrics) == 1:
            del words[2]
        grid.add_row(*(Text(word) for word in words))
    warning = [Text(found.warning, style="bold red")] if found.warning else []
    head = title(found) + (f": {metrics[0]}" if len(metrics) == 1 else "")
    if common:
        warning.append(Text(common_line(found)))
    lines = [Text(line) for line in ("", *legend(found))]
    return Group(Text(head, style="bold"), *warning, Text(""), grid, *lines, *(warning[:1] if found.warning else []))
