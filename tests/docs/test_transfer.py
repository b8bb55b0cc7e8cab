"""docs/transfer.md: its commands and its code, run on the digits; those on sets that are not here are understood."""

import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from localgrad.cli import main
from localgrad.cli.options import run_from_words
from localgrad.cli.other_data import WORDS

from .blocks import ROOT, blocks, folder, run

PAGE = ROOT / "docs" / "transfer.md"


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    commands = [line for block in blocks(PAGE) if not block.language for line in block.text.splitlines()]
    code = "\n".join(block.text for block in blocks(PAGE) if block.language == "python")
    assert len(commands) == 7
    with folder(tmp_path, monkeypatch):
        for command in commands:
            _, verb, *words = shlex.split(command)
            if "cifar10" not in command:
                run(command, capsys)
            elif verb == "train":
                assert run_from_words("train", words[0], words[1:]).modules == 16
            else:
                assert words[0] == "runs/cifar10.dgl_resnet32-seed0" and main([verb, *words]) == 2
                assert "is not a run folder" in capsys.readouterr().err  # all options were understood
        for name in ("simclr", "dgl"):
            assert list(json.loads(Path(f"runs/{name}/transfer-probe-digits.json").read_text())["knn"])
        Path("page.py").write_text(code)
        names = runpy.run_path("page.py")
    assert capsys.readouterr().out == "['layer1', 'layer2', 'layer3'] [16, 32, 64] [1, 2, 4]\n"
    assert [tuple(one.shape) for one in names["maps"]] == [(2, 16, 8, 8), (2, 32, 4, 4), (2, 64, 2, 2)]
    assert names["detector"].training


def test_the_sets_it_names() -> None:
    text = " ".join(PAGE.read_text().split())
    named = text.partition("`--data` takes ")[2].partition("(an image")[0]
    assert tuple(re.findall(r"`([\w-]+)`", named)) == WORDS
