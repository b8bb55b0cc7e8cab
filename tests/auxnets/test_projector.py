"""Projection heads, teachers beside them, and thresholds that follow quantiles."""

import pytest
import torch
from torch import Tensor

from localgrad.auxnets import Projector, RunningThresholds, Selecting
from localgrad.auxnets.quantiles import SHIFTS
from localgrad.blocks import ConvBNReLU
from localgrad.losses import cosines


def features(views: int = 64, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(views // 2, 16, generator=generator)
    other = first + torch.randn(views // 2, 16, generator=generator)
    return torch.stack((first, other), 1).flatten(0, 1)


@pytest.mark.parametrize(("shape", "conv"), [((8, 4, 4), None), ((8, 4, 4), (16, 2)), ((8,), None)])
def test_projector(shape: tuple[int, ...], conv: tuple[int, int] | None) -> None:
    made = Projector(shape, conv, hidden=12, out=5).build()
    out = made(torch.randn(6, *shape))
    assert out.keys() == {"features"} and out["features"].shape == (6, 5)
    assert made.fc1.bias is None and made.bn1.num_features == 12
    assert Projector(shape, conv, batch_norm=False).build().fc1.bias is not None


def test_a_selecting_projector_projects_only_unless_it_is_told_more() -> None:
    block = ConvBNReLU(3, 8)
    made = Selecting(Projector((8, 4, 4), hidden=12, out=5), "teacher", (block,), (0.5, 0.5)).build()
    h_in, h = torch.randn(6, 3, 4, 4), torch.randn(6, 8, 4, 4)
    assert made(h).keys() == {"features", "alpha", "beta"}
    assert int(made.thresholds.batches) == 0
    told = made(h, h_in=h_in)
    assert told.keys() == {"features", "teacher", "alpha", "beta"}
    assert told["teacher"].shape == (6, 5) and not told["teacher"].requires_grad
    assert int(made.thresholds.batches) == 1
    made.eval()
    made(h, h_in=h_in)
    assert int(made.thresholds.batches) == 1
    assert not any(weight.requires_grad for weight in made.teacher.parameters())


def test_thresholds_are_quantiles_of_a_batch_then_moving_averages() -> None:
    found = RunningThresholds(0.8, 0.6, momentum=0.75)
    expected: list[tuple[float, float]] = []
    for seed in range(3):
        z = features(64, seed)
        found.follow_features(z)
        S = cosines(z)
        positives = torch.stack([S[2 * k, 2 * k + 1] for k in range(32)])
        negatives = torch.stack([S[a, (a - s) % 64] for s in range(2, SHIFTS + 2) for a in range(64)])
        assert not any((a - s) % 64 in (a, a ^ 1) for s in range(2, SHIFTS + 2) for a in range(64))
        own = float(positives.quantile(0.2)), float(negatives.quantile(0.6))
        weight = 1.0 if not expected else 0.25
        before = expected[-1] if expected else (0.0, 0.0)
        expected.append(tuple(b + weight * (o - b) for b, o in zip(before, own, strict=True)))  # type: ignore[arg-type]
        assert (float(found.alpha), float(found.beta)) == pytest.approx(expected[-1], abs=1e-5)
    other = RunningThresholds(0.8, 0.6, momentum=0.75)
    for seed in range(3):
        other.follow_matrix(cosines(features(64, seed)))
    assert (float(other.alpha), float(other.beta)) == pytest.approx(expected[-1], abs=1e-5)


def test_a_sample_of_the_negatives_is_enough() -> None:
    """Against the quantile of all of them."""
    z = features(512)
    found = RunningThresholds(0.5, 0.9)
    found.follow_features(z)
    S = cosines(z)
    rows = torch.arange(512)
    S[rows, rows], S[rows, rows ^ 1] = torch.nan, torch.nan
    assert float(found.beta) == pytest.approx(float(S.flatten().nanquantile(0.9)), abs=0.03)


def test_a_single_pair_has_no_negatives() -> None:
    found = RunningThresholds(0.5, 0.5)
    found.follow_features(features(2))
    assert float(found.beta) == 1.0 and float(found.alpha) < 1.0
    found.follow_matrix(torch.eye(2))
    assert float(found.beta) == 1.0


def test_thresholds_are_found_in_float32() -> None:
    one, other = RunningThresholds(0.5, 0.5), RunningThresholds(0.5, 0.5)
    z = features().bfloat16()
    one.follow_features(z)
    other.follow_features(z.float())
    assert torch.equal(one.alpha, other.alpha) and torch.equal(one.beta, other.beta)
