"""Words that the command line does not know, and help."""

import re
from collections.abc import Callable

import pytest

from localgrad.cli import VERBS, main
from tests.cli.conftest import Localgrad


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["trian"], "localgrad trian: there is no such command. Did you mean train?"),
        (["xyz"], "localgrad xyz: there is no such command. There are: "),
        (["train", "digits.auglocl"], "recipe 'digits.auglocl' is unknown. Did you mean digits.auglocal"),
        (["train", "cifar10.dgl_resnet23"], "'cifar10.dgl_resnet23' is unknown. Did you mean cifar10.dgl_resnet32"),
        (["train", "foo"], "recipe 'foo' is unknown. `localgrad recipes` lists all; your own is FILE.py:FUNCTION."),
        (["train", "digits.dgl", "--foo", "3"], "option --foo is unknown. There are: --accumulate, "),
        (["train", "digits.dgl", "--epoch", "3"], "digits.dgl: option --epoch is unknown. Did you mean --epochs"),
        (["cost", "digits.dgl", "--modlues=3"], "digits.dgl: option --modlues is unknown. Did you mean --modules"),
        (["train", "digits.dgl", "--epochs", "x"], "digits.dgl: --epochs: expected a whole number, got 'x'."),
        (["train", "digits.dgl", "--epochs", "1.5"], "--epochs: expected a whole number, got '1.5'."),
        (["train", "digits.dgl", "--clip", "much"], "--clip: expected a number, got 'much'."),
        (["train", "digits.dgl", "--channels-last", "3"], "--channels-last: expected true or false, got '3'."),
        (
            ["train", "digits.dgl", "--precision", "fp16"],
            "--precision: expected one of float32, bfloat16, float16, got 'fp16'.",
        ),
        (["train", "digits.auglocal", "--tail", "x"], "--tail: expected one of joint, strict"),
        (["train", "digits.dgl", "--seed"], "expected one argument"),
        (["train", "digits.dgl", "digits.auglocal"], "digits.dgl: unrecognized arguments: digits.auglocal"),
        (["train", "--seed", "1"], "give a recipe first. `localgrad recipes` lists them."),
        (["export"], "localgrad export: RUN, --output must be given."),
        (["recipes", "--all"], "localgrad recipes: option --all is unknown."),
        (["export", "somewhere"], "localgrad export: --output must be given."),
        (
            ["train", "digits.dgl", "--resume", "a"],
            "localgrad train --resume RUN: a run continues with its own recipe and options, leave 'digits.dgl' out.",
        ),
        (["train", "--resume", "a", "--epochs", "9"], "localgrad train --resume RUN: option --epochs is unknown."),
        (["compare"], "localgrad compare RECIPE... [options]: give at least one recipe first."),
        (["compare", "digits.dgl", "--seeds", "1,1"], "different whole numbers such as 0,1,2, got '1,1'."),
        (["compare", "digits.dgl", "--dpeth", "3"], "localgrad compare: none of the recipes has the option --dpeth."),
    ],
)  # fmt: skip
def test_what_is_refused(refused: Callable[..., str], words: list[str], text: str) -> None:
    assert text in refused(*words)


def test_without_words_the_usage_is_printed(localgrad: Localgrad) -> None:
    status, printed = localgrad()
    assert status == 0
    assert [verb for verb in VERBS if f"\n  {verb} " not in printed] == []
    assert localgrad("--help") == (0, printed)


def test_version(localgrad: Localgrad) -> None:
    from localgrad.version import VERSION

    assert localgrad("--version") == (0, VERSION + "\n")


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(localgrad: Localgrad, verb: str) -> None:
    status, printed = localgrad(verb, "--help")
    assert status == 0
    assert printed.startswith(f"usage: localgrad {verb}")
    named = {"evaluate": "--data-root", "export": "--output", "compare": "--seeds", "report": "--output"}
    assert named.get(verb, "") in printed
    assert "_root" not in printed
    assert "null" not in printed and "<class" not in printed


def test_help_of_resuming(localgrad: Localgrad) -> None:
    status, printed = localgrad("train", "--resume", "--help")
    assert status == 0
    for option in ("--resume", "--data-root", "--device"):
        assert option in printed


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("digits.auglocal", ["--depth", "--tau", "--selection", "--tail", "--modules"]),
        ("digits.dgl", ["--head", "--modules"]),
        ("cifar10.auglocal_resnet32", ["--depth", "--data-root", "--download"]),
        ("stl10.checkpointing_resnet110", ["--segments", "--data-root"]),
        ("folder.backprop", ["--data-root", "--image"]),
        ("exp.py:untyped", ["--epochs", "--seed"]),
    ],
)
def test_help_of_recipes_names_the_options_with_dashes(localgrad: Localgrad, recipe: str, options: list[str]) -> None:
    status, printed = localgrad("train", recipe, "--help")
    assert status == 0
    everywhere = [
        "--epochs",
        "--out",
        "--precision",
        "--batch-size",
        "--val-fraction",
        "--channels-last",
        "--init-from",
    ]
    assert [option for option in [*options, *everywhere] if f"  {option} " not in printed] == []
    assert "null" not in printed and "<function" not in printed and "Untyped" not in printed


def test_a_cost_table_that_is_piped_shows_every_number(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cost", "digits.auglocal", "--layers", "8", "--depth", "2"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert re.search(r"digits\.auglocal +3 .* [01]\.\d{3}\b", out)
