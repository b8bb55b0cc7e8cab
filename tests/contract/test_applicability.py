"""What does not apply to a method is listed with a reason, and the list is no larger than it must be."""

import re
from pathlib import Path

import pytest

from localgrad import methods

from .cases import CHOICES, NOT_FOR

TESTS = Path(__file__).parents[1]


def invariants() -> set[str]:
    """What the contract tests run over every method."""
    sources = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    return {name for source in sources for name in re.findall(r'@every_method\("([^"]+)"\)', source)}


def titles() -> set[str]:
    """Methods, and their cases as the tests name them."""
    cases = {f"{name}({'-'.join(map(str, keywords.values()))})" for name, rows in CHOICES.items() for keywords in rows}
    return cases | set(methods.__all__)


def test_every_method_has_most_invariants() -> None:
    found = invariants()
    assert len(found) >= 12
    for name in methods.__all__:
        missing = {invariant for title, invariant in NOT_FOR if title == name}
        assert len(missing) <= 2, name


@pytest.mark.parametrize(("title", "invariant"), NOT_FOR, ids=" ".join)
def test_an_exception_is_of_a_case_and_an_invariant_and_says_where_it_is_tested_instead(
    title: str, invariant: str
) -> None:
    assert title in titles()
    assert invariant in invariants()
    reason = NOT_FOR[title, invariant]
    named = re.findall(r"[\w/]+\.py", reason)
    assert named or reason == "as InfoPro"
    for name in named:
        assert list(TESTS.rglob(Path(name).name)), f"{reason!r} names a test that does not exist"
