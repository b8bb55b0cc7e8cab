"""A run is continued with the recipe that made it, or not at all."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Localgrad
from tests.train.conftest import EXPERIMENT


@pytest.fixture
def stopped(localgrad: Localgrad) -> Callable[..., None]:
    """A run of ``exp.py:tiny`` in the folder ``a``; called with replacements, it changes the recipe's file."""
    status, printed = localgrad("train", "exp.py:tiny", "--epochs", 2, "--width", 0.25, "--out", "a")
    assert status == 0, printed

    def change(*pairs: tuple[str, str]) -> None:
        text = EXPERIMENT
        for before, now in pairs:
            assert before in text
            text = text.replace(before, now)
        Path("exp.py").write_text(text)
        # As in a new process.
        del sys.modules["exp"]

    return change


def test_everything_that_differs_is_listed(stopped: Callable[..., None], refused: Callable[..., str]) -> None:
    stopped(("SGD(0.05)", "SGD(0.04, weight_decay=0.0)"), ("batch_size=8", "batch_size=10"), ("Constant()", "Cosine()"),
            ("import SGD, Adam, Constant", "import SGD, Adam, Constant, Cosine"))  # fmt: skip
    for words in (("train", "--resume", "a"), ("evaluate", "a"), ("export", "a", "-o", "x")):
        assert refused(*words).splitlines() == [
            "a/checkpoint.safetensors was made with other settings (checkpoint -> now):",
            "  optimizer.inner.lr: 0.05 -> 0.04",
            "  optimizer.inner.weight_decay: 0.0001 -> 0.0",
            "  schedule.kind: 'Constant' -> 'Cosine'",
            "  schedule.warmup_epochs: not there -> 10",
            "  schedule.warmup_lr: not there -> 0.01",
            "  schedule.from_zero: not there -> False",
            "  batch_size: 8 -> 10",
            "Use the same settings, or start a new run with init_from (--init-from) to take the weights only.",
        ]


def test_the_file_is_gone(stopped: Callable[..., None], refused: Callable[..., str], tmp_path: Path) -> None:
    stopped()
    Path("exp.py").unlink()
    assert refused("train", "--resume", "a").startswith(f"recipe file {tmp_path / 'exp.py'} does not exist")


def test_the_function_is_gone(stopped: Callable[..., None], refused: Callable[..., str]) -> None:
    stopped(("def tiny(", "def tiny_run("), (" tiny(", " tiny_run("))
    assert "exp.py has no function 'tiny'. Did you mean tiny_run" in refused("train", "--resume", "a")


def test_a_parameter_is_gone(stopped: Callable[..., None], refused: Callable[..., str]) -> None:
    stopped((", width: float = 0.5", ""), ("width=width", "width=0.5"))
    assert refused("train", "--resume", "a").endswith(
        "has changed since a was made: it no longer has the parameters width. Use the version of the recipe that made "
        "the run."
    )


def test_a_parameter_has_another_type(stopped: Callable[..., None], refused: Callable[..., str]) -> None:
    stopped(("width: float = 0.5", "width: int = 1"))
    assert refused("train", "--resume", "a").endswith("a was made: --width: expected a whole number, got '0.25'.")


def test_a_new_parameter_with_a_default_changes_nothing(stopped: Callable[..., None], localgrad: Localgrad) -> None:
    stopped(("width: float = 0.5", "width: float = 0.5, more: int = 3"))
    assert localgrad("train", "--resume", "a")[0] == 0


def test_the_data_has_another_size(stopped: Callable[..., None], refused: Callable[..., str]) -> None:
    stopped(("self.split(self.count, 0)", "self.split(self.count + 8, 0)"))
    assert refused("train", "--resume", "a").startswith(
        "the training split has 48 samples, it had 40 when a was saved. Resume with the same data, "
    )


def test_a_place_that_the_recipe_does_not_have(stopped: Callable[..., None], refused: Callable[..., str]) -> None:
    stopped()
    assert refused("train", "--resume", "a", "--data-root", "x").endswith("exp.py:tiny has no option --data-root.")
    assert refused("evaluate", "a", "--device", "tpu").endswith(
        "device 'tpu' is unknown: take auto, cpu, cuda or cuda:N."
    )


def test_a_whole_number_as_default_of_a_float(localgrad: Localgrad) -> None:
    """``width: float = 1`` is 1 in the checkpoint and 1.0 when the recipe is called again from run.json."""
    text = Path("exp.py").read_text().replace("width: float = 0.5", "width: float = 1")
    Path("exp.py").write_text(text)
    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "a")[0] == 0
    status, printed = localgrad("evaluate", "a")
    assert status == 0, printed
    assert localgrad("train", "--resume", "a")[0] == 0
