"""A page per data set about its recipes: what each trains, its options, and the papers' figures that it stands for."""

import inspect
import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from localgrad.cli.options import summary
from localgrad.cli.recipes import Recipe, built_in
from localgrad.recipes.experiments import Experiment, experiment, written
from localgrad.reported import PAPERS, Row, rows

Figures = Mapping[str, Sequence[tuple[Row, Experiment]]]

HEAD = """# Recipes

A recipe is a function that returns a `localgrad.Run`; its parameters are its options. `localgrad train NAME` trains it
with the paper's settings as defaults, `localgrad train NAME --help` shows all options, those of every run included
([command line](command-line.md)). `localgrad recipes` lists the same by paper and table. This page and those behind it
are made from the recipes' signatures and docstrings and from the papers' figures that come with the package.

| data | recipes | figures of papers |
|---|---|---|
"""
MADE = """
The figures are what the papers report, by `localgrad.reported`. They are **not** results of localgrad. Options in a
figure's row are those that differ from the recipe's defaults. Figures marked *cost* come from `localgrad cost`, those
marked *compare* from `localgrad compare`, all others from `localgrad train`.
"""


def recipe_pages() -> dict[str, str]:
    """The overview and a page per file of recipes."""
    by_file: dict[str, dict[str, Recipe]] = defaultdict(dict)
    for name, recipe in sorted(built_in().items()):
        by_file[name.partition(".")[0]][name] = recipe
    figures = reported()
    pages = {f"reference/recipes/{file}.md": page(file, recipes, figures) for file, recipes in by_file.items()}
    lines = (
        f"| [{file}](recipes/{file}.md) | {len(recipes)} | {sum(len(figures.get(name, ())) for name in recipes)} |\n"
        for file, recipes in by_file.items()
    )
    return {"reference/recipes.md": HEAD + "".join(lines), **pages}


def reported() -> Figures:
    """The papers' rows by the recipe that makes them."""
    found: dict[str, list[tuple[Row, Experiment]]] = defaultdict(list)
    for row in rows():
        made = experiment(row)
        if isinstance(made, Experiment):
            found[made.recipe].append((row, made))
    return found


def page(file: str, recipes: Mapping[str, Recipe], figures: Figures) -> str:
    """All recipes of one file."""
    return f"# Recipes: {file}\n{MADE}" + "".join(
        section(name, recipe, figures.get(name, ())) for name, recipe in recipes.items()
    )


def section(name: str, recipe: Recipe, figures: Sequence[tuple[Row, Experiment]]) -> str:
    """One recipe: a sentence, a table of options, a table of figures."""
    text = [f"\n## {name}\n", summary(recipe), ""]
    options = list(option_rows(recipe))
    if options:
        text += [f'??? note "Options of {name}"', "", "    | option | default | what it is |", "    |---|---|---|"]
        text += [f"    {line}" for line in options]
    if figures:
        text += ["", f'??? quote "{len(figures)} figures of papers"', ""]
        text += [
            "    | paper | table | method | setting | options | metric | reported |",
            "    |---|---|---|---|---|---|---|",
        ]
        text += [f"    {figure_row(row, made)}" for row, made in figures]
    return "\n".join(text) + "\n"


def option_rows(recipe: Recipe) -> Iterator[str]:
    """One row per parameter of the recipe."""
    told = described(recipe)
    for name, parameter in inspect.signature(recipe).parameters.items():
        default = "" if parameter.default in (None, inspect.Parameter.empty) else f"`{written(parameter.default)}`"
        yield f"| `--{name.replace('_', '-')}` | {default} | {cell(told[name])} |"


def described(recipe: Recipe) -> dict[str, str]:
    """What the docstring says about every parameter. Raises ValueError where it says nothing."""
    text = (inspect.getdoc(recipe) or "").partition("Args:\n")[2]
    found = re.findall(r"^ {4}(\w+): (.*(?:\n {8}.*)*)", text, re.MULTILINE)
    told = {name: " ".join(words.split()) for name, words in found}
    parameters = inspect.signature(recipe).parameters
    if missing := [name for name in parameters if name not in told]:
        raise ValueError(
            f"{recipe.__module__}.{recipe.__qualname__} returns a Run, so it is a recipe, but its docstring has no "
            f"line in Args for {', '.join(missing)}. Write one, or begin the name with _ if it is none."
        )
    return {name: told[name] for name in parameters}


def figure_row(row: Row, made: Experiment) -> str:
    """One figure with the options that make it."""
    setting = ", ".join(f"{name}={value}" for name, value in row.setting)
    words = shlex.join(made.command.split()[3:])
    mark = "" if made.verb == "train" else f" ({made.verb})"
    figure = f"{row.figure}{mark}{' ' + made.figure if made.figure else ''}"
    cells = [PAPERS[row.paper].partition(":")[0], row.table, row.method, setting, words and f"`{words}`", row.metric]
    return "| " + " | ".join(map(cell, [*cells, figure])) + " |"


def cell(text: str) -> str:
    """Text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")
