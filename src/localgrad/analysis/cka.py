"""Linear CKA: how alike what two networks make of the same images is, whatever the rotation and the scale.

CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y)), with kernels X X' and Y Y' (Kornblith et al. 2019). The exact
value on N images takes the HSIC that is biased by N; Nguyen, Raghu and Kornblith (2021) average HSIC_1, which is not,
over mini-batches. All sums are float64.

Legend: N samples, D features, P and Q numbers of blocks of two networks.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from localgrad.analysis.features import BlockFeatures
from localgrad.errors import LocalgradError

LEAST = 2
"""Samples that any covariance needs."""
LEAST_UNBIASED = 4
"""Samples that HSIC_1 needs: it divides by N - 3."""
_ROUNDING = 1e-12
"""Share of a HSIC's terms below which their sum is rounding."""

Rows = Sequence[Tensor]
"""Features of several blocks for the same samples: x_ND each, D as it comes."""


@final
@dataclass(frozen=True)
class BlockSimilarity:
    """CKA of every block of one network (P rows) with every block of another (Q columns).

    ``exact_PQ`` is Kornblith's on all samples, ``minibatch_PQ`` the unbiased one of Nguyen et al. over mini-batches of
    at least ``minibatch`` samples. Both are float64 on the CPU, and 0 where the features of a block are constant: the
    names of such blocks, the same for all samples, are in ``constant``, those of the first network and of the second.
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    exact_PQ: Tensor
    minibatch_PQ: Tensor
    minibatch: int
    samples: int
    constant: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def shared(self) -> tuple[str, ...]:
        """Names of the blocks that both networks have, in the order of the first."""
        return tuple(name for name in self.first if name in self.second)

    @property
    def comparable(self) -> tuple[str, ...]:
        """Those of ``shared`` that are constant in neither network: of the others CKA says nothing."""
        return tuple(name for name in self.shared if not any(name in names for names in self.constant))

    def of(self, name: str) -> tuple[float, float]:
        """Exact and mini-batch CKA of the two blocks of one name."""
        place = self.first.index(name), self.second.index(name)
        return float(self.exact_PQ[place]), float(self.minibatch_PQ[place])


def linear_cka(x_ND: Tensor, y_ND: Tensor, *, unbiased: bool = False) -> float:
    """Linear CKA of two sets of features of the same N samples, of any widths; in [0, 1], or with ``unbiased`` [-1, 1].

    ``unbiased`` takes HSIC_1: with few samples and wide features the biased value is near 1 whatever the features.
    Constant features have no similarity to anything, not even to themselves: 0, where the formula is 0 / 0.
    Raises LocalgradError for anything but two matrices of N finite rows, N at least 2 (``unbiased``: 4).
    """
    return float(cka_matrix([x_ND], [y_ND], unbiased=unbiased))


def cka_matrix(first: Rows, second: Rows, *, unbiased: bool = False) -> Tensor:
    """cka_PQ of all blocks of one network with all of another, on all samples at once; see ``linear_cka``."""
    return _ratio(*_hsic(first, second, unbiased=unbiased))


def minibatch_cka(batches: Iterable[tuple[Rows, Rows]]) -> Tensor:
    """cka_PQ from the mean over mini-batches of HSIC_1, each of at least 4 samples, in random order.

    One batch of all samples gives ``cka_matrix(unbiased=True)``. Batches in the order of classes would give another
    quantity. Raises LocalgradError as ``linear_cka`` does, and when there is no batch.
    """
    sums: tuple[Tensor, Tensor, Tensor] | None = None
    for first, second in batches:
        found = _hsic(first, second, unbiased=True)
        sums = found if sums is None else (sums[0] + found[0], sums[1] + found[1], sums[2] + found[2])
    if sums is None:
        raise LocalgradError("minibatch_cka: expected at least one mini-batch, got none.")
    return _ratio(*sums)


def minibatches(first: Rows, second: Rows, *, size: int, seed: int = 0) -> Iterator[tuple[Rows, Rows]]:
    """The samples in a random order, in equal parts of ``size`` or a little more: no part is left out for being short.

    Raises LocalgradError for a size below 4.
    """
    if size < LEAST_UNBIASED:
        raise LocalgradError(f"minibatch_cka: the unbiased HSIC needs at least 4 samples in a mini-batch, got {size}.")
    rows = len(first[0])
    order_N = torch.randperm(rows, generator=torch.Generator().manual_seed(seed)).to(first[0].device)
    for chosen in order_N.tensor_split(max(1, rows // size)):
        yield [x_ND[chosen] for x_ND in first], [y_ND[chosen] for y_ND in second]


def block_similarity(
    first: BlockFeatures, second: BlockFeatures, *, minibatch: int = 256, seed: int = 0
) -> BlockSimilarity:
    """Both CKAs of all blocks of two networks on the same images; ``minibatch`` is at most their number.

    Raises LocalgradError when the features are of different images, as their labels show, and as ``linear_cka``.
    """
    samples = len(first.labels_N)
    if not torch.equal(first.labels_N, second.labels_N.to(first.labels_N.device)):
        raise LocalgradError(
            f"CKA compares features of the same images: the labels of the two sets ({samples} and "
            f"{len(second.labels_N)}) differ."
        )
    if samples < minibatch:
        raise LocalgradError(f"CKA: a mini-batch of {minibatch} is more than the {samples} images that there are.")
    for which, one in (("first", first), ("second", second)):
        wrong = [name for name, x_ND in one.blocks.items() if not x_ND.isfinite().all()]
        if wrong:
            raise LocalgradError(
                f"CKA: features must be finite, got NaN or infinite ones from block {wrong[0]!r} of the {which} "
                "network on: has it diverged?"
            )
    rows = [list(one.blocks.values()) for one in (first, second)]
    still = [tuple(name for name, x_ND in one.blocks.items() if not _centred(x_ND).any()) for one in (first, second)]
    return BlockSimilarity(
        first=tuple(first.blocks),
        second=tuple(second.blocks),
        exact_PQ=cka_matrix(rows[0], rows[1]),
        minibatch_PQ=minibatch_cka(minibatches(rows[0], rows[1], size=minibatch, seed=seed)),
        minibatch=minibatch,
        samples=samples,
        constant=(still[0], still[1]),
    )


def _hsic(first: Rows, second: Rows, *, unbiased: bool) -> tuple[Tensor, Tensor, Tensor]:
    """hsic_PQ of all pairs, hsic_P and hsic_Q of each block with itself, on the CPU."""
    _check([*first, *second], LEAST_UNBIASED if unbiased else LEAST)
    narrow = [[narrowed(_centred(x_ND)) for x_ND in side] for side in (first, second)]
    own = [torch.stack([_own(x_ND, unbiased) for x_ND in side]) for side in narrow]
    pairs = [torch.stack([_pair(x_ND, y_ND, unbiased) for y_ND in narrow[1]]) for x_ND in narrow[0]]
    return torch.stack(pairs).cpu(), own[0].cpu(), own[1].cpu()


def _centred(x_ND: Tensor) -> Tensor:
    """Columns around 0 in float64. What varies within the rounding of the numbers given is constant: exactly 0 then."""
    eps = torch.finfo(x_ND.dtype).eps if x_ND.is_floating_point() else 0.0
    wide_ND = x_ND.double()
    centred_ND = wide_ND - wide_ND.mean(0)
    constant_D = centred_ND.abs().amax(0) <= 8 * eps * wide_ND.abs().amax(0)
    return centred_ND.masked_fill(constant_D, 0.0)


def narrowed(x_ND: Tensor) -> Tensor:
    """Features of at most N columns with the same inner products, which are all that CKA reads."""
    rows, width = x_ND.shape
    if width <= rows:
        return x_ND
    narrow_NN: Tensor = torch.linalg.qr(x_ND.T, mode="r").R.T
    return narrow_NN


def _pair(x_ND: Tensor, y_ND: Tensor, unbiased: bool) -> Tensor:
    """HSIC of centred features, from their covariance instead of N x N kernels.

    The rows of the kernel X X' sum to 0. So with the diagonal removed, as HSIC_1 wants it, they sum to minus the
    diagonal, and all terms of HSIC_1 are sums over the two diagonals.
    """
    rows = len(x_ND)
    square = (x_ND.T @ y_ND).square().sum()
    if not unbiased:
        return square / (rows - 1) ** 2
    diagonal_x, diagonal_y = x_ND.square().sum(1), y_ND.square().sum(1)
    shared = (diagonal_x * diagonal_y).sum() * rows / (rows - 2)
    apart = diagonal_x.sum() * diagonal_y.sum() / ((rows - 1) * (rows - 2))
    return (square - shared + apart) / (rows * (rows - 3))


def _own(x_ND: Tensor, unbiased: bool) -> Tensor:
    """HSIC of features with themselves; it is never negative, but rounding may make it so."""
    hsic = _pair(x_ND, x_ND, unbiased)
    rows = len(x_ND)
    terms = (x_ND.T @ x_ND).square().sum() / (rows * (rows - 3) if unbiased else (rows - 1) ** 2)
    return torch.where(hsic > _ROUNDING * terms, hsic, 0.0)


def _ratio(hsic_PQ: Tensor, own_P: Tensor, own_Q: Tensor) -> Tensor:
    """CKA; 0 where one of the two has no HSIC with itself."""
    scale_PQ = own_P.sqrt()[:, None] * own_Q.sqrt()
    return torch.where(scale_PQ > 0, hsic_PQ / scale_PQ.clamp(min=torch.finfo(torch.float64).tiny), 0.0)


def _check(rows: Rows, least: int) -> None:
    shapes = list(dict.fromkeys(tuple(x.shape) for x in rows))
    if any(len(shape) != 2 or shape[1] == 0 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise LocalgradError(f"CKA: expected matrices (N, D) with the same N rows, got {shapes}. Flatten or pool maps.")
    if shapes[0][0] < least:
        raise LocalgradError(f"CKA: needs features of at least {least} samples, got {shapes[0][0]}.")
    if not all(bool(x.isfinite().all()) for x in rows):
        raise LocalgradError("CKA: features must be finite, got NaN or infinite ones: has the network diverged?")
