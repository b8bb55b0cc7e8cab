"""How options read: in `--help`, and in errors about them."""

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser, DefaultHelpFormatter


class Dashes(DefaultHelpFormatter):
    """Shows options with dashes, as they are typed, types in plain words, and no default where it is None."""

    def format_help(self) -> str:
        """The help text."""
        text: str = super().format_help()
        text = re.sub(r",\s+default:\s+null", "", text)
        text = re.sub(r",null}", "}", text)
        text = re.sub(r"\s+\|\s+null", "", text)
        text = re.sub(r"<function (\w+) at \w+>", r"options of \1", text)
        text = re.sub(r"type: Untyped(, )?", "", text)
        text = re.sub(r"Union\[(\w+),\s+Untyped\]", r"\1", text).replace(" ()", "")
        text = re.sub(r"<class\s+'(\w+)'>", r"\1", text)
        text = re.sub(r"(?:Optional\[)?Literal\[([^]]*)\]+", lambda match: " ".join(match.group(1).split()), text)
        text = re.sub(r"(?:Optional\[)?tuple\[([^]]*?)(?:,\s+\.\.\.)?\]+", r"list of \1", text)
        text = re.sub(r",\s+default:\s*\)", ")", text)
        return re.sub(r"--\w+", lambda match: match.group().replace("_", "-"), text)


def option_names(parser: ArgumentParser) -> list[str]:
    """All long options of a parser, with dashes."""
    return sorted(["--help", *map(option, parser.get_defaults().keys())])


def option(name: str) -> str:
    """``--data-root`` for ``data_root``."""
    return "--" + name.replace("_", "-")


def described(annotation: Any) -> str:
    """A type in plain words."""
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(described(part) for part in get_args(annotation) if part is not NoneType)
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    if get_origin(annotation) is tuple:
        parts = [described(part) for part in get_args(annotation) if part is not Ellipsis]
        return f"a list in brackets, each {' or '.join(dict.fromkeys(parts))}"
    known = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path", str: "a text"}
    return known.get(annotation, str(annotation))


def parameter_types(*functions: Callable[..., object]) -> dict[str, Any]:
    """Types of parameters by name; the first function that has a parameter counts."""
    found: dict[str, Any] = {}
    for function in functions:
        for name, parameter in inspect.signature(function, eval_str=True).parameters.items():
            found.setdefault(name, parameter.annotation)
    return found
