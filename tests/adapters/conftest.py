"""A Trainer without surroundings, and data for it."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader, TensorDataset

from localgrad import Backbone


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Lightning says what devices there are through its logger, in every test."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


def trainer(root: Path, **options: Any) -> Trainer:
    """On one CPU device, writing nothing unless asked."""
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "max_epochs": 1,
        "num_sanity_val_steps": 0,
        "default_root_dir": root,
    }
    return Trainer(**(settings | options))


def loader(backbone: Backbone, batches: int = 3, rows: int = 8) -> DataLoader[Any]:
    """Random images and classes, in order."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn((batches * rows, *backbone.image), generator=generator)
    y = torch.randint(0, backbone.num_classes, (batches * rows,), generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=rows)
