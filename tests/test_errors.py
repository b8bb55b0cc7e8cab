"""The exceptions and the phrase for what was probably meant."""

import pytest

from localgrad import LocalgradError, RunError
from localgrad.errors import did_you_mean, located, near, nearest, there_are


@pytest.mark.parametrize(
    ("word", "choices", "phrase"),
    [
        ("unifrom", ("uniform", "sequential"), "Did you mean uniform?"),
        ("1c2", ("1c2f", "1c3f", "cnn"), "Did you mean 1c2f?"),
        (
            "resnet",
            ("vgg", "resnet32", "resnet20", "cifar_resnet"),
            "Did you mean resnet20 or resnet32 or cifar_resnet?",
        ),
        ("MLAAN", ("mlaan", "dgl"), "Did you mean mlaan?"),
        ("mlp", ("conv", "flat-mlp"), "Did you mean flat-mlp?"),
        # Nothing that merely shares some letters: of three letters in a row at least, or two thirds of all.
        ("foo", ("infopro", "auglocal"), "There are: auglocal, infopro."),
        ("og", ("auglog", "dgl"), "There are: auglog, dgl."),
        ("zzz", ("b", "a"), "There are: a, b."),
        ("zzz", (), "There are: none."),
    ],
)
def test_nearest(word: str, choices: tuple[str, ...], phrase: str) -> None:
    assert nearest(word, choices) == phrase


def test_an_error_is_told_where() -> None:
    with pytest.raises(LocalgradError, match=r"^unit 'stem': too small$") as found, located("unit 'stem'"):
        raise LocalgradError("too small")
    assert str(found.value.__cause__) == "too small"
    with pytest.raises(ValueError, match=r"^other$"), located("unit 'stem'"):
        raise ValueError("other")


def test_near_words_and_all_words() -> None:
    assert near("ran", ["run", "rat", "ram", "rap"]) == ["ram", "rap", "rat"]
    assert did_you_mean("ran", ["run"]) == "Did you mean run?"
    assert did_you_mean("foo", ["run"]) == ""
    assert there_are(["T2", "T10"]) == "There are: T2, T10."
    assert there_are([]) == "There are: none."


def test_run_error_lists_all_problems() -> None:
    error = RunError(["one", "two"])
    assert str(error) == "2 problems, nothing was started:\n- one\n- two"
    assert str(RunError(["one"])) == "nothing was started:\n- one"
    assert error.problems == ("one", "two")
    assert isinstance(error, LocalgradError)
    assert isinstance(error, ValueError)
