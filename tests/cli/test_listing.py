"""``localgrad recipes``: by paper and table, with the reported figures."""

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from localgrad.cli.options import run_from_origin, run_from_words
from localgrad.cli.recipes import built_in
from localgrad.methods import InfoPro, Lambdas
from localgrad.reported import PAPERS, rows
from localgrad.train.record import read_run
from tests.cli.conftest import Localgrad

AUGLOCAL_T1 = """\
auglocal  AugLocal: Ma, Wu, Si, Tan 2024, ICLR
  T1  (auglocal:1)
    cifar10.backprop_resnet32  test_acc_%: 93.73±0.04
    svhn.backprop_resnet32  test_acc_%: 97.01±0.03
    stl10.backprop_resnet32  test_acc_%: 80.8±0.17
    cifar10.predsim_resnet32  test_acc_%: 79.29±0.37
"""
D = "depth=2 91.12±0.24, 3 92.26±0.2, 4 93.08±0.1, 5 93.38±0.11, 6 93.47±0.09"


def test_a_table(localgrad: Localgrad) -> None:
    status, printed = localgrad("recipes", "--paper", "auglocal", "--table", "T1")
    assert status == 0
    head, _, table = printed.partition("\n\n")
    assert "`localgrad train RECIPE [options]` makes it" in head
    assert table.startswith(AUGLOCAL_T1)
    lines = [line.strip() for line in table.splitlines()]
    assert f"cifar10.auglocal_resnet32  test_acc_%: {D}" in lines
    assert (
        "cifar10.infopro_resnet110 --modules 55 --loss softmax --source auglocal --epochs 400  test_acc_%: 86.95±0.46"
        in lines
    )
    note = "note: the weights of the two losses on this data set are not known: those of CIFAR-10"
    assert [line for line in lines if line.startswith("note")] == [
        f"{note} [svhn.infopro_resnet32, stl10.infopro_resnet32, svhn.infopro_resnet110 and 1 more]"
    ]


@pytest.mark.parametrize(
    ("paper", "table", "line"),
    [
        ("gndgl-v2", "T4", "cifar10.gndgl_resnet32 --groups 8  test_acc_% (ensemble.last): modules=2 88.67, 4 87.11; "
         "test_acc_% (ensemble.layerwise): modules=2 88.96, 4 87.86"),
        ("mlaan", "T3", "imagenet.mlaan_resnet101  gpu_memory_GB (cost): 17.93"),
        ("mlaan", "T4", "cifar10.mlaan_resnet32 --base dgl  test_error_%: cascade=1 7.64, 3 6.36"),
        ("infopro", "T3", "stl10.checkpointing_resnet110 --epochs 160  test_error_%: 22.27±1.61; "
         "gpu_memory_GB (cost): 4.5; theoretical_overhead_% (cost): 32.8; walltime_overhead_% (compare): 27.0"),
        ("auglocal", "T8", "cifar10.auglocal_mobilenetv2  test_acc_%: 92.16±0.24, 93.94±0.23, 94.43±0.04, 94.52±0.08"),
        ("thesis", "T4.4", "cifar10.dgssl_llm_resnet50  linear_probe_top1_%: negatives=false 88.66, true 89.8"),
        ("mlaan", "T6", "cifar10.mlaan_resnet32 --base dgl  test_acc_% (evaluate, stl10): 37.65"),
        ("auglocal", "T12",
         "not covered, 12 figures: detection and segmentation with Mask R-CNN on COCO [COCO Mask R-CNN R34 BP, "
         "COCO Mask R-CNN R34 AugLocal]"),
    ],
)  # fmt: skip
def test_lines(localgrad: Localgrad, paper: str, table: str, line: str) -> None:
    _, printed = localgrad("recipes", "--paper", paper, "--table", table)
    assert line in [one.strip() for one in printed.splitlines()], printed


def test_everything_is_listed_in_the_order_of_papers_and_tables(localgrad: Localgrad) -> None:
    status, printed = localgrad("recipes")
    assert status == 0
    lines = printed.splitlines()
    papers = [line.partition("  ")[0] for line in lines if line.partition("  ")[0] in PAPERS]
    assert papers == list(PAPERS)
    own = [
        lines[n].strip()
        for n in range(lines.index(f"mlaan  {PAPERS['mlaan']}") + 1, len(lines))
        if lines[n][2:3] == "T"
    ]
    assert own == [f"T{number}  (mlaan:{number})" for number in range(1, 7)]
    auglocal = printed.partition("\nauglocal")[2].partition("\nmlaan")[0]
    assert auglocal.index("\n  T9  (") < auglocal.index("\n  T10  (")
    named = {line.split()[0] for line in lines if line.startswith("    ")}
    assert named >= built_in().keys()
    rest = printed.partition("in no paper's table\n")[2].splitlines()
    assert "    digits.dgl  DGL on the digits: a small classifier per unit." in rest
    assert {line.split()[0].partition(".")[0] for line in rest} >= {"digits", "folder"}


def test_commands(localgrad: Localgrad) -> None:
    status, printed = localgrad("recipes", "--commands")
    lines = printed.splitlines()
    assert (status, len(lines)) == (0, len(rows()))
    assert (
        "localgrad train cifar10.auglocal_resnet32 --depth 2  # auglocal T1 CIFAR-10 ResNet-32 AugLocal K=16 d=2 "
        "aux_net_depth=1 tau=0.5: test_acc_% 91.12±0.24"
    ) in lines
    assert any(line.startswith("# auglocal T12 COCO") and "; not covered: detection" in line for line in lines)
    assert any(line.endswith("test_acc_% 82.84; ensemble.last") for line in lines)
    trained = "localgrad train cifar10.dgl_resnet32 --split mlaan"
    tested = "localgrad evaluate runs/cifar10.dgl_resnet32-seed0 --data stl10"
    assert any(line.startswith(f"{trained} && {tested}  # mlaan T6") for line in lines)


@pytest.mark.parametrize(
    ("paper", "table"),
    [("infopro", "T2"), ("auglocal", "T10"), ("thesis", "T4.2"), ("auglocal", "T1"), ("mlaan", "T4")],
)
def test_the_commands_are_understood(localgrad: Localgrad, paper: str, table: str) -> None:
    _, printed = localgrad("recipes", "--paper", paper, "--table", table, "--commands")
    commands = {line.partition("  # ")[0] for line in printed.splitlines() if line.startswith("localgrad train")}
    assert len(commands) >= 4
    for command in sorted(commands)[:12] if table == "T1" else commands:
        _, _, recipe, *words = shlex.split(command)
        run = run_from_words("train", recipe, words)
        assert run.origin is not None and run.origin.recipe == recipe


def test_lists_are_quoted_for_a_shell(localgrad: Localgrad) -> None:
    _, printed = localgrad("recipes", "--paper", "infopro", "--table", "T2")
    line = next(line for line in printed.splitlines() if "--first" in line)
    words = shlex.split(line.partition("  test_error")[0])
    assert words[:2] == ["cifar10.infopro_resnet32", "--loss"]
    assert "'[" in line and re.search(r"(?<!')\[", line) is None
    _, printed = localgrad("recipes", "--paper", "infopro", "--table", "T2", "--commands")
    assert re.search(r"(?<!')\[", printed.replace("# ", "")) is None
    assert "--first '[5,1]' --last '[0,0]'  # infopro T2" in printed


def test_unknown_papers_and_tables(localgrad: Localgrad) -> None:
    status, printed = localgrad("recipes", "--paper", "gndgl")
    assert status == 2
    assert "localgrad recipes --paper gndgl: there is no such paper. Did you mean gndgl-v" in printed
    assert "There are: dgl, predsim, infopro, gndgl-v1, gndgl-v2, thesis, auglocal, mlaan." in printed
    status, printed = localgrad("recipes", "--paper", "mlaan", "--table", "T7")
    told = "there is no such table in mlaan. There are: T1, T2, T3, T4, T5, T6."
    assert (status, printed) == (2, f"error: localgrad recipes --table T7: {told}\n")
    status, printed = localgrad("recipes", "--table", "T99")
    assert status == 2
    assert "localgrad recipes --table T99: there is no such table. Did you mean T9? There are: T1, T2, " in printed
    assert " T9, T10, T11, " in printed
    # All papers once, and no name that only shares letters with the word.
    for word in ("nonsense", "foo"):
        status, printed = localgrad("recipes", "--paper", word)
        told = f"error: localgrad recipes --paper {word}: there is no such paper. There are: {', '.join(PAPERS)}.\n"
        assert (status, printed) == (2, told)


def test_piped_output_is_not_wrapped_and_may_end_early(tmp_path: Path) -> None:
    command = f"{shlex.quote(sys.executable)} -m localgrad recipes --commands | head -n 3"
    found = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=True)  # noqa: S602
    assert found.stderr == ""
    lines = found.stdout.splitlines()
    assert len(lines) == 3 and all(len(line) > 150 and line.startswith("localgrad train ") for line in lines)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("cifar10.infopro_resnet32", ['--first "[5,0.5]" (type: list of float, float)', "mlaan,constant}"]),
        (
            "cifar10.auglocal_resnet110",
            ['repetitive,uniform]" (type: list of items, each one of uniform, sequential', ", repetitive-conv3x3)"],
        ),
        ("digits.dgl", ["(type: one of float32, bfloat16, float16)", "--channels-last {true,false} memory format"]),
        ("imagenet.backprop_resnet101", ["whose batch size, learning rate", "./data/imagenet by default"]),
        ("cifar10.queued_dgl_conv6", ["unit 3 slower by 1.11", "--buffer BUFFER"]),
        ("stl10.predsim_vgg8b", ["--cutout {true,false}", "factor on the channels of the convolutions"]),
    ],
)  # fmt: skip
def test_the_help_of_a_recipe(localgrad: Localgrad, recipe: str, words: list[str]) -> None:
    status, printed = localgrad("train", recipe, "--help")
    assert status == 0
    plain = " ".join(printed.split())
    assert [word for word in words if word not in plain] == []


@pytest.mark.parametrize("recipe", ["cifar10.auglocal_resnet32", "cifar10.infopro_resnet32", "cifar10.predsim_vgg8b"])
def test_the_help_names_choices_once(localgrad: Localgrad, recipe: str) -> None:
    """Those that stand in braces behind an option's name are not repeated as its type."""
    _, printed = localgrad("train", recipe, "--help")
    plain = " ".join(printed.split())
    in_braces = re.findall(r"(--[\w-]+) {([^}]*)}(.*?)(?= --|$)", plain)
    assert len(in_braces) > 4
    for option, choices, text in in_braces:
        assert "(type:" not in text, option
        assert (", ".join(choices.split(",")) in text) is False, option
    assert "'uniform'" not in plain and "default: False" not in plain
    assert not [line for line in printed.splitlines() if line.endswith("-")]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["cifar10.infopro_resnet32", "--first", "[5]"],
            "--first: expected a list in brackets, each a number, got '[5]'.",
        ),
        (
            ["cifar10.auglocal_resnet32", "--stage-selection", "[foo]"],
            "--stage-selection: expected a list in brackets, each one of uniform, sequential, repetitive",
        ),
        (
            ["imagenet.backprop_vgg13", "--protocol", "dgl"],
            "VGG13: no protocol 'dgl' is known for it. There are: auglocal.",
        ),
    ],
)  # fmt: skip
def test_bad_values(refused: Callable[..., str], words: list[str], error: str) -> None:
    assert error in refused("train", *words)


def test_lists_are_taken_and_kept_for_resuming(localgrad: Localgrad) -> None:
    words = ["digits.infopro", "--layers", 8, "--epochs", 1, "--first", "[3,0.25]", "--last", "[1, 2]", "--out", "a"]
    assert localgrad("train", *words)[0] == 0
    folder = Path("a")
    run = run_from_origin(read_run(folder)["origin"], folder, {})
    assert isinstance(run.method, InfoPro)
    assert run.method.lambdas == Lambdas((3, 0.25), (1, 2))
