"""The verb that runs a paper's table: reproduce."""

import sys
from collections.abc import Sequence
from pathlib import Path
from signal import Signals
from typing import Literal

from localgrad.cli.comparing import seeds_from
from localgrad.cli.listing import print_lines
from localgrad.cli.options import parse, plain_parser
from localgrad.cli.tables import console
from localgrad.errors import LocalgradError
from localgrad.heap import keep_freed_memory
from localgrad.recipes.experiments import NotCovered
from localgrad.report import write_report
from localgrad.reported import find_table, tables
from localgrad.reproduction import Figure, Request, choose, figures_of
from localgrad.reproduction import reproduce as run_reproduce
from localgrad.reproduction import table as reproduction_table
from localgrad.several import RunsInterrupted
from localgrad.train.progress import OnConsole

Words = Sequence[str]

ABOUT = """Run the rows of a paper's table and write ours beside theirs. TABLE is PAPER:TABLE as `localgrad recipes` has
it in brackets, such as auglocal:1. --budget paper: the recipes as recorded, for people with GPUs and the data. --budget
short: the same methods on scikit-learn's digits (or the first images of CIFAR-10), small networks and few epochs, in
--minutes on 2 cores: not the paper's setting. What was interrupted goes on with the same words."""


def reproduce(words: Words) -> int:
    """Run a table, or with --list say what it would be."""
    parser = plain_parser("reproduce", ABOUT)
    parser.add_argument("table", type=str, help="PAPER:TABLE, such as auglocal:1")
    parser.add_argument("--budget", type=Literal["short", "paper"], default="short", help="small, or as recorded")
    parser.add_argument("--out", type=Path | None, help="folder; runs/reproduce/TABLE-BUDGET by default")
    parser.add_argument(
        "--data_root", type=Path | None, help="folder of the data; short: of CIFAR-10; without it: digits"
    )
    parser.add_argument("--download", type=bool, default=False, help="paper: let torchvision fetch what it can")
    parser.add_argument("--seeds", type=str | None, help="such as 0,1,2; short: 0, paper: 0,1,2 by default")
    parser.add_argument("--rows", type=str | None, help="numbers and words of rows, such as 1,4-6,AugLocal d=2")
    parser.add_argument("--minutes", type=float, default=15.0, help="short: what the table may take")
    parser.add_argument("--report", type=Path | None, help="HTML page to write about the runs")
    parser.add_argument("--list", action="store_true", help="the rows with their numbers, and nothing else")
    if not words or (words[0].startswith("-") and not {"-h", "--help"} & set(words)):
        raise LocalgradError(f"localgrad reproduce TABLE [options]: give a table first: {', '.join(tables())}.")
    values = parse(parser, words)
    name, rows = find_table(values["table"])
    figures = choose(figures_of(rows), values["rows"])
    if values["list"]:
        print_lines(map(listed, figures))
        return 0
    budget = values["budget"]
    if not values["minutes"] > 0:
        raise LocalgradError(f"--minutes: expected a number above 0, got {values['minutes']:g}.")
    seeds = values["seeds"] or ("0" if budget == "short" else "0,1,2")
    request = Request(
        name,
        budget,
        tuple(figure.number for figure in figures),
        tuple(map(int, seeds_from(seeds))),
        None if values["data_root"] is None else values["data_root"].absolute(),
        values["download"],
        values["minutes"],
    )
    folder = values["out"] or Path("runs") / "reproduce" / f"{name.replace(':', '-')}-{budget}"
    keep_freed_memory()
    try:
        found = run_reproduce(request, folder, OnConsole())
    except RunsInterrupted as stop:
        print(stop, file=sys.stderr)
        return 128 + Signals[stop.signal].value
    except KeyboardInterrupt:
        print(f"interrupted: what is done is kept in {folder}. Give the same command again.", file=sys.stderr)
        return 130
    out = console()
    out.print(reproduction_table(found))
    print(f"{folder}: reproduction.json, reproduction.md")
    if values["report"] is not None:
        runs = list(dict.fromkeys(folder / one for entry in found.entries for one in entry.folders))
        there = [run for run in runs if run.is_dir()]
        if there:
            write_report(there, values["report"])
        print(f"report: {values['report']}" if there else "report: no run was trained, there is nothing to report on")
    return 0


def listed(figure: Figure) -> str:
    """A row with its number, theirs, and what gives ours."""
    found = figure.found
    made = f"not covered: {found.reason}" if isinstance(found, NotCovered) else found.command
    return f"{figure.number:>3}  {figure.label}  {figure.row.metric} {figure.row.figure}  {made}"
