"""Checks of options that the constructors of several methods share."""

from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any

from localgrad.errors import LocalgradError
from localgrad.method import Method


def check_match(who: str, match: object) -> None:
    """Raise LocalgradError unless ``match`` is a method to be compared with, or None."""
    if match is not None and (isinstance(match, type) or not isinstance(match, Method)):
        raise LocalgradError(
            f"{who}: match must be a method whose auxiliary networks are the measure, such as AugLocal(depth=6), or "
            f"None, got {match!r}."
        )


def check_switches(method: object, names: Iterable[str]) -> None:
    """Raise LocalgradError unless these fields of ``method`` are True or False."""
    for name in names:
        value = getattr(method, name)
        if type(value) is not bool:
            raise LocalgradError(f"{type(method).__name__}: {name} must be True or False, got {value!r}.")


def check_aux_pool(method: Any) -> None:
    """Raise LocalgradError unless ``aux_pool`` of ``method`` is a whole number of at least 1."""
    if type(method.aux_pool) is not int or method.aux_pool < 1:
        raise LocalgradError(
            f"{type(method).__name__}: aux_pool averages so many times so many positions before an auxiliary network "
            f"and must be a whole number of at least 1 (1: none), got {method.aux_pool!r}."
        )


def check_effect(method: Any, names: Iterable[str], where: str) -> None:
    """Raise LocalgradError if one of these fields of ``method`` was given, which ``where`` says change nothing.

    Given is what differs from the field's default. ``where`` goes on "... changes nothing": "with head='cnn'".
    """
    defaults = {
        field.name: field.default if field.default_factory is MISSING else field.default_factory()
        for field in fields(method)
    }
    given = [f"{name}={getattr(method, name)!r}" for name in names if getattr(method, name) != defaults[name]]
    if given:
        verb, it = ("changes", "it") if len(given) == 1 else ("change", "them")
        raise LocalgradError(f"{type(method).__name__}: {', '.join(given)} {verb} nothing {where}. Leave {it} out.")
