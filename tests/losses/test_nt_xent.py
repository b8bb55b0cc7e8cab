"""NT-Xent and pair selection against the thesis' algorithms written slowly in float64, and their edges."""

from math import exp, inf, log

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from localgrad import Batch
from localgrad.errors import LocalgradError
from localgrad.losses import NTXent, SelectiveNTXent, cosines, nt_xent_loss, selective_nt_xent


def features(images: int = 5, width: int = 7, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(images, width, generator=generator, dtype=torch.float64)
    other = first + 0.8 * torch.randn(images, width, generator=generator, dtype=torch.float64)
    return torch.stack((first, other), 1).flatten(0, 1)


def cosine(z: np.ndarray) -> np.ndarray:
    unit = z / np.sqrt((z * z).sum(1, keepdims=True))
    return unit @ unit.T


def slow(z: Tensor, alpha: float, beta: float, t: float, *, literal: bool, S: np.ndarray | None = None) -> float:
    """Algorithms 5 to 7, with 2k and 2k+1 for 2k-1 and 2k."""
    own = cosine(z.detach().numpy())
    S = own if S is None else S
    chosen = [k for k in range(len(z) // 2) if S[2 * k + 1, 2 * k] >= alpha]
    total = 0.0
    for k in chosen:
        for a, b in ((2 * k, 2 * k + 1), (2 * k + 1, 2 * k)):
            rows = [c for c in range(len(z)) if c != a and (S[a, c] <= beta or (c == b and not literal))]
            if rows:
                total += -own[a, b] / t + log(sum(exp(own[a, c] / t) for c in rows))
    return total / (2 * len(chosen)) if chosen else 0.0


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_all_pairs(temperature: float) -> None:
    z = features()
    expected = slow(z, -inf, inf, temperature, literal=False)
    assert nt_xent_loss(z, temperature).item() == pytest.approx(expected, rel=1e-12)
    for keep in (True, False):
        kept = selective_nt_xent(z, -1.5, 1.5, temperature, keep_positive=keep)
        assert kept.loss.item() == pytest.approx(expected, rel=1e-12)
        assert [float(one) for one in kept[1:]] == [1, 1, 0]


@pytest.mark.parametrize("literal", [False, True])
@pytest.mark.parametrize(("alpha", "beta"), [(0.6, 0.1), (0.9, -0.2), (-1.0, 0.0), (0.5, 2.0), (0.2, -2.0)])
@pytest.mark.parametrize("other", [False, True], ids=["own similarity", "another's"])
def test_selection(alpha: float, beta: float, literal: bool, other: bool) -> None:
    z = features(8)
    S = cosine(features(8, seed=3).numpy()) if other else None
    given = None if S is None else torch.from_numpy(S)
    kept = selective_nt_xent(z, alpha, beta, similarity_VV=given, keep_positive=not literal)
    assert kept.loss.item() == pytest.approx(slow(z, alpha, beta, 0.5, literal=literal, S=S), rel=1e-12, abs=1e-14)
    S = cosine(z.numpy()) if S is None else S
    pairs = [S[2 * k, 2 * k + 1] for k in range(8)]
    negatives = [S[a, c] for a in range(16) for c in range(16) if c not in (a, a ^ 1)]
    assert kept.positives.item() == pytest.approx(np.mean(np.asarray(pairs) >= alpha))
    assert kept.negatives.item() == pytest.approx(np.mean(np.asarray(negatives) <= beta))


def test_positives_only_keeps_every_negative() -> None:
    z = features(8)
    kept = selective_nt_xent(z, 0.6, None)
    assert kept.loss.item() == pytest.approx(slow(z, 0.6, inf, 0.5, literal=False), rel=1e-12)
    loss = SelectiveNTXent(0.6, -1.0, negatives=False)
    assert torch.equal(loss({"features": z}, Batch(z))["nt_xent"], kept.loss)


@pytest.mark.parametrize("keep", [True, False])
def test_an_empty_selection_is_a_loss_of_zero_without_gradient(keep: bool) -> None:
    z = features().requires_grad_()
    terms = SelectiveNTXent(2.0, -2.0, keep_positive=keep)({"features": z}, Batch(z))
    assert {name: float(value.detach()) for name, value in terms.items()} == {
        "nt_xent": 0, "kept_positives": 0, "kept_negatives": 0, "empty": 1,
    }  # fmt: skip
    (gradient,) = torch.autograd.grad(terms["nt_xent"], z)
    assert torch.equal(gradient, torch.zeros_like(z))


def test_a_view_whose_denominator_is_empty_adds_nothing() -> None:
    """As algorithm 7 is printed the positive may leave the denominator, and with it the last term."""
    z = features().requires_grad_()
    kept = selective_nt_xent(z, -1.0, -2.0, keep_positive=False)
    assert (kept.loss.item(), kept.empty.item()) == (0, 0)
    (gradient,) = torch.autograd.grad(kept.loss, z)
    assert torch.equal(gradient, torch.zeros_like(z))


@pytest.mark.parametrize("images", [1, 256, 257, 600])
def test_cosines_of_many_views(images: int) -> None:
    """Computed in parts from 512 views on: every one is there, and they are symmetric to the bit."""
    z = features(images).float()
    S = cosines(z)
    torch.testing.assert_close(S, F.normalize(z, dim=1) @ F.normalize(z, dim=1).T)
    assert torch.equal(S, S.T)


def test_thresholds_and_similarities_from_outputs_and_batch() -> None:
    z, guide = features(8), features(8, seed=3)
    S = cosines(guide)
    expected = selective_nt_xent(z, 0.5, 0.1, similarity_VV=S).loss
    outputs = {"features": z, "teacher": guide, "alpha": torch.tensor(0.5), "beta": torch.tensor(0.1)}
    assert torch.equal(SelectiveNTXent(None, None, "teacher")(outputs, Batch(z))["nt_xent"], expected)
    batch = Batch(z, pair_similarity=S)
    assert torch.equal(SelectiveNTXent(0.5, 0.1, "pretrained")({"features": z}, batch)["nt_xent"], expected)
    with pytest.raises(LocalgradError, match=r"similarities of all 16 views with each other, \(16, 16\), got \(4, 4\)"):
        selective_nt_xent(z, 0.5, 0.1, similarity_VV=S[:4, :4])


def test_the_choice_has_no_gradient() -> None:
    """The gradient is that of the loss over fixed pairs."""
    z = features(6).requires_grad_()
    kept = selective_nt_xent(z, 0.5, 0.1)
    fixed = selective_nt_xent(z, 0.5, 0.1, similarity_VV=cosines(z))
    one, other = (torch.autograd.grad(loss, z)[0] for loss in (kept.loss, fixed.loss))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=0)


@pytest.mark.parametrize("shape", [(5, 3), (1, 3), (4, 3, 2), (0, 3)])
def test_features_that_are_no_pairs(shape: tuple[int, ...]) -> None:
    with pytest.raises(LocalgradError, match=r"expected features of shape \(2N, D\), got .*Give Batch.views"):
        NTXent()({"features": torch.ones(shape)}, Batch(torch.ones(1)))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_is_left_before_anything_is_added_up(dtype: torch.dtype) -> None:
    z = features(16, 64).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, kept = nt_xent_loss(z, 0.05), selective_nt_xent(z, 0.3, 0.2, 0.05)
    assert loss.dtype == kept.loss.dtype == torch.float32
    assert torch.equal(loss, nt_xent_loss(z.float(), 0.05))
    assert torch.equal(kept.loss, selective_nt_xent(z.float(), 0.3, 0.2, 0.05).loss)


def test_equal_views_and_zeros_are_finite() -> None:
    for z in (torch.ones(6, 4), torch.zeros(6, 4)):
        z.requires_grad_()
        loss = nt_xent_loss(z, 0.01) + selective_nt_xent(z, 0.5, 0.5, 0.01, keep_positive=False).loss
        loss.backward()
        assert loss.isfinite() and z.grad is not None and z.grad.isfinite().all()


@pytest.mark.parametrize(("images", "width", "temperature"), [(4, 6, 0.5), (32, 16, 0.1)])
def test_equals_lightly(images: int, width: int, temperature: float) -> None:
    """Where it is installed; its numbers for other features are in golden/ntxent.json."""
    loss = pytest.importorskip("lightly.loss", reason="lightly is not installed; golden/ntxent.json has its numbers")
    z = features(images, width)
    expected = loss.NTXentLoss(temperature=temperature)(z[0::2], z[1::2])
    assert nt_xent_loss(z, temperature).item() == pytest.approx(expected.item(), rel=1e-12)
