"""docs/analysis.md names only options and functions that there are."""

import re
from pathlib import Path

import pytest

import localgrad.analysis
from localgrad.cli import VERBS, main

PAGE = Path(__file__).parents[2] / "docs" / "analysis.md"
VERBS_HERE = ("probe", "cka", "maps")


def test_options_and_names(capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text()
    known = {"--seed", "--modules", "--cut"}  # those of a recipe
    for verb in VERBS_HERE:
        assert verb in VERBS and main([verb, "--help"]) == 0
        known |= set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    named = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", text))
    assert {"--figure", "--features", "--skip-tokens"} <= named <= known
    for line in text.splitlines():
        if line.startswith("    localgrad "):
            assert line.split()[1] in VERBS_HERE
    functions = set(re.findall(r"`([a-z]+_[a-z_0-9]+)[(`]", text))
    assert {"feature_maps", "knn_top1"} <= functions and all(hasattr(localgrad.analysis, name) for name in functions)
