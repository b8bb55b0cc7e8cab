"""How options read: in `--help`, and in errors about them."""

import inspect
import re
from argparse import Action
from collections.abc import Callable
from pathlib import Path
from textwrap import wrap
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser, DefaultHelpFormatter


class Dashes(DefaultHelpFormatter):
    """Shows options with dashes, as they are typed, types in plain words, and no default where it is None."""

    def _expand_help(self, action: Action) -> str:
        """The help of one option, not yet broken into lines. Choices that stand behind its name are not repeated."""
        text: str = super()._expand_help(action)
        if self._format_args(action, "").startswith("{"):
            text = re.sub(r"\(type: [^()]*?(?:, (default: [^()]*))?\)$", r"(\1)", text)
            text = text.removesuffix(" ()").removesuffix(" (default: null)")
            text = re.sub(r"default: (True|False)\)$", lambda told: told[0].lower(), text)
        text = re.sub(r"tuple\[Literal\[", "tuple[items, each Literal[", text)
        return re.sub(r"(?:Optional\[)?Literal\[([^]]*)\]+", lambda named: "one of " + named[1].replace("'", ""), text)

    def _split_lines(self, text: str, width: int) -> list[str]:
        """Lines of the help of one option; a word with a hyphen, such as a choice, stays whole."""
        return wrap(" ".join(text.split()), width, break_on_hyphens=False)

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
