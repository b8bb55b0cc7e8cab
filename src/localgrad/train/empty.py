"""Empty selections: how much of what a unit trained on left its loss no pair to learn from, over a whole run."""

from collections.abc import Mapping, Sequence

from localgrad.losses import EMPTY
from localgrad.unit import Unit

Counts = dict[str, list[float]]
"""By unit: images of steps (or parts of them) whose selection was empty, and all images that it trained on."""


def with_epoch(
    before: Mapping[str, Sequence[float]], means: Mapping[str, Mapping[str, float]], seen: Mapping[str, int]
) -> Counts:
    """``before`` and an epoch more: its mean figures by unit, of so many images ``seen``."""
    found = {unit: list(pair) for unit, pair in before.items()}
    for unit, terms in means.items():
        if EMPTY in terms:
            images, of = found.get(unit, (0.0, 0.0))
            found[unit] = [images + terms[EMPTY] * seen[unit], of + seen[unit]]
    return found


def some(counts: Mapping[str, Sequence[float]]) -> dict[str, dict[str, int]]:
    """For the row that ends a run: the units that had an empty selection, and how often."""
    return {unit: {"images": round(images), "of": round(of)} for unit, (images, of) in counts.items() if images}


def empty_lines(counts: Mapping[str, Sequence[float]], units: Sequence[Unit]) -> list[str]:
    """What a person reads at the end of a run about units that had nothing to learn from."""
    return [
        f"unit {place} ({units[int(place)].name}): no pair was selected in {100 * one['images'] / one['of']:.1f} % of "
        f"its training ({one['images']} of {one['of']} images), where its loss is 0. A larger sample ratio or a lower "
        "alpha selects more."
        for place, one in some(counts).items()
    ]
