"""The reconstruction loss against the definition, PyTorch's own BCELoss, and at its borders."""

import math

import pytest
import torch
import torch.nn.functional as F

from localgrad import Batch, LocalgradError
from localgrad.losses import reconstruction


def bce(logits: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """The loss on a batch whose x has the image's shape."""
    return reconstruction({"logits": logits}, Batch(x=image, image=image))["bce"]


def test_mean_over_all_pixels_in_nats() -> None:
    logits, image = torch.randn(2, 3, 4, 5, dtype=torch.float64), torch.rand(2, 3, 4, 5, dtype=torch.float64)
    expected = 0.0
    for z, t in zip(logits.flatten().tolist(), image.flatten().tolist(), strict=True):
        p = 1 / (1 + math.exp(-z))
        expected -= t * math.log(p) + (1 - t) * math.log(1 - p)
    assert bce(logits, image).item() == pytest.approx(expected / 120, rel=1e-13)


@pytest.mark.parametrize("scale", [1.0, 10.0, 60.0, 2000.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_value_and_gradient_are_those_of_a_sigmoid_and_bceloss(scale: float, dtype: torch.dtype) -> None:
    """Also where the sigmoid rounds to 0 or 1 and PyTorch bounds logarithm and divisor."""
    logits = (scale * torch.randn(4, 3, 6, 6, dtype=dtype)).requires_grad_(True)
    image = torch.rand(4, 3, 6, 6, dtype=dtype).round(decimals=1)
    ours = bce(logits, image)
    theirs = F.binary_cross_entropy(logits.sigmoid(), image)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    assert ours.item() == pytest.approx(theirs.item(), rel=tolerance)
    (gradient,), (expected,) = (torch.autograd.grad(3 * loss, logits) for loss in (ours, theirs))
    torch.testing.assert_close(gradient, expected, rtol=tolerance, atol=tolerance * 1e-2)


def test_no_number_stays_no_number() -> None:
    """A network that diverged: PyTorch's own loss would raise, on CUDA it would end the process."""
    logits = torch.full((1, 1, 2, 2), float("nan"), requires_grad=True)
    loss = bce(logits, torch.rand(1, 1, 2, 2))
    loss.backward()
    assert loss.isnan()
    assert logits.grad.isnan().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_logits_are_summed_in_float32_also_inside_autocast(dtype: torch.dtype) -> None:
    logits, image = torch.randn(2, 3, 4, 4).to(dtype), torch.rand(2, 3, 4, 4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = bce(logits, image.to(dtype))
    assert loss.dtype == torch.float32
    assert torch.equal(loss, bce(logits.float(), image.to(dtype).float()))


def test_an_image_of_another_size() -> None:
    text = (
        r"reconstruction: the decoder makes images of shape \(3, 8, 8\), Batch\.image has \(3, 16, 16\)\. "
        r"Make the network for such images: image=\(3, 16, 16\)\."
    )
    with pytest.raises(LocalgradError, match=text):
        bce(torch.randn(2, 3, 8, 8), torch.rand(2, 3, 16, 16))
