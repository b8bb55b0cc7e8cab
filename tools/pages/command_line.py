"""The page about the command line: what every verb says about itself, as it says it."""

import io
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout

from localgrad.cli import RECIPE_VERBS, VERBS, main, usage

HEAD = """# Command line

What `localgrad --help` and `localgrad VERB --help` print; this page is made from them. Errors go to stderr and say what
to do. The exit status is 0; 2 for a mistake of the user; 130 after Ctrl-C; 1 where an audit fails.
A recipe is named as in [the list of recipes](recipes.md), or is your own: `FILE.py:FUNCTION` or `MODULE:FUNCTION`.

"""
EXAMPLE = "digits.dgl"
"""The recipe whose options stand for those of every recipe."""


def command_line_page() -> str:
    """All verbs in the order of ``localgrad --help``."""
    return HEAD + block(usage()) + "".join(map(section, VERBS))


def section(verb: str) -> str:
    """One verb: its help, and the further helps that this one names."""
    text = printed([verb, "--help"])
    more = [words for words in mentioned(text) if words[0] == verb]
    if verb in RECIPE_VERBS:
        # Every recipe takes the settings of a run; shown once, with `train`.
        more = [words for words in more if verb in ("train", "plan", "simulate") or EXAMPLE not in words]
    return f"\n## {verb}\n\n{block(text)}" + "".join(map(folded, more))


def mentioned(text: str) -> Iterator[list[str]]:
    """Commands in backticks that end in --help, for a recipe that stands for all."""
    for found in re.findall(r"`localgrad ([^`]*?) --help`", " ".join(text.split())):
        yield [*found.replace("RECIPE", EXAMPLE).split(), "--help"]


def folded(words: Sequence[str]) -> str:
    """A further help, folded away."""
    inside = "".join(f"    {line}\n" if line else "\n" for line in block(printed(words)).split("\n"))
    return f'\n??? note "localgrad {" ".join(words)}"\n\n{inside}'


def block(text: str) -> str:
    """Text as it is printed."""
    return f"```text\n{text.strip()}\n```\n"


def printed(words: Sequence[str]) -> str:
    """What a command prints. Raises RuntimeError when it fails: the page would be wrong."""
    out, err = io.StringIO(), io.StringIO()
    with wide(), redirect_stdout(out), redirect_stderr(err):
        status = main(words)
    if status != 0 or not out.getvalue().strip():
        raise RuntimeError(f"localgrad {' '.join(words)}: exit status {status}\n{out.getvalue()}{err.getvalue()}")
    return out.getvalue()


@contextmanager
def wide(columns: int = 110) -> Iterator[None]:
    """Help is wrapped to the width of the page, whatever the terminal."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(columns)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
