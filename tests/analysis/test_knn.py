"""Weighted nearest neighbours against a slow version in NumPy."""

from collections import defaultdict

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad.analysis import BlockFeatures
from localgrad.analysis import knn as module
from localgrad.analysis.knn import knn_scores, knn_top1, neighbours_of
from localgrad.errors import LocalgradError


def slow(train: np.ndarray, labels: np.ndarray, test: np.ndarray, k: int, temperature: float) -> np.ndarray:
    rows = []
    for x in test:
        near = sorted(
            ((float(x @ y) / float(np.linalg.norm(x) * np.linalg.norm(y)), int(c))
             for y, c in zip(train, labels, strict=True)),
            reverse=True,
        )[:k]  # fmt: skip
        votes: defaultdict[int, float] = defaultdict(float)
        for cosine, label in near:
            votes[label] += np.exp(cosine / temperature)
        rows.append([votes[label] for label in range(4)])
    return np.array(rows)


def drawn() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(4, 6, generator=generator)
    labels = torch.randint(4, (90,), generator=generator)
    x = centres[labels] + 1.2 * torch.randn(90, 6, generator=generator)
    return x[:60], labels[:60], x[60:], labels[60:]


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (20, 0.07), (60, 0.5)])
def test_equals_the_slow_version(k: int, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels, test, wanted = drawn()
    expected = slow(train.double().numpy(), labels.numpy(), test.double().numpy(), k, temperature)
    found = knn_scores(train, labels, test, classes=4, neighbours=k, temperature=temperature)
    # As large as the slow version, which takes no difference to the nearest one.
    nearest = (F.normalize(test, dim=1) @ F.normalize(train, dim=1).T).amax(1, keepdim=True).double().numpy()
    scaled = found.double().numpy() * np.exp(nearest / temperature)
    np.testing.assert_allclose(scaled, expected, rtol=2e-4, atol=1e-9 * expected.max())
    monkeypatch.setattr(module, "_CHUNK", 60 * 7)  # 30 test rows in parts of 7
    parts = knn_scores(train, labels, test, classes=4, neighbours=k, temperature=temperature)
    torch.testing.assert_close(parts, found)
    top1 = knn_top1(
        BlockFeatures({"a": train, "b": -train}, labels),
        BlockFeatures({"a": test, "b": test}, wanted),
        classes=4,
        neighbours=k,
        temperature=temperature,
    )
    right = 100 * float(np.mean(expected.argmax(1) == wanted.numpy()))
    assert top1["a"] == pytest.approx(right) and 40 < right < 100 and top1["b"] < right


def test_no_features_at_all() -> None:
    train, labels, test, _ = drawn()
    found = knn_scores(torch.zeros_like(train), labels, test, classes=4, neighbours=60)
    assert found.isfinite().all() and torch.equal(found.argmax(1), labels.bincount().argmax().expand(30))


def test_at_low_temperatures_the_nearest_decides() -> None:
    """No vote is lost where all would be too small to be told from 0."""
    train, labels, test, _ = drawn()
    coldest = knn_scores(train, labels, test, classes=4, neighbours=20, temperature=1e-6)
    alone = knn_scores(train, labels, test, classes=4, neighbours=1)
    assert torch.equal(coldest.argmax(1), alone.argmax(1)) and float(coldest.sum(1).min()) >= 1


def test_as_many_vote_as_there_are() -> None:
    assert [neighbours_of(*given) for given in ((1000,), (14,), (14, 20), (1000, 20))] == [200, 14, 20, 20]


def test_what_is_refused() -> None:
    train, labels, test, _ = drawn()
    with pytest.raises(LocalgradError, match=r"1 to 60 neighbours \(the training samples\), got 200\. Take fewer"):
        knn_scores(train, labels, test, classes=4)
    with pytest.raises(LocalgradError, match="got 0"):
        knn_scores(train, labels, test, classes=4, neighbours=0)
    with pytest.raises(LocalgradError, match="temperature must be above 0 and finite, got 0"):
        knn_scores(train, labels, test, classes=4, neighbours=5, temperature=0)
    with pytest.raises(LocalgradError, match="has the network diverged"):
        knn_scores(train, labels, test * float("nan"), classes=4, neighbours=5)
