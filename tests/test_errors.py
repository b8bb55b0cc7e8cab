"""The exceptions and the phrase for what was probably meant."""

import pytest

from localgrad import LocalgradError, RunError
from localgrad.errors import nearest


@pytest.mark.parametrize(
    ("word", "choices", "phrase"),
    [
        ("unifrom", ("uniform", "sequential"), "Did you mean uniform?"),
        ("1c2", ("1c2f", "1c3f", "cnn"), "Did you mean 1c2f or 1c3f?"),
        ("zzz", ("b", "a"), "There are: a, b."),
        ("zzz", (), "There are: none."),
    ],
)
def test_nearest(word: str, choices: tuple[str, ...], phrase: str) -> None:
    assert nearest(word, choices) == phrase


def test_run_error_lists_all_problems() -> None:
    error = RunError(["one", "two"])
    assert str(error) == "2 problems, nothing was started:\n- one\n- two"
    assert str(RunError(["one"])) == "nothing was started:\n- one"
    assert error.problems == ("one", "two")
    assert isinstance(error, LocalgradError)
    assert isinstance(error, ValueError)
