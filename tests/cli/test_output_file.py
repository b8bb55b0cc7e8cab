"""Where ``probe`` and ``cka`` are to write is judged before any work."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from localgrad.cli import analysing, output_file, similarity
from localgrad.cli.output_file import output_problems

from .conftest import Localgrad


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    assert [output_problems(Path(one), "-o", "x.json") for one in ("new.json", "file", "a/b/c.json")] == [[], [], []]
    assert not Path("a").exists()
    assert output_problems(Path(), "-o", "x.json") == [
        "-o: expected a file, got the folder .. Give a file in it, such as x.json."
    ]
    for name in ("file/x.json", "file/a/x.json"):
        (told,) = output_problems(Path(name), "-o", "x.json")
        assert told == (
            f"-o: {name} cannot be written, {tmp_path / 'file'} is a file and no folder. Give a file in a folder."
        )
    assert "cannot be a file: File name too long" in output_problems(Path("x" * 300), "-o", "x.json")[0]
    monkeypatch.setattr(output_file.os, "access", lambda *_: False)  # a superuser may write everywhere
    (told,) = output_problems(Path("new.json"), "-o", "x.json")
    assert told == f"-o: new.json cannot be written, you may not write into {tmp_path}. Give a file elsewhere."


def test_before_any_work(localgrad: Localgrad, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "a")[0] == 0
    Path("folder").mkdir()
    with monkeypatch.context() as patch:
        for module in (analysing, similarity):
            patch.setattr(module, "load_images", None)  # any work would fail
        told = refused("probe", "a", "-o", "folder", "--neighbours", 5)
        assert told.endswith(
            "-o: expected a file, got the folder folder. Give a file in it, such as folder/probe.json."
        )
        told = refused("cka", "a", "a", "-o", "exp.py/cka.json", "--figure", "exp.py/cka.svg")
        assert "-o: exp.py/cka.json cannot be written, " in told and "--figure: exp.py/cka.svg cannot be" in told
        Path("a/cka-a.json").mkdir()
        told = refused("cka", "a", "a", "-o", "a/cka-a.json")
        assert told.endswith("Give a file in it, such as a/cka-a.json/cka.json.")
    # A folder that is not there yet is made.
    assert localgrad("probe", "a", "-o", "new/er/probe.json", "--neighbours", 5)[0] == 0
    assert json.loads(Path("new/er/probe.json").read_text())["kind"] == "localgrad probe 1"
