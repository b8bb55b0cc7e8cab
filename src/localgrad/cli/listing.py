"""The verb that lists recipes: by paper and table, with the reported figures beside them."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from localgrad.cli.options import parse, plain_parser, summary
from localgrad.cli.recipes import built_in
from localgrad.cli.table_lines import Entry, command_line, table_lines
from localgrad.errors import LocalgradError, did_you_mean, there_are
from localgrad.recipes.experiments import Experiment, experiment
from localgrad.reported import PAPERS, Row, place_of, rows, table_name

Words = Sequence[str]

HEAD = """\
RECIPE [options]  METRIC: what the paper reports. `localgrad train RECIPE [options]` makes it, for metrics marked (cost)
`localgrad cost`, for (compare) `localgrad compare`, for (evaluate, stl10) training and `localgrad evaluate RUN --data
stl10`. Accuracies are those of the last epoch. `localgrad recipes --paper NAME --table T1 --commands` prints whole
commands, `localgrad train RECIPE --help` all options of a recipe. `localgrad reproduce TABLE` runs a whole table and
writes ours beside theirs; TABLE is what stands in brackets behind it.
"""


def recipes(words: Words) -> int:
    """List the recipes by paper and table."""
    parser = plain_parser("recipes", "List the recipes by paper and table, with the papers' figures.")
    parser.add_argument("--paper", type=str | None, help=f"only this one: {', '.join(PAPERS)}")
    parser.add_argument("--table", type=str | None, help="only this table, such as T1")
    parser.add_argument("--commands", action="store_true", help="every figure with the whole command that makes it")
    values = parse(parser, words)
    chosen = choose(values["paper"], values["table"])
    if values["commands"]:
        lines = commands(chosen)
    else:
        lines = listing(chosen, rest=values["paper"] is None and values["table"] is None)
    print_lines(lines)
    return 0


def print_lines(lines: Iterable[str]) -> None:
    """Print lines not through rich: they are not wrapped, so that they can be searched and cut."""
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def choose(paper: str | None, table: str | None) -> list[Row]:
    """The rows of a paper, of a table, of both; in the order of papers and tables.

    Raises LocalgradError that names the papers or tables there are, and the nearest.
    """
    if paper is not None and paper not in PAPERS:
        raise LocalgradError(
            sentences(f"localgrad recipes --paper {paper}: there is no such paper.", paper, list(PAPERS))
        )
    found = [row for row in rows() if paper in (None, row.paper)]
    tables = sorted({row.table for row in found}, key=place_of)
    if table is not None and table not in tables:
        where = "" if paper is None else f" in {paper}"
        raise LocalgradError(
            sentences(f"localgrad recipes --table {table}: there is no such table{where}.", table, tables)
        )
    order = {name: place for place, name in enumerate(PAPERS)}
    kept = [row for row in found if table in (None, row.table)]
    return sorted(kept, key=lambda row: (order[row.paper], place_of(row.table)))


def sentences(told: str, word: str, choices: Sequence[str]) -> str:
    """What is wrong, what was probably meant, and all that there is."""
    return " ".join(filter(None, [told, did_you_mean(word, choices), there_are(choices)]))


def commands(chosen: Sequence[Row]) -> Iterator[str]:
    """One line per row: the command, and what the paper reports behind it."""
    for row in chosen:
        yield command_line(row, experiment(row))


def listing(chosen: Sequence[Row], *, rest: bool) -> Iterator[str]:
    """One line per recipe and fixed keywords, by paper and table; ``rest``: then the recipes that no table has."""
    yield from HEAD.splitlines()
    tables: dict[tuple[str, str], list[Entry]] = {}
    for row in chosen:
        tables.setdefault((row.paper, row.table), []).append((row, experiment(row)))
    last = None
    for (paper, table), entries in tables.items():
        if paper != last:
            yield from ("", f"{paper}  {PAPERS[paper]}")
            last = paper
        yield f"  {table}  ({table_name(paper, table)})"
        yield from ("    " + line for line in table_lines(entries))
    if rest:
        used = {found.recipe for row in rows() if isinstance(found := experiment(row), Experiment)}
        others = {name: recipe for name, recipe in sorted(built_in().items()) if name not in used}
        yield from ("", "in no paper's table")
        for name, recipe in others.items():
            yield f"    {name}  {summary(recipe)}"
