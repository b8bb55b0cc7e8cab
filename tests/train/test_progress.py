"""What a person sees: a bar on a terminal, plain lines elsewhere. Nothing of it changes the training."""

import io
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from localgrad import LocalgradError, Run
from localgrad.recipes import digits
from localgrad.train import train
from localgrad.train.progress import OnConsole
from tests.train.conftest import assert_same_run


def small(out: Path | None) -> Run:
    return replace(digits.dgl(layers=8, epochs=2), out=out)


def seen(run: Run, *, terminal: bool) -> str:
    file = io.StringIO()
    train(run, reporter=OnConsole(Console(file=file, force_terminal=terminal, width=40)))
    return file.getvalue()


def test_a_bar_on_a_terminal_only(tmp_path: Path) -> None:
    shown, plain = seen(small(tmp_path / "a"), terminal=True), seen(small(tmp_path / "b"), terminal=False)
    assert "━" in shown and "\x1b[" in shown
    assert "━" not in plain and "\x1b" not in plain
    # Long lines are not broken, wherever they go.
    assert plain.splitlines()[-1].endswith(str(tmp_path / "b"))
    for line in plain.splitlines()[:2]:
        assert shown.count(line.partition("  lr")[0]) == 1
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_outside_the_main_thread(tmp_path: Path) -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(train(small(tmp_path / "a"))))
    thread.start()
    thread.join()
    assert results[0].finished
    train(small(tmp_path / "b"))
    assert_same_run(tmp_path / "a", tmp_path / "b")


def test_from_python_without_a_folder() -> None:
    with pytest.raises(LocalgradError, match="out is None: give the folder that the run is written to"):
        train(small(None))


def test_from_python_a_run_is_resumed_by_its_folder(tmp_path: Path) -> None:
    first = train(small(tmp_path))
    with pytest.raises(LocalgradError, match="already holds a run"):
        train(small(tmp_path))
    again = train(small(tmp_path), resume=True)
    assert again == first
    with pytest.raises(LocalgradError, match="epochs: 2 -> 3"):
        train(replace(small(tmp_path), epochs=3), resume=True)
