"""The exceptions that localgrad raises for what a user did, and a way to say what was probably meant."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager


class LocalgradError(ValueError):
    """A problem with what the user asked for: says what, where, expected, got, and what to do."""


class DivergedError(LocalgradError):
    """A training loss is not a finite number any more; the run was stopped."""


class RunError(LocalgradError):
    """All problems of one run, found before any work."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        many = f"{len(problems)} problems, nothing was started:" if len(problems) > 1 else "nothing was started:"
        super().__init__(many + "".join(f"\n- {problem}" for problem in problems))


@contextmanager
def located(where: str) -> Iterator[None]:
    """Put ``where`` in front of a LocalgradError from inside, such as the network and the block that it is about."""
    try:
        yield
    except LocalgradError as error:
        raise LocalgradError(f"{where}: {error}") from error


_NEAR = 0.65
"""Share of the letters that two near words have in common. 'foo' and 'infopro' share 0.6, 'ran' and 'run' 0.67."""


def near(word: str, choices: Iterable[str]) -> list[str]:
    """At most three choices, the nearest first, that look like ``word`` or contain it; capitals make no difference."""
    typed, found = word.casefold(), list[tuple[float, str]]()
    for choice in set(choices):
        share = difflib.SequenceMatcher(None, choice.casefold(), typed).ratio()
        if share >= _NEAR or (len(typed) > 2 and typed in choice.casefold()):
            found.append((-share, choice))
    return [choice for _, choice in sorted(found)[:3]]


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A question that names the choices near to ``word``; '' when none is."""
    close = near(word, choices)
    return f"Did you mean {' or '.join(close)}?" if close else ""


def there_are(choices: Iterable[str]) -> str:
    """A sentence that names all choices, in their order."""
    return f"There are: {', '.join(choices) or 'none'}."


def nearest(word: str, choices: Iterable[str]) -> str:
    """A phrase that names the choices near to ``word``, or all of them when none is."""
    known = sorted(choices)
    return did_you_mean(word, known) or there_are(known)
