"""The detection example trains on a backbone of its own, and on a run of grey digits."""

from pathlib import Path

import pytest
import torch

from localgrad.cli import main

from .test_train_timm import example

SMALL = ["--batch", "1", "--size", "48"]


def test_detect_shapes(capsys: pytest.CaptureFixture[str]) -> None:
    totals = example("detect_shapes").main([*SMALL, "--batches", "2", "--steps", "6"])
    assert len(totals) == 6 and sum(totals[3:]) < sum(totals[:3])  # it learns at once that most is background
    first, *steps, last = capsys.readouterr().out.splitlines()
    assert first.startswith("backbone: 2 batches by DGL, last losses of the units ") and len(first.split()) == 13
    assert len(steps) == 6 and all(
        f"step {n + 1}: loss {totals[n]:.3f} (mean of 1); " in s for n, s in enumerate(steps)
    )
    assert "mask 0." in steps[-1] and last.startswith("found ") and " shapes in 8 new images" in last


def test_a_run_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "run")
    words = ["digits.backprop", "--layers", "8", "--epochs", "1", "--batch-size", "512", "--out", out]
    assert main(["train", *words]) == 0
    totals = example("detect_shapes").main([*SMALL, "--steps", "1", "--trained", "1", "--run", out])
    assert len(totals) == 1 and totals[0] > 0
    with pytest.raises(SystemExit):
        example("detect_shapes").main(["--run", str(tmp_path / "nowhere")])
    assert "nowhere is not a run folder" in capsys.readouterr().err


def test_what_is_drawn() -> None:
    draw = example("detect_shapes").draw
    draws = torch.Generator().manual_seed(0)
    for _ in range(20):
        image, target = draw(40, 3, draws)
        assert image.shape == (3, 40, 40) and image.min() >= 0 and image.max() <= 1
        assert target["masks"].sum(0).max() == 1 and target["labels"].min() >= 1 and target["labels"].max() <= 3
        for mask, (left, top, right, bottom) in zip(target["masks"], target["boxes"].int().tolist(), strict=True):
            assert mask[top:bottom, left:right].sum() == mask.sum() > 0
            assert mask[top].any() and mask[bottom - 1].any() and mask[:, left].any() and mask[:, right - 1].any()
