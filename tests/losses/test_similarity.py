"""Similarity matching against the definition, written slowly, and where numbers get difficult."""

import numpy as np
import pytest
import torch

from localgrad import Batch
from localgrad.losses import SimilarityMatching, similarity_matrix


def slow(x: np.ndarray) -> np.ndarray:
    """Sample by sample, feature by feature, in float64."""
    rows = []
    for sample in x:
        if x.ndim == 4 and x.shape[1] > 3 and x.shape[2] > 1:
            row = []
            for channel in sample:
                values = channel.flatten()
                mean = sum(values) / len(values)
                row.append((sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5)
        else:
            row = list(sample.flatten())
        mean = sum(row) / len(row)
        centred = [value - mean for value in row]
        norm = 1e-8 + sum(value**2 for value in centred) ** 0.5
        rows.append([value / norm for value in centred])
    products = [[sum(a * b for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]
    return np.clip(np.array(products), -1, 1)


SHAPES = [(4, 7), (3, 5, 2, 6), (3, 4, 2, 1), (3, 4, 1, 5), (3, 3, 4, 4), (2, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_similarity_matrix(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, dtype=torch.float64)
    assert np.abs(similarity_matrix(x).numpy() - slow(x.numpy())).max() < 1e-12
    last = x.to(memory_format=torch.channels_last) if x.ndim == 4 else x
    torch.testing.assert_close(similarity_matrix(last), similarity_matrix(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 9), (6, 5, 3, 3)])
def test_loss(shape: tuple[int, ...]) -> None:
    x, y = torch.randn(shape, dtype=torch.float64), torch.tensor([0, 3, 1, 1, 0, 0])
    expected = np.mean((slow(x.numpy()) - slow(np.eye(4)[y])) ** 2)
    loss = SimilarityMatching(4)({"features": x}, Batch(x=x, y=y))
    assert loss.keys() == {"similarity"}
    assert loss["similarity"].item() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("classes", [2, 4, 100])
def test_similarities_of_labels(classes: int) -> None:
    """1 within a class and -1/(K-1) between two: K classes are as far apart as K directions can be."""
    R = similarity_matrix(torch.eye(classes, dtype=torch.float64)[[0, 1, 0]])
    off = -1 / (classes - 1)
    expected = torch.tensor([[1, off, 1], [off, 1, off], [1, off, 1]], dtype=torch.float64)
    torch.testing.assert_close(R, expected, rtol=0, atol=1e-7)


def test_gradient_is_the_slopes() -> None:
    x = torch.randn(4, 5, 2, 3, dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 1, 2])
    assert torch.autograd.gradcheck(lambda x: SimilarityMatching(3)({"features": x}, Batch(x=x, y=y))["similarity"], x)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3, 3)])
def test_dead_features_give_no_nan(shape: tuple[int, ...]) -> None:
    """A layer whose ReLUs are all off: similarity 0 to everything, gradient 0."""
    x = torch.zeros(shape, requires_grad=True)
    loss = SimilarityMatching(3)({"features": x}, Batch(x=x, y=torch.tensor([0, 1, 1, 2])))["similarity"]
    loss.backward()
    assert loss.isfinite()
    assert not x.grad.any()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_features_are_compared_in_float32(dtype: torch.dtype) -> None:
    """Also inside an autocast region, which would take the product in the reduced format."""
    x, y = torch.randn(5, 6, 4, 4).to(dtype), torch.tensor([0, 1, 1, 2, 0])
    loss, batch = SimilarityMatching(3), Batch(x=x, y=y)
    expected = loss({"features": x.float()}, batch)["similarity"]
    with torch.autocast("cpu", dtype=dtype):
        ours = loss({"features": x}, batch)["similarity"]
        same = loss({"features": x.float()}, batch)["similarity"]
    assert ours.dtype == torch.float32
    assert torch.equal(ours, expected)
    assert torch.equal(same, expected)
