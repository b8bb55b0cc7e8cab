"""The command line in this process, in a folder of its own."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from localgrad.cli import main
from tests.train.conftest import EXPERIMENT, commands, one_thread_in_children

__all__ = ["commands", "one_thread_in_children"]

Localgrad = Callable[..., tuple[int, str]]


@pytest.fixture
def localgrad(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Localgrad]:
    """``localgrad("train", "exp.py:tiny", "--seed", 1)`` gives the exit status and what was printed."""
    (tmp_path / "exp.py").write_text(EXPERIMENT)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    modules = dict(sys.modules)

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        status = main([str(word) for word in words])
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    yield run
    for name in sys.modules.keys() - modules.keys():
        if str(getattr(sys.modules[name], "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def refused(localgrad: Localgrad, tmp_path: Path) -> Callable[..., str]:
    """The error of a command, which must have written nothing."""

    def files() -> list[tuple[str, int]]:
        kept = [path for path in sorted(tmp_path.rglob("*")) if "__pycache__" not in path.parts]
        return [(str(path), path.stat().st_mtime_ns if path.is_file() else 0) for path in kept]

    def run(*words: object) -> str:
        before = files()
        status, printed = localgrad(*words)
        assert status == 2, printed
        assert files() == before
        assert printed.startswith("error: "), printed
        return printed.removeprefix("error: ").removesuffix("\n")

    return run
