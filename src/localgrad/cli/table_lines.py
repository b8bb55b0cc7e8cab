"""One table of a paper as lines of text: a line per recipe and fixed keywords, the varying keyword inline."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from localgrad.recipes.experiments import Experiment, NotCovered, defaults_of, options, written
from localgrad.reported import Row

Entry = tuple[Row, Experiment | NotCovered]


def command_line(row: Row, found: Experiment | NotCovered) -> str:
    """A row as a whole command, and what the paper reports behind it."""
    setting = " ".join(f"{name}={written(value)}" for name, value in row.setting)
    what = " ".join(filter(None, [row.paper, row.table, row.dataset, row.network, row.method, setting]))
    text = f"# {what}: {row.metric} {row.figure}"
    if isinstance(found, NotCovered):
        return f"{text}; not covered: {found.reason}"
    extra = "".join(f"; {part}" for part in (found.figure, found.notes) if part)
    return f"{found.command}  {text}{extra}"


def table_lines(entries: Sequence[Entry]) -> Iterator[str]:
    """The lines of one table: recipes with their figures, notes, and what no recipe covers."""
    by_recipe: dict[str, list[tuple[Row, Experiment]]] = {}
    missing: dict[str, list[Row]] = {}
    notes: dict[str, list[str]] = {}
    for row, found in entries:
        if isinstance(found, NotCovered):
            missing.setdefault(found.reason, []).append(row)
            continue
        by_recipe.setdefault(found.recipe, []).append((row, found))
        if found.notes:
            notes.setdefault(found.notes, []).append(found.recipe)
    for recipe, own in by_recipe.items():
        yield from _recipe_lines(recipe, own)
    for note, recipes in notes.items():
        yield f"note: {note} [{_few(recipes)}]"
    for reason, lost in missing.items():
        what = _few([f"{row.dataset} {row.network} {row.method}" for row in lost])
        yield f"not covered, {len(lost)} figures: {reason} [{what}]"


def _few(words: Sequence[str], most: int = 3) -> str:
    """The first of different words."""
    different = list(dict.fromkeys(words))
    return ", ".join(different[:most]) + (f" and {len(different) - most} more" if len(different) > most else "")


def _recipe_lines(recipe: str, entries: Sequence[tuple[Row, Experiment]]) -> Iterator[str]:
    """The keyword whose values stand inline is the one that leaves the fewest lines."""
    defaults = defaults_of(recipe)
    names = [name for name in defaults if any(name in dict(found.keywords) for _, found in entries)]
    full = [{name: dict(found.keywords).get(name, defaults[name]) for name in names} for _, found in entries]
    varying = [name for name in names if len({keywords[name] for keywords in full}) > 1]

    def rest(keywords: Mapping[str, object], without: str | None) -> tuple[tuple[str, object], ...]:
        return tuple((name, value) for name, value in keywords.items() if name != without and value != defaults[name])

    inline = min(varying, key=lambda name: len({rest(keywords, name) for keywords in full}), default=None)
    lines: dict[tuple[tuple[str, object], ...], dict[str, list[tuple[object, str]]]] = {}
    for (row, found), keywords in zip(entries, full, strict=True):
        figures = lines.setdefault(rest(keywords, inline), {}).setdefault(_metric(row, found), [])
        figures.append((None if inline is None else keywords[inline], row.figure))
    for fixed, metrics in lines.items():
        told = "; ".join(f"{metric}: {_values(inline, figures)}" for metric, figures in metrics.items())
        # As a shell takes it: lists are quoted.
        yield f"{shlex.join([recipe, *options(dict(fixed))])}  {told}"


def _metric(row: Row, found: Experiment) -> str:
    marks = [mark for mark in (found.figure, "" if found.verb == "train" else found.verb, found.data) if mark]
    return f"{row.metric} ({', '.join(marks)})" if marks else row.metric


def _values(inline: str | None, figures: Sequence[tuple[object, str]]) -> str:
    """``depth=2 91.12±0.24, 3 92.26±0.2``; the figures alone where nothing varies."""
    if inline is None:
        return ", ".join(figure for _, figure in figures)
    told, before = list[str](), None
    if all(isinstance(value, int | float) for value, _ in figures):
        figures = sorted(figures, key=lambda pair: float(pair[0]))  # type: ignore[arg-type]
    for place, (value, figure) in enumerate(figures):
        word = "" if place and value == before else f"{'' if place else inline + '='}{written(value)} "
        told.append(f"{word}{figure}")
        before = value
    return ", ".join(told)
