"""Supervised contrast against the definition, written slowly in NumPy, and at its borders."""

import math

import numpy as np
import pytest
import torch

from localgrad import Batch, LocalgradError
from localgrad.losses import supcon_loss, supervised_contrast


def slow(features: np.ndarray, labels: list[int], temperature: float) -> float:
    """The equation of Khosla et al., anchor by anchor; an anchor without a positive adds nothing."""
    z = [row / math.sqrt(float(row @ row)) for row in features]
    total = 0.0
    for i, anchor in enumerate(z):
        others = [a for a in range(len(z)) if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        denominator = sum(math.exp(float(anchor @ z[a]) / temperature) for a in others)
        for p in positives:
            total -= math.log(math.exp(float(anchor @ z[p]) / temperature) / denominator) / len(positives)
    return total / len(z)


@pytest.mark.parametrize("labels", [[0, 1, 0, 2, 1, 0, 3], [0] * 7, [0, 1, 2, 3, 4, 5, 6], [0, 0, 1, 1, 2, 2, 2]])
@pytest.mark.parametrize("temperature", [0.07, 0.5])
def test_definition(labels: list[int], temperature: float) -> None:
    features = torch.randn(7, 5, dtype=torch.float64)
    ours = supcon_loss(features, torch.tensor(labels), temperature).item()
    assert ours == pytest.approx(slow(features.numpy(), labels, temperature), rel=1e-12, abs=1e-14)


def test_the_losss_temperature_is_infopros() -> None:
    features, y = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 2, 2])
    loss = supervised_contrast({"features": features}, Batch(x=features, y=y))
    assert loss.keys() == {"supcon"}
    assert loss["supcon"].item() == pytest.approx(slow(features.numpy(), y.tolist(), 0.07), rel=1e-12)


def test_only_the_direction_of_a_feature_counts() -> None:
    features, y = torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 1, 0, 1, 2, 2])
    scales = torch.tensor([[0.1], [1.0], [10.0], [100.0], [3.0], [7.0]])
    assert supcon_loss(features * scales, y).item() == pytest.approx(supcon_loss(features, y).item(), rel=1e-12)


def test_without_any_positive_loss_and_gradient_are_zero() -> None:
    features = torch.randn(4, 3, requires_grad=True)
    loss = supcon_loss(features, torch.arange(4))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(features.grad, torch.zeros(4, 3))


@pytest.mark.parametrize("rows", [0, 1])
def test_one_row_has_nothing_to_be_compared_with(rows: int) -> None:
    text = (
        rf"supervised contrast compares the samples of a batch and needs at least 2, got {rows}\. Give larger batches"
    )
    with pytest.raises(LocalgradError, match=text):
        supcon_loss(torch.randn(rows, 3), torch.zeros(rows, dtype=torch.int64))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_features_are_compared_in_float32(dtype: torch.dtype) -> None:
    """Also inside autocast, where a matrix product would go back to 16 bits."""
    features, y = torch.randn(6, 4).to(dtype), torch.tensor([0, 1, 0, 1, 2, 2])
    batch = Batch(x=features, y=y)
    expected = supervised_contrast({"features": features.float()}, batch)["supcon"]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = supervised_contrast({"features": features}, batch)["supcon"]
    assert inside.dtype == torch.float32
    assert torch.equal(inside, expected)
