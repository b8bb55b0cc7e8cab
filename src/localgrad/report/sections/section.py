"""A Section: a title, figures and tables, and what they were made with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from localgrad.report.drawing.canvas import Drawing
from localgrad.report.groups import Group, flat
from localgrad.report.markup import Markup
from localgrad.report.style import short_labels


@final
@dataclass(frozen=True)
class Section:
    """``parts`` in their order; neighbouring drawings stand side by side. ``folded``: closed until it is asked for."""

    title: str
    parts: tuple[Drawing | Markup, ...]
    notes: tuple[str, ...] = ()
    legend: tuple[Group, ...] = ()
    folded: str | None = None


def labels_of(groups: Sequence[Group]) -> dict[int, str]:
    """Short names for figures, by the group's index."""
    names = short_labels([group.name for group in groups])
    return {group.index: name for group, name in zip(groups, names, strict=True)}


def over_seeds(groups: Sequence[Group]) -> str:
    """Which seeds stand behind figures, in one line."""
    seeds = {group.seeds for group in groups}
    if len(seeds) == 1 and next(iter(seeds)):
        own = next(iter(seeds))
        listed = ", ".join(map(str, own))
        return f"seed {listed}" if len(own) == 1 else f"n={len(own)} seeds ({listed})"
    return "seeds: " + "; ".join(f"{group.name} {', '.join(map(str, group.seeds)) or '?'}" for group in groups)


def differing(groups: Sequence[Group]) -> str:
    """In which of data, epochs and batch size the groups differ, with the values; empty where they share them."""
    settings = [flat(group.runs[0].facts) for group in groups]
    words = []
    for name, key in (("data", "data"), ("epochs", "epochs"), ("batch size", "batch_size")):
        values = list(dict.fromkeys(own[key] for own in settings if key in own))
        if len(values) > 1:
            words.append(f"{name} {', '.join(values)}")
    return "; ".join(words)
