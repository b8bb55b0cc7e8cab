"""Runs that cannot be, refused before any work with all that is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Localgrad


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["digits.dgl", "--modules", 8], "modules=8: resnet14 has 7 blocks, so modules must be between 1 and 7."),
        (["digits.dgl", "--modules", 0], "modules=0: resnet14 has 7 blocks"),
        (
            ["digits.dgl", "--modules", 5],
            "modules=5: the papers have no split of resnet14 into 5 modules (table 'infopro' has 1, 7). Take one of "
            "these, or cut evenly: partition=localgrad.equal_blocks(5) or localgrad.equal_macs(5), on the command line "
            "--cut equal_blocks or --cut equal_macs.",
        ),
        (["digits.dgl", "--cut", "equal_macs"], "--cut equal_macs cuts into as many spans as --modules says: give it."),
        (["digits.backprop", "--cut", "equal_macs"], "option --cut is unknown."),
        (["digits.dgl", "--modules", 8, "--cut", "equal_blocks"], "modules=8: resnet14 has 7 blocks"),
        (["digits.dgl", "--layers", 15], "6n + 2"),
        (["digits.auglocal", "--depth", 1], "depth"),
        (
            ["exp.py:three_channels"],
            "resnet8 reads images of 1 channels, noise has 3 (image shape (3, 8, 8)). Make the backbone with "
            "image=(3, 8, 8).",
        ),
        (["exp.py:five_classes"], "resnet8 has 4 classes, noise has 5. Make the backbone with num_classes=5."),
        (["digits.dgl", "--device", "gpu"], "device 'gpu' is unknown: take auto, cpu, cuda or cuda:N."),
        (["digits.dgl", "--device", "cpu", "--precision", "float16"], "precision float16 needs a GPU"),
        (["digits.dgl", "--val-fraction", 1], "val_fraction must be in [0, 1), got 1.0."),
        (["digits.dgl", "--val-fraction", -0.1], "val_fraction must be in [0, 1), got -0.1."),
        (["digits.dgl", "--val-fraction", "nan"], "--val-fraction: expected a number, got 'nan'."),
        (["digits.dgl", "--val-fraction", 0.001], "fraction 0.001 leaves 9 of 10 classes without a sample on one side"),
        (["digits.dgl", "--clip", 0], "clip must be above 0, got 0.0."),
        (["digits.dgl", "--clip", 1, "--update", "fused"], "clip is per unit, update='fused' has one optimiser"),
        (["digits.dgl", "--batch-size", 0], "batch_size must be at least 1, got 0."),
        (["digits.dgl", "--batch-size", 8, "--accumulate", 9], "accumulate=9 must not be larger than batch_size=8"),
        (
            ["digits.dgl", "--batch-size", 359],
            "batch_size=359 with accumulate=1 trains on a single image at times: the training split has 1437, the last "
            "batch 1. Take e.g. batch_size=360.",
        ),
        (["digits.dgl", "--batch-size", 1], "batch_size=1 with accumulate=1 trains on a single image at times"),
        (["digits.dgl", "--batch-size", 64, "--accumulate", 29], "the last batch 29. Take e.g. batch_size="),
        (["exp.py:untyped", "--epochs", "many"], "epochs must be a whole number, got 'many'."),
        (["exp.py:untyped", "--seed", 0.5], "seed must be a whole number, got 0.5."),
        (["digits.dgl", "--init-from", "nowhere"], "/nowhere does not exist."),
    ],
)
def test_what_is_refused(refused: Callable[..., str], words: list[object], text: str) -> None:
    assert text in refused("train", *words)


def test_all_problems_are_told_at_once(refused: Callable[..., str]) -> None:
    Path("file").write_text("")
    told = refused("train", "exp.py:many_problems", "--out", "file/a", "--device", "tpu").splitlines()
    assert told[0] == "8 problems, nothing was started:"
    starts = [
        "epochs",
        "accumulate=99",
        "val_fraction",
        "device 'tpu'",
        "modules=9",
        "resnet8 reads",
        "resnet8 has 4",
        "out: ",
    ]
    for start in starts:
        assert any(line.startswith(f"- {start}") for line in told), start


def test_backprop_may_train_on_one_image_where_no_norm_minds(localgrad: Localgrad) -> None:
    words = ("train", "exp.py:tiny", "--method", "backprop", "--epochs", 1, "--count", 17, "--out", "a")
    assert localgrad(*words)[0] == 0


def test_folders_that_cannot_be_written(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    Path("file").write_text("mine")
    assert refused("train", "exp.py:tiny", "--out", "file") == (
        "nothing was started:\n- out: file cannot be a folder, file is a file."
    )
    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "a b")[0] == 0
    assert refused("train", "exp.py:tiny", "--out", "a b") == (
        "nothing was started:\n- out: a b already holds a run. Continue it (`localgrad train --resume 'a b'`), or give "
        "another folder."
    )
