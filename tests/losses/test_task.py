"""Cross-entropy against the definition, written slowly."""

import math

import numpy as np
import pytest
import torch

from localgrad import Batch
from localgrad.losses import cross_entropy


def test_cross_entropy_is_the_mean_in_nats() -> None:
    logits = torch.randn(5, 3, dtype=torch.float64)
    y = torch.tensor([0, 2, 1, 1, 0])
    expected = 0.0
    for row, label in zip(logits.numpy(), y.tolist(), strict=True):
        expected += math.log(np.exp(row).sum()) - row[label]
    loss = cross_entropy({"logits": logits}, Batch(x=logits, y=y))
    assert loss.keys() == {"ce"}
    assert loss["ce"].item() == pytest.approx(expected / 5, rel=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_logits_are_summed_in_float32(dtype: torch.dtype) -> None:
    logits, y = torch.randn(5, 3).to(dtype), torch.tensor([0, 2, 1, 1, 0])
    loss = cross_entropy({"logits": logits}, Batch(x=logits, y=y))["ce"]
    assert loss.dtype == torch.float32
    assert torch.equal(loss, cross_entropy({"logits": logits.float()}, Batch(x=logits, y=y))["ce"])
