"""Linear CKA against its definition with N x N kernels, and what it does not change with."""

import math

import pytest
import torch
from torch import Tensor

from localgrad.analysis import BlockFeatures
from localgrad.analysis.cka import block_similarity, cka_matrix, linear_cka, minibatch_cka, minibatches, narrowed
from localgrad.errors import LocalgradError


def drawn(rows: int, *widths: int, seed: int = 0) -> list[Tensor]:
    """Features that share a part, so that their similarity is neither 0 nor 1."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(rows, 3, generator=generator)
    return [
        shared @ torch.randn(3, width, generator=generator) + torch.randn(rows, width, generator=generator) + 5
        for width in widths
    ]


def kernel_hsic(x: Tensor, y: Tensor) -> float:
    """HSIC_0 by its definition: tr(K H L H) / (n - 1)^2."""
    n = len(x)
    H = torch.eye(n, dtype=torch.float64) - 1 / n
    K, L = x.double() @ x.double().T, y.double() @ y.double().T
    return float(torch.trace(K @ H @ L @ H)) / (n - 1) ** 2


def kernel_hsic_1(x: Tensor, y: Tensor) -> float:
    """HSIC_1 by its definition (Song et al. 2012), on kernels without their diagonals."""
    n = len(x)
    K, L = x.double() @ x.double().T, y.double() @ y.double().T
    K.fill_diagonal_(0)
    L.fill_diagonal_(0)
    one = torch.ones(n, dtype=torch.float64)
    terms = torch.trace(K @ L) + (one @ K @ one) * (one @ L @ one) / ((n - 1) * (n - 2))
    return float(terms - 2 / (n - 2) * (one @ K @ L @ one)) / (n * (n - 3))


@pytest.mark.parametrize("rows", [40, 6])  # wider than many samples, and than few
def test_equals_its_definition(rows: int) -> None:
    x, y = drawn(rows, 7, 12)
    for unbiased, hsic in ((False, kernel_hsic), (True, kernel_hsic_1)):
        expected = hsic(x, y) / math.sqrt(hsic(x, x) * hsic(y, y))
        assert linear_cka(x, y, unbiased=unbiased) == pytest.approx(expected, rel=1e-9)
        assert 0.02 < abs(expected) < 0.98
    # Kornblith's closed form on centred features.
    a, b = (z.double() - z.double().mean(0) for z in (x, y))
    closed = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    assert linear_cka(x, y) == pytest.approx(float(closed), rel=1e-9)


def test_wide_features_take_no_more_columns_than_samples() -> None:
    (x,) = drawn(6, 200)
    narrow = narrowed(x.double())
    assert narrow.shape == (6, 6)
    torch.testing.assert_close(narrow @ narrow.T, x.double() @ x.double().T)


def test_rotation_scale_and_shift_change_nothing() -> None:
    x, y = (z.double() for z in drawn(30, 8, 5))
    turned = x @ torch.linalg.qr(torch.randn(8, 8, dtype=torch.float64)).Q * 3 + 7
    for unbiased in (False, True):
        assert linear_cka(x, turned, unbiased=unbiased) == pytest.approx(1, abs=1e-12)
        assert linear_cka(turned, y, unbiased=unbiased) == pytest.approx(linear_cka(x, y, unbiased=unbiased), rel=1e-9)
        stretched = x * torch.arange(1, 9)
        assert linear_cka(x, stretched, unbiased=unbiased) < 0.99


def test_matrix_and_minibatches() -> None:
    first, second = drawn(64, 6, 9), drawn(64, 4, 70, 6, seed=1)
    second[2] = first[0] @ torch.randn(6, 6, generator=torch.Generator().manual_seed(2))
    matrix = cka_matrix(first, second, unbiased=True)
    assert matrix.shape == (2, 3) and matrix.dtype == torch.float64
    for i, x in enumerate(first):
        for j, y in enumerate(second):
            assert float(matrix[i, j]) == pytest.approx(linear_cka(x, y, unbiased=True), rel=1e-9)
    torch.testing.assert_close(minibatch_cka([(first, second)]), matrix, rtol=1e-12, atol=0)
    torch.testing.assert_close(minibatch_cka(minibatches(first, second, size=64)), matrix, rtol=1e-9, atol=1e-12)
    parts = [[len(x[0]) for x, _ in minibatches(first, second, size=size)] for size in (16, 21, 63, 64)]
    assert parts == [[16] * 4, [22, 21, 21], [64], [64]]
    # Not the mean of the batches' CKAs, but the ratio of mean HSICs.
    batches = list(minibatches(first, second, size=16))
    hsic = [sum(kernel_hsic_1(p[i], q[j]) for p, q in pairs) for pairs, i, j in (
        (batches, 0, 1), ([(a, a) for a, _ in batches], 0, 0), ([(b, b) for _, b in batches], 1, 1))]  # fmt: skip
    expected = hsic[0] / math.sqrt(hsic[1] * hsic[2])
    assert float(minibatch_cka(batches)[0, 1]) == pytest.approx(expected, rel=1e-9)


def test_minibatches_estimate_what_the_whole_gives_and_the_biased_value_does_not() -> None:
    x, y = torch.randn(2, 600, 60, generator=torch.Generator().manual_seed(0))
    whole = linear_cka(x, y, unbiased=True)
    parts = float(minibatch_cka(minibatches([x], [y], size=20)))
    assert abs(whole) < 0.02 and parts == pytest.approx(whole, abs=0.04)
    assert linear_cka(x[:20], y[:20]) > 0.6  # unrelated features look alike on few samples


def test_constant_features_are_like_nothing() -> None:
    (x,) = drawn(20, 5)
    constant = torch.full((20, 3), 0.1)
    wobbling = constant * (1 + 1e-7 * torch.randn(20, 3, generator=torch.Generator().manual_seed(0)))
    # All pairs of samples are alike: HSIC_1 is 0 but for rounding, HSIC_0 is not.
    turns = torch.randn(9, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    equal_kernels = [3.7 * torch.linalg.qr(one).Q for one in turns]
    for unbiased in (False, True):
        for still in (constant, wobbling, torch.zeros(20, 3)):
            assert linear_cka(still, x, unbiased=unbiased) == linear_cka(still, still, unbiased=unbiased) == 0
    for equal in equal_kernels:
        assert linear_cka(equal, equal) == pytest.approx(1)
        assert linear_cka(equal, equal, unbiased=True) == linear_cka(equal, x, unbiased=True) == 0
    tiny, huge = x * 1e-30, x * 1e30
    assert linear_cka(tiny, huge) == pytest.approx(1, abs=1e-6)


def test_blocks_of_two_networks() -> None:
    labels = torch.arange(40) % 4
    a, b, c = drawn(40, 6, 7, 8)
    first, second = BlockFeatures({"stem": a, "end": b}, labels), BlockFeatures({"end": b, "more": c}, labels)
    found = block_similarity(first, second, minibatch=10)
    assert (found.first, found.second, found.shared) == (("stem", "end"), ("end", "more"), ("end",))
    assert found.constant == ((), ()) and found.comparable == ("end",)
    still = BlockFeatures({"stem": a, "end": torch.full((40, 3), 0.1)}, labels)
    dead = block_similarity(first, still, minibatch=10)
    assert dead.constant == ((), ("end",)) and dead.comparable == ("stem",) and dead.of("end") == (0, 0)
    assert found.of("end") == pytest.approx((1, 1)) and found.samples == 40
    assert float(found.exact_PQ[0, 1]) == pytest.approx(linear_cka(a, c))
    with pytest.raises(LocalgradError, match=r"of the same images: the labels of the two sets \(40 and 40\) differ"):
        block_similarity(first, BlockFeatures({"end": b}, labels.flip(0)))
    diverged = BlockFeatures({"end": b, "more": c / 0}, labels)
    with pytest.raises(LocalgradError, match="infinite ones from block 'more' of the second network on: has it diverg"):
        block_similarity(first, diverged, minibatch=10)
    with pytest.raises(LocalgradError, match="a mini-batch of 41 is more than the 40 images"):
        block_similarity(first, second, minibatch=41)


@pytest.mark.parametrize(
    ("shapes", "unbiased", "told"),
    [
        (((5, 3), (6, 3)), False, r"the same N rows, got \[\(5, 3\), \(6, 3\)\]"),
        (((5, 3, 2), (5, 3)), False, "Flatten or pool maps"),
        (((1, 3), (1, 3)), False, "at least 2 samples, got 1"),
        (((3, 3), (3, 3)), True, "at least 4 samples, got 3"),
    ],
)
def test_what_is_refused(shapes: tuple[tuple[int, ...], ...], unbiased: bool, told: str) -> None:
    with pytest.raises(LocalgradError, match=told):
        linear_cka(torch.ones(shapes[0]), torch.ones(shapes[1]), unbiased=unbiased)


def test_what_else_is_refused() -> None:
    with pytest.raises(LocalgradError, match="got NaN or infinite ones: has the network diverged"):
        linear_cka(torch.full((5, 2), float("nan")), torch.ones(5, 2))
    with pytest.raises(LocalgradError, match="at least one mini-batch"):
        minibatch_cka([])
    with pytest.raises(LocalgradError, match="at least 4 samples in a mini-batch, got 3"):
        list(minibatches(drawn(9, 2), drawn(9, 2), size=3))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CKA on a GPU needs one, and there is none here")
def test_on_a_gpu() -> None:
    labels = torch.arange(40) % 4
    split = [BlockFeatures({"a": x, "wide": y}, labels) for x, y in (drawn(40, 6, 90), drawn(40, 5, 80, seed=1))]
    moved = [BlockFeatures({name: x.cuda() for name, x in one.blocks.items()}, labels.cuda()) for one in split]
    here, there = block_similarity(*split, minibatch=10), block_similarity(*moved, minibatch=10)
    torch.testing.assert_close(there.exact_PQ, here.exact_PQ, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(there.minibatch_PQ, here.minibatch_PQ, rtol=1e-9, atol=1e-12)
