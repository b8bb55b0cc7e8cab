"""The exceptions that localgrad raises for what a user did, and a way to say what was probably meant."""

import difflib
from collections.abc import Iterable, Sequence


class LocalgradError(ValueError):
    """A problem with what the user asked for: says what, where, expected, got, and what to do."""


class RunError(LocalgradError):
    """All problems of one run, found before any work."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        many = f"{len(problems)} problems, nothing was started:" if len(problems) > 1 else "nothing was started:"
        super().__init__(many + "".join(f"\n- {problem}" for problem in problems))


def nearest(word: str, choices: Iterable[str]) -> str:
    """A phrase that names the choices nearest to ``word``, or all of them when none is near."""
    known = sorted(choices)
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    if close:
        return "Did you mean " + " or ".join(close) + "?"
    return "There are: " + (", ".join(known) or "none") + "."
