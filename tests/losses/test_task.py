"""Cross-entropy against the definition, written slowly."""

import math

import numpy as np
import pytest
import torch

from localgrad import Batch
from localgrad.losses import BoundedCrossEntropy, cross_entropy


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


def test_bounded_cross_entropy_is_the_log_of_a_clamped_softmax() -> None:
    """As methods.md 3 describes it; values and gradients in float64."""
    logits = (4 * torch.randn(40, 5, dtype=torch.float64)).requires_grad_()
    y = torch.arange(40) % 5
    loss = BoundedCrossEntropy(0.01)({"logits": logits}, Batch(x=logits, y=y))["ce"]
    clamped_BK = logits.softmax(1).clamp(0.01, 1)
    expected = -clamped_BK.log().gather(1, y[:, None]).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    ours, theirs = (torch.autograd.grad(one, logits)[0] for one in (loss, expected))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
    hopeless_B = logits.softmax(1).gather(1, y[:, None])[:, 0] < 0.01
    assert 3 < hopeless_B.sum() < 37
    assert not ours[hopeless_B].any() and ours[~hopeless_B].any(1).all()


def test_a_small_bound_is_plain_cross_entropy() -> None:
    logits, y = torch.randn(6, 3), torch.arange(6) % 3
    batch = Batch(x=logits, y=y)
    bounded = BoundedCrossEntropy(1e-5)({"logits": logits}, batch)["ce"]
    torch.testing.assert_close(bounded, cross_entropy({"logits": logits}, batch)["ce"])
