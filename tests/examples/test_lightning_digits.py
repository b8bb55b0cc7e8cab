"""The Lightning example trains and writes a checkpoint."""

from pathlib import Path

import pytest
import torch

from .test_train_timm import example


# Lightning's advice is a category of its own; the other is its use of something that torch 2.15 wants to drop.
@pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning")
@pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning")
def test_lightning_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "digits.ckpt"
    options = ["--epochs", "1", "--batches", "6", "--quiet", "--checkpoint", str(file)]
    share = example("lightning_digits").main(options)
    assert share > 0.15  # chance is 0.1
    assert f"last-epoch test accuracy {100 * share:.1f} %" in capsys.readouterr().out
    saved = torch.load(file, weights_only=False)
    assert saved["global_step"] == 6
    assert len(saved["optimizer_states"][0]["units"]) > 1
