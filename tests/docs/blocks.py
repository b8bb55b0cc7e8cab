"""The fenced blocks of a Markdown file, and ways to run them in a folder."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from localgrad.cli import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class CodeBlock:
    """``language`` is "" for commands; ``line`` is where the block begins."""

    language: str
    text: str
    line: int


def blocks(path: Path) -> list[CodeBlock]:
    """All fenced blocks in order."""
    text = path.read_text()
    found = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [CodeBlock(block[1], block[2], text[: block.start()].count("\n") + 1) for block in found]


@contextmanager
def folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in ``path``, from which modules can be imported."""
    with monkeypatch.context() as patch:
        patch.chdir(path)
        patch.setattr(sys, "path", [str(path), *sys.path])
        yield


@contextmanager
def forgotten() -> Iterator[None]:
    """Forget modules of this folder that are imported inside, as the end of a process does."""
    before = set(sys.modules)
    try:
        yield
    finally:
        for name in sys.modules.keys() - before:
            if str(getattr(sys.modules[name], "__file__", None)).startswith(str(Path.cwd())):
                del sys.modules[name]


def run(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command prints; it must end well. Everything runs in this process, to import torch once."""
    words, status = shlex.split(command, comments=True), 0
    capsys.readouterr()
    with forgotten():
        if words[0] == "localgrad":
            status = main(words[1:])
        elif words[:3] == ["python", "-m", "pytest"]:
            tests = [test for name, test in runpy.run_path(words[3]).items() if name.startswith("test_")]
            for test in tests:
                test()
            print(f"{len(tests)} passed")
        else:
            assert words[0] == "python" and words[1].endswith(".py"), command
            runpy.run_path(words[1], run_name="__main__")
    printed = capsys.readouterr()
    assert status == 0, f"{command}\n{printed.err}"
    return printed.out + printed.err


def python(words: list[str], cwd: Path | None = None, **env: str) -> str:
    """What a Python of its own prints; it must end well."""
    one_thread = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, check=False, cwd=cwd, env=one_thread
    )
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def shown(expected: str, printed: str) -> None:
    """Every line of ``expected`` was printed, in this order; "..." stands for anything, as a line or inside one."""
    lines = [line for line in expected.splitlines() if line != "..."]
    pattern = r"\n(?:.*\n)*?".join(re.escape(line).replace(r"\.\.\.", ".*") for line in lines)
    assert re.search(f"^{pattern}$", printed, re.MULTILINE), f"expected\n{expected}\ngot\n{printed}"
