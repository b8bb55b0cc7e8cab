"""A user's own file: what works in it, and how its mistakes are told."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Localgrad
from tests.train.conftest import rows

RUN = "from exp import tiny\nfrom localgrad import Run\n"


def write(text: str, name: str = "mine.py") -> None:
    Path(name).write_text(text)


def test_a_file_without_annotations(localgrad: Localgrad, tmp_path: Path) -> None:
    status, printed = localgrad("train", "exp.py:untyped", "--epochs", 1, "--out", "a")
    assert status == 0, printed
    assert len(rows(tmp_path / "a")) == 2


def test_files_beside_it_can_be_imported_from_anywhere(
    localgrad: Localgrad, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(RUN + "def run(seed: int = 0) -> Run:\n    return tiny(epochs=1, seed=seed)\n")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    status, printed = localgrad("train", "../mine.py:run", "--out", "a")
    assert status == 0, printed
    assert localgrad("train", "--resume", "a")[0] == 0


def test_a_module_by_its_name_from_the_current_folder(localgrad: Localgrad) -> None:
    Path("own").mkdir()
    write("", "own/__init__.py")
    write(RUN + "def run(seed: int = 0) -> Run:\n    return tiny(epochs=1, seed=seed)\n", "own/module.py")
    assert localgrad("train", "own.module:run")[0] == 0
    assert Path("runs/own.module.run-seed0/run.json").exists()


def test_dataclasses_with_postponed_annotations(localgrad: Localgrad) -> None:
    write(
        "from __future__ import annotations\nfrom dataclasses import dataclass\n" + RUN
        + "@dataclass(frozen=True)\nclass Mine:\n    x: int = 1\n\n"
        "def run(seed: int = 0) -> Run:\n    return tiny(epochs=Mine().x)\n"
    )  # fmt: skip
    assert localgrad("train", "mine.py:run", "--out", "a")[0] == 0


@pytest.mark.parametrize(
    ("text", "reference", "told"),
    [
        ("def run(:\n", "mine.py:run", ["raised an exception while it was loaded", "line 1", "SyntaxError: "]),
        ("x = 1\ny = z\n", "mine.py:run", ["mine.py raised an exception while", "line 2", "NameError: name 'z'"]),
        ("import nowhere\n", "mine.py:run", ["ModuleNotFoundError: No module named 'nowhere'"]),
        ("import nowhere\n", "mine:run", ["module mine raised an exception while it was imported", "'nowhere'"]),
        ("def ran(): ...\n", "mine.py:run", ["mine.py has no function 'run'. Did you mean ran?"]),
        ("def run(): ...\n", "none.py:run", ["recipe file none.py does not exist (looked in "]),
        ("def run(): ...\n", "not.there:run", ["recipe module 'not.there' was not found: there is no module 'not'."]),
        ("def run(): ...\n", "mine.py:run", ["mine.py:run: expected it to return a localgrad.Run, got NoneType."]),
        (
            "def run():\n    return [][1]\n",
            "mine.py:run",
            ["recipe mine.py:run raised an exception:", "line 2, in run", "IndexError: list index out of range"],
        ),
        (
            "from localgrad.train import SGD\ndef run(optimizer: SGD = SGD()): ...\n",
            "mine.py:run",
            ["recipe mine.py:run: its parameters optimizer cannot all be options: "],
        ),
        ("def run(x: 'Nothing'): ...\n", "mine.py:run", ["mine.py:run: its parameters x cannot all be options: "]),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_the_users_own_lines(
    refused: Callable[..., str], text: str, reference: str, told: list[str]
) -> None:
    write(text)
    error = refused("train", reference)
    assert [part for part in told if part not in error] == []
    assert "src/localgrad/cli" not in error
    assert "Traceback" not in error


def test_a_file_named_like_a_module_in_use(refused: Callable[..., str]) -> None:
    write("def run(): ...\n", "torch.py")
    error = refused("train", "torch.py:run")
    assert error.endswith("torch.py: a module 'torch' is in use already. Give the file another name.")
