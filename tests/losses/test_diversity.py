"""The diversity penalty against slow loops in NumPy, and its gradients."""

import numpy as np
import pytest
import torch

from localgrad import Batch
from localgrad.losses import Diversity, diversity


def slow(logits: np.ndarray, labels: list[int], temperature: float) -> float:
    """Equation 1 of GN-DGL over all ordered pairs, one cosine at a time."""
    groups, rows, classes = logits.shape
    total = 0.0
    for row in range(rows):
        wrong = []
        for group in range(groups):
            p = np.exp(logits[group, row] / temperature)
            p = p / p.sum()
            p = np.array([0.0 if k == labels[row] else p[k] for k in range(classes)])
            p = p / (p.sum() + 1e-8)
            wrong.append(p / np.sqrt((p**2).sum() + 1e-8))
        total += sum(wrong[a] @ wrong[b] for a in range(groups) for b in range(groups) if a != b)
    return total / (rows * groups * (groups - 1))


def case(groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(groups)
    logits = torch.randn((groups, 6, 7), generator=generator, dtype=torch.float64)
    return 3 * logits, torch.randint(7, (6,), generator=generator)


@pytest.mark.parametrize("groups", [2, 3, 5])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_slow_reference(groups: int, temperature: float) -> None:
    logits, y = case(groups)
    assert diversity(logits, y, temperature).item() == pytest.approx(
        slow(logits.numpy(), y.tolist(), temperature), rel=1e-12
    )


@pytest.mark.parametrize("groups", [2, 4])
def test_joint_gradient_is_twice_that_with_detached_others(groups: int) -> None:
    """methods.md 7.2: d(div_code)/dp = 2 d(div_sg)/dp; so weight 0.5 of the one is weight 1 of the other."""
    logits, y = case(groups)
    logits.requires_grad_()
    (joint,) = torch.autograd.grad(diversity(logits, y), logits)
    batch = Batch(torch.zeros(6, 1), y)
    parts = [
        Diversity()({"logits": logits[g], "others": torch.cat([logits[:g], logits[g + 1 :]]).detach()}, batch)
        for g in range(groups)
    ]
    (detached,) = torch.autograd.grad(torch.stack([part["diversity"] for part in parts]).sum(), logits)
    torch.testing.assert_close(joint, 2 * detached, rtol=0, atol=1e-15)


def test_equal_groups_are_not_diverse() -> None:
    logits, y = case(2)
    same = logits[:1].expand(3, -1, -1)
    assert diversity(same, y).item() == pytest.approx(1.0, abs=1e-6)


def test_reduced_precision_is_computed_in_float32() -> None:
    logits, y = case(2)
    outputs = {"logits": logits[0].bfloat16(), "others": logits[1:].bfloat16()}
    part = Diversity()(outputs, Batch(torch.zeros(6, 1), y))["diversity"]
    rounded = torch.stack([logits[0].bfloat16(), logits[1].bfloat16()]).double()
    assert part.dtype == torch.float32
    assert 2 * part.item() == pytest.approx(diversity(rounded, y).item(), rel=1e-6)
