"""``--processes N`` among the words of ``train``."""

import pytest

from localgrad import LocalgradError
from localgrad.cli.launching import processes_of


@pytest.mark.parametrize("words", [["--processes", "3"], ["--processes=3"]])
def test_the_number_is_taken_out(words: list[str]) -> None:
    rest = ["digits.dgl", "--seed", "1"]
    expected = [*rest, "--runtime", "distributed"]
    assert processes_of([*rest, *words]) == (3, expected)
    assert processes_of([*words, *rest]) == (3, expected)


def test_without_it_nothing_changes() -> None:
    words = ["digits.dgl", "--runtime", "sequential"]
    assert processes_of(words) == (None, words)


@pytest.mark.parametrize("words", [["--runtime", "greedy"], ["--runtime=distributed"]])
def test_a_runtime_that_is_given_stays(words: list[str]) -> None:
    assert processes_of(["a.b", *words, "--processes", "2"]) == (2, ["a.b", *words])


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", ""])
def test_what_is_no_number(given: str) -> None:
    with pytest.raises(LocalgradError) as caught:
        processes_of(["a.b", "--processes", given])
    assert str(caught.value) == (f"--processes: expected how many processes to start, from 1 on, got {given!r}.")


def test_nothing_behind_it() -> None:
    with pytest.raises(LocalgradError, match="got ''"):
        processes_of(["a.b", "--processes"])
