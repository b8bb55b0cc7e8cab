"""Breaches of locality in words. Pure functions of what a trace found."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from torch import nn

from localgrad.analysis.trace import Trace
from localgrad.unit import Unit

Parameters = frozenset[nn.Parameter]
Names = Mapping[nn.Parameter, str]


def who(unit: Unit) -> str:
    """A unit in words: index, name, and group where there are groups."""
    group = f", group {unit.spec.group}" if unit.spec.group else ""
    return f"unit {unit.spec.index} ({unit.name!r}{group})"


def listed(parameters: Parameters, names: Names) -> str:
    """The first parameter by name, and how many more there are."""
    first, *rest = [name for parameter, name in names.items() if parameter in parameters]
    return f"{first} and {len(rest)} more" if rest else first


def shared_parameters(units: Sequence[Unit], held: Sequence[Parameters], names: Names) -> list[str]:
    """Parameters that two units hold: two losses would train them."""
    return [
        f"{who(one)} and {who(other)} share {listed(both, names)}: give every unit modules of its own."
        for (one, own), (other, others) in combinations(zip(units, held, strict=True), 2)
        if (both := own & others)
    ]


def declared_reach(unit: Unit) -> int:
    """How many consecutive units the unit's losses say they update: the largest reach of its objectives."""
    return unit.spec.reach


def within_reach(unit: Unit, other: Unit) -> bool:
    """Whether the loss of ``unit`` may train ``other``: the same group, at most its declared reach below."""
    behind = unit.spec.index - other.spec.index
    return unit.spec.group == other.spec.group and 0 <= behind < declared_reach(unit)


def breaches(
    units: Sequence[Unit], reached: Sequence[Parameters], held: Sequence[Parameters], names: Names
) -> list[str]:
    """Parameters of other units that a loss reaches although its declared reach ends before them."""
    found = []
    for unit, parameters, own in zip(units, reached, held, strict=True):
        for other, theirs in zip(units, held, strict=True):
            beyond = (parameters & theirs) - own
            if beyond and not within_reach(unit, other):
                found.append(
                    f"the loss of {who(unit)} reaches {listed(beyond, names)} of {who(other)}, beyond its declared "
                    f"reach of {declared_reach(unit)}: detach what it reads, or declare the reach in its Objective."
                )
        stray = parameters.difference(*held)
        if stray:
            found.append(f"the loss of {who(unit)} reaches {listed(stray, names)}, which no unit holds or updates.")
    return found


def step_problems(units: Sequence[Unit], found: Trace) -> list[str]:
    """Losses that train nothing, and outputs that carry their graph to the next unit."""
    problems = []
    for unit, reached, detached in zip(units, found.reached, found.detached, strict=True):
        if not reached and unit.spec.objectives:
            problems.append(f"the loss of {who(unit)} reaches no parameter: the unit does not learn.")
        if not detached:
            problems.append(f"{who(unit)} hands on an output that is not detached: return h.detach() from its step.")
    return problems


def label_breaches(units: Sequence[Unit], losses: Sequence[bool], outputs: Sequence[bool]) -> list[str]:
    """Labels that are read without being declared, or that leave a unit in its output."""
    problems = []
    for unit, in_loss, in_output in zip(units, losses, outputs, strict=True):
        if in_loss and "y" not in unit.spec.needs:
            problems.append(
                f"the loss of {who(unit)} changes with the labels: declare 'y' in the needs of its Objective."
            )
        if in_output:
            problems.append(f"the output of {who(unit)} changes with the labels: a body must not read them.")
    return problems
