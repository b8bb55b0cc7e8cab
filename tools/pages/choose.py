"""``python -m tools.pages.choose``: writes the tables of docs/choose-a-method.md, whose numbers all stand elsewhere.

Accuracies are those of ``localgrad.reported``, memory and arithmetic those of docs/memory.md, times those of a dated
result in benchmarks/results/. A test compares the page with what this makes.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from localgrad.reported import Row, rows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "choose-a-method.md"
TIMES = "2026-11-28-step-time-2-core-cpu.md"
MODULES = (1, 2, 4, 8, 16)
SOURCES = (("auglocal", "T1"), ("infopro", "T2"), ("mlaan", "T1"), ("thesis", "T3.4"))
"""The papers' main tables of ResNet-32 on CIFAR-10."""
NAMES = {"auglocal": "AugLocal", "infopro": "InfoPro", "mlaan": "MLAAN", "thesis": "GN-DGL thesis"}
WITHOUT_LABELS = ("thesis", "T4.1")


class Use(NamedTuple):
    """What a method needs beside its input, and when to take it. ``time`` is its row in the step times."""

    needs: str
    when: str
    time: str = ""


USES = {
    "backprop": Use("labels", "whenever its memory fits and one machine is enough", "Backprop, float32"),
    "checkpointing": Use("labels", "memory is short, time is not, the network must be trained end to end"),
    "DGL (mlp-sr)": Use(
        "labels", "little memory and time; few modules, or where some points of accuracy do not matter", "DGL, float32"
    ),
    "PredSim, block-wise": Use("labels", "VGGs layer by layer, as in its paper"),
    "InfoPro (contrast)": Use("labels, the image itself", "2 to 4 modules: nearest to backpropagation there"),
    "InfoPro (softmax)": Use("labels, the image itself", "as contrast, where images of a batch are not to be compared"),
    "GN-DGL, 2 groups": Use("labels", "to cut the width too: more machines than the network has blocks"),
    "AugLocal, depth 2": Use("labels", "many modules, small auxiliary networks", "AugLocal d=2, float32"),
    "AugLocal, depth 6": Use("labels", "many modules and accuracy near backpropagation's", "AugLocal d=6, float32"),
    "MLAAN": Use("labels", "the highest reported accuracy at many modules; time and memory are not short"),
}  # fmt: skip
"""By the names of docs/memory.md."""


def accuracy_table() -> Iterator[str]:
    """Top-1 in percent by source and method, a column per number of modules."""
    yield "| reported by | method | " + " | ".join(f"K={k}" for k in MODULES) + " |"
    yield "|---" * (2 + len(MODULES)) + "|"
    for paper, table in SOURCES:
        own = [row for row in rows() if (row.paper, row.table) == (paper, table)]
        own = [row for row in own if (row.dataset, row.network) == ("CIFAR-10", "ResNet-32")]
        own = [row for row in own if row.metric in ("test_acc_%", "test_error_%")]
        for method in dict.fromkeys(map(label, own)):
            found = {row.get("K"): accuracy(row) for row in own if label(row) == method}
            cells = [found.get(k, "") for k in MODULES]
            yield f"| {NAMES[paper]} {table} | {method} | " + " | ".join(cells) + " |"


def label(row: Row) -> str:
    """The method with the setting that tells its rows apart."""
    if row.method in ("BP", "e2e"):
        return "backprop"
    depth, groups = row.get("d"), row.get("G")
    return row.method + (f", d={depth}" if depth else "") + (f", G={groups}" if groups not in (None, 1) else "")


def accuracy(row: Row) -> str:
    """Top-1 in percent with its deviation; tables of errors are turned round."""
    value = float(row.value)
    value = 100 - value if row.metric.startswith("test_error") else value
    return f"{value:.2f}" + ("" if row.std is None else f" ± {row.std:.2f}")


def cost_table() -> Iterator[str]:
    """What each method takes, as a ratio to backpropagation, and when to take it."""
    found, times = memory_rows(), step_times()
    base = found["backprop"]
    head = ("method", "live memory", "recomputed", "MACs forward", "largest unit", "step time", "needs", "take it")
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    for name, use in USES.items():
        row = found[name]
        macs = [float(row[column]) / float(base[column]) for column in ("MMACs", "largest unit")]
        cells = [row["ratio"], row["recompute"], *(f"{ratio:.2f}" for ratio in macs), times.get(use.time, "")]
        yield f"| {name} | " + " | ".join([*cells, use.needs, use.when]) + " |"


def memory_rows() -> dict[str, dict[str, str]]:
    """The table of docs/memory.md: cells by method and column."""
    head, _, *body = table_of((ROOT / "docs" / "memory.md").read_text(encoding="utf-8"))
    return {row[0]: dict(zip(head, row, strict=True)) for row in body}


def step_times() -> dict[str, str]:
    """Ratios to backpropagation by row of the dated result."""
    _, _, *body = table_of((ROOT / "benchmarks" / "results" / TIMES).read_text(encoding="utf-8"))
    return {row[0]: f"{float(row[2]):.2f}" for row in body}


def unlabelled_table() -> Iterator[str]:
    """Linear evaluation of the thesis' contrastive methods."""
    counts = (1, 4, 8, 16)
    own = [row for row in rows() if (row.paper, row.table) == WITHOUT_LABELS]
    yield "| method | " + " | ".join(f"K={k}" for k in counts) + " |"
    yield "|---" * (1 + len(counts)) + "|"
    for method in dict.fromkeys(row.method for row in own):
        found = {row.get("K"): row.figure for row in own if row.method == method}
        yield f"| {method} | " + " | ".join(found.get(k, "") for k in counts) + " |"


def table_of(text: str) -> list[list[str]]:
    """The cells of the first table of a page."""
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("|"):
            lines.append(line)
        elif lines:
            break
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def written(page: str) -> str:
    """The page with its tables made anew. Raises ValueError where a place for one is missing."""
    tables = {"accuracy": accuracy_table(), "costs": cost_table(), "without labels": unlabelled_table()}
    for name, lines in tables.items():
        page = between(page, name, list(lines))
    return page


def between(page: str, name: str, lines: Sequence[str]) -> str:
    """The page with these lines between its two marks."""
    start, stop = f"<!-- made: {name} -->\n", "<!-- until here -->"
    found = re.search(re.escape(start) + ".*?" + re.escape(stop), page, re.DOTALL)
    if found is None:
        raise ValueError(f"{PAGE.name} has no place {start.strip()} ... {stop}")
    return page.replace(found[0], "\n".join([start, *lines, "", stop]))


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
