"""The verbs about several runs: compare, report."""

import sys
from collections.abc import Sequence
from pathlib import Path
from signal import Signals

from localgrad.cli.measuring import measure_missing
from localgrad.cli.options import parse, plain_parser, recipe_parser, run_from_words
from localgrad.cli.recipes import find_recipe
from localgrad.cli.tables import console
from localgrad.cli.words import option_names
from localgrad.compare import RunsInterrupted
from localgrad.compare import compare as run_compare
from localgrad.compare import table as comparison_table
from localgrad.errors import LocalgradError
from localgrad.report import write_report
from localgrad.report.groups import all_runs
from localgrad.report.read import read_path
from localgrad.train.progress import OnConsole

Words = Sequence[str]


def report(words: Words) -> int:
    """Write one HTML page about runs or a comparison."""
    parser = plain_parser("report", "Write one self-contained HTML page about runs.")
    parser.add_argument(
        "runs", type=Path, nargs="+", help="run folders, folders of runs, files that `cka -o` or `plan -o` wrote"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="file to write")
    parser.add_argument("--figures", type=Path | None, help="folder for every figure as PNG, SVG and PDF")
    parser.add_argument(
        "--measure",
        action="store_true",
        help="first write cost.json and audit.json into folders of runs that have none: MACs, memory of a step, reach",
    )
    values = parse(parser, words)
    whole = True
    if values["measure"]:
        whole = measure_missing(all_runs([read_path(path) for path in values["runs"]]))
    write_report(values["runs"], values["output"], values["figures"])
    print(values["output"])
    if values["figures"] is not None:
        print(f"figures: {values['figures']}")
    return 0 if whole else 1


def compare(words: Words) -> int:
    """Train several recipes with several seeds and print one table."""
    count = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    references, rest = words[:count], words[count:]
    if not references and not {"-h", "--help"} & set(rest):
        raise LocalgradError("localgrad compare RECIPE... [options]: give at least one recipe first.")
    parser = plain_parser(
        "compare", "Train recipes with several seeds. Other options go to every recipe that has them."
    )
    parser.add_argument("recipes", nargs="*", help="recipes to compare; the first is what ratios refer to")
    parser.add_argument("--seeds", type=str, default="0", help="seeds, such as 0,1,2")
    parser.add_argument("--out", type=Path, default=Path("runs/compare"), help="folder for all runs")
    parser.add_argument("--report", type=Path | None, help="HTML page to write")
    own, shared = _divide(rest, option_names(parser))
    values = parse(parser, [*references, *own])
    if len(set(references)) < len(references):
        raise LocalgradError(f"localgrad compare: every recipe once, got {', '.join(references)}.")
    parsers = {reference: recipe_parser("compare", reference, find_recipe(reference)) for reference in references}
    accepted = {reference: set(option_names(parser)) for reference, parser in parsers.items()}
    unknown = [
        word for word in shared if word.startswith("--") and not any(_name(word) in a for a in accepted.values())
    ]
    if unknown:
        raise LocalgradError(f"localgrad compare: none of the recipes has the option {', '.join(map(_name, unknown))}.")
    runs = {}
    for reference in references:
        mine, _ = _divide(shared, sorted(accepted[reference]))
        runs[reference] = [
            run_from_words("compare", reference, [*mine, "--seed", seed]) for seed in seeds_from(values["seeds"])
        ]
    try:
        comparison = run_compare(runs, values["out"], OnConsole())
    except RunsInterrupted as stop:
        print(stop, file=sys.stderr)
        return 128 + Signals[stop.signal].value
    console().print(comparison_table(comparison))
    if values["report"] is not None:
        write_report([values["out"]], values["report"])
        print(f"report: {values['report']}")
    return 0


def seeds_from(text: str) -> list[str]:
    """``0,1,2`` as words. Raises LocalgradError for anything else."""
    seeds = [word.strip() for word in text.split(",")]
    if not all(seed.isdecimal() for seed in seeds) or len(set(seeds)) < len(seeds):
        raise LocalgradError(f"--seeds: expected different whole numbers such as 0,1,2, got {text!r}.")
    return seeds


def _name(word: str) -> str:
    return word.partition("=")[0].replace("_", "-")


def _divide(words: Words, options: Sequence[str]) -> tuple[list[str], list[str]]:
    """Words of the given options with their values, and the rest."""
    own: list[str] = []
    rest: list[str] = []
    target = rest
    for word in words:
        if word.startswith("-"):
            target = own if _name(word) in options or word in ("-h", "-o") else rest
        target.append(word)
    return own, rest
