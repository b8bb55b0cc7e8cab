"""Checks that all constructors of networks share. Errors are LocalgradErrors that name the constructor."""

from collections.abc import Iterable

from localgrad.errors import LocalgradError
from localgrad.spec import Shape


def check_task(who: str, num_classes: int, image: Shape) -> None:
    """Raise when ``image`` is no (C, H, W) or there are fewer than 2 classes."""
    if len(image) != 3 or min(image) < 1:
        raise LocalgradError(f"{who}: image must be (channels, height, width), all above 0, got {image}.")
    if num_classes < 2:
        raise LocalgradError(f"{who}: num_classes must be at least 2, got {num_classes}.")


def widened(who: str, channels: Iterable[int], width: float, name: str = "width") -> tuple[int, ...]:
    """``channels`` times ``width``, rounded. Raises when one of them falls below 1."""
    widths = tuple(round(base * width) for base in channels)
    if min(widths) < 1:
        raise LocalgradError(f"{who}: {name} must leave at least one channel, got {width}.")
    return widths


def check_layers(who: str, layers: int, known: Iterable[int]) -> None:
    """Raise when there is no network of so many layers."""
    choices = sorted(known)
    if layers not in choices:
        raise LocalgradError(f"{who}: layers must be one of {', '.join(map(str, choices))}, got {layers}.")


def check_groups(who: str, groups: int) -> None:
    """Raise when a block is asked for convolution groups that it cannot have."""
    if groups != 1:
        raise LocalgradError(f"{who}: the block has convolution groups of its own, so groups must be 1, got {groups}.")
