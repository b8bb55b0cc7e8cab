"""Specs as plain data, and where two of them differ."""

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import pytest
import torch
from torch import nn

from localgrad import LocalgradError, Precision
from localgrad.backbones import resnet32
from localgrad.facts import differences, plain


class Colour(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    path: Path
    sizes: tuple[int, ...] = (1, 2)


@dataclass(frozen=True)
class Outer:
    inner: Inner
    named: dict[str, object]
    colour: Colour = Colour.RED


def function() -> None: ...


def test_dataclasses_become_their_fields() -> None:
    spec = Outer(Inner(Path("a/b")), {"x": None, "y": [1.5, True]})
    assert plain(spec) == {
        "kind": "Outer",
        "inner": {"kind": "Inner", "path": "a/b", "sizes": [1, 2]},
        "named": {"x": None, "y": [1.5, True]},
        "colour": "red",
    }


def test_other_values() -> None:
    assert plain(Precision.BFLOAT16) == "bfloat16"
    assert plain(frozenset({"y", "image"})) == ["image", "y"]
    assert plain(function) == f"{__name__}:function"
    facts = plain(resnet32(num_classes=7))
    assert isinstance(facts, dict)
    assert (facts["kind"], facts["name"], facts["num_classes"]) == ("Backbone", "resnet32", 7)


@pytest.mark.parametrize("value", [lambda: None, nn.ReLU(), torch.zeros(2), Inner, object()])
def test_what_has_no_description(value: object) -> None:
    with pytest.raises(LocalgradError, match=r"^a Run holds specs only, so that it can be saved and compared; got "):
        plain({"deep": [value]})


def test_differences_name_the_path_of_every_leaf() -> None:
    before = {"a": 1, "b": {"c": [1, 2], "d": "x"}, "e": None, "same": {"f": 0.1}}
    now = {"a": 2, "b": {"c": [1, 3], "g": 1}, "e": 0, "same": {"f": 0.1}}
    assert list(differences(before, now)) == [
        "a: 1 -> 2",
        "b.c: [1, 2] -> [1, 3]",
        "b.d: 'x' -> not there",
        "b.g: not there -> 1",
        "e: None -> 0",
    ]
    assert list(differences(now, now)) == []


def test_a_number_is_the_same_whole_or_not_but_true_is_none() -> None:
    """A recipe's ``width: float = 1`` is 1 when a run starts and 1.0 when it is read back."""
    assert list(differences({"width": 1, "lr": [1.0]}, {"width": 1.0, "lr": [1]})) == []
    assert list(differences({"a": 1, "b": 0.5}, {"a": True, "b": 1})) == ["a: 1 -> True", "b: 0.5 -> 1"]
