"""Linear probes: how well a linear classifier tells classes apart on the frozen features of every block.

Legend: N samples, D features, K classes.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from localgrad.analysis.features import BlockFeatures
from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork

TOLERANCE = 1e-4
"""Largest entry of the gradient at which a probe has converged; scikit-learn's default."""
ITERATIONS = 1000


@final
@dataclass(frozen=True)
class BlockPlace:
    """Where a block stands: the units that hold it, and whether they end with it, so that a border is behind it.

    ``units`` are several where neuron groups make the block. Across a border no gradient goes but those of cascades.
    """

    block: str
    units: tuple[str, ...]
    border: bool


@final
@dataclass(frozen=True)
class Probe:
    """A linear classifier on one block's features: logits_NK = (x_ND - mean_D) * scale_D @ weight_KD.T + bias_K."""

    weight_KD: Tensor
    bias_K: Tensor
    mean_D: Tensor
    scale_D: Tensor

    def logits(self, x_ND: Tensor) -> Tensor:
        """logits_NK of features."""
        return F.linear((x_ND - self.mean_D) * self.scale_D, self.weight_KD, self.bias_K)


@final
@dataclass(frozen=True)
class Probes:
    """Probes of all blocks by name. ``gradient`` is the largest entry of the gradient where the fit ended."""

    blocks: Mapping[str, Probe]
    gradient: float

    @property
    def converged(self) -> bool:
        """Whether more iterations would change next to nothing."""
        return self.gradient <= TOLERANCE

    @torch.no_grad()
    def top1(self, features: BlockFeatures) -> dict[str, float]:
        """Accuracy in percent on features of every block."""
        right = {
            name: (probe.logits(features.blocks[name]).argmax(1) == features.labels_N).double().mean()
            for name, probe in self.blocks.items()
        }
        return {name: 100.0 * float(share) for name, share in right.items()}


def block_places(net: LocalNetwork) -> list[BlockPlace]:
    """All blocks in order, with the units that hold them.

    Behind the last block is the head, and a border only where a unit of its own is the head (GN-DGL's classifier).
    """
    units = net.unit_list()
    last = len(net.backbone.blocks)
    found = []
    for index, name in enumerate(net.backbone.block_names):
        own = [unit for unit in units if unit.span.start <= index < unit.span.stop]
        ends = any(unit.span.stop == index + 1 for unit in own)
        border = ends and (index + 1 < last or any(unit.span.start == last for unit in units))
        found.append(BlockPlace(name, tuple(unit.name for unit in own), border))
    return found


def fit_probes(
    train: BlockFeatures,
    *,
    classes: int,
    c: float = 1.0,
    iterations: int = ITERATIONS,
    before_pass: Callable[[], None] = lambda: None,
) -> Probes:
    """Multinomial logistic regressions on the features of all blocks, fitted together with L-BFGS on all samples.

    Features are standardised per channel first (a channel without variance becomes 0). Each regression minimises mean
    cross-entropy + |weights|^2 / (2 c N), the biases free: scikit-learn's ``LogisticRegression(C=c)``. The sum over
    blocks is convex and its terms share nothing, so at its minimum every probe is what it would be alone.
    ``before_pass`` is called before every pass over the samples; what it raises ends the fit.

    Raises LocalgradError for fewer than 2 samples or classes among them, numbers out of range and features that are
    not finite.
    """
    _check(train, classes, c, iterations)
    rows = len(train.labels_N)
    inputs, shifts = {}, {}
    for name, x_ND in train.blocks.items():
        deviation_D, mean_D = torch.std_mean(x_ND, dim=0, correction=0)
        still_D = deviation_D <= 8 * torch.finfo(x_ND.dtype).eps * x_ND.abs().amax(0)
        scale_D = (1 / deviation_D).masked_fill(still_D, 0.0)
        inputs[name], shifts[name] = (x_ND - mean_D) * scale_D, (mean_D, scale_D)
    weights = {name: nn.Parameter(x_ND.new_zeros(classes, x_ND.shape[1])) for name, x_ND in inputs.items()}
    biases = {name: nn.Parameter(x_ND.new_zeros(classes)) for name, x_ND in inputs.items()}
    parameters = [*weights.values(), *biases.values()]
    optimizer = torch.optim.LBFGS(
        parameters,
        max_iter=iterations,
        tolerance_grad=TOLERANCE,
        tolerance_change=1e-9,
        history_size=20,
        line_search_fn="strong_wolfe",
    )

    def loss() -> Tensor:
        before_pass()
        optimizer.zero_grad()
        total = torch.zeros((), device=train.labels_N.device)
        for name, x_ND in inputs.items():
            entropy = F.cross_entropy(F.linear(x_ND, weights[name], biases[name]), train.labels_N)
            total = total + entropy + weights[name].square().sum() / (2 * c * rows)
        torch.autograd.backward(total)
        return total

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
        loss()
    gradient = max(float(parameter.grad.abs().max()) for parameter in parameters if parameter.grad is not None)
    probes = {name: Probe(weights[name].detach(), biases[name].detach(), *shifts[name]) for name in inputs}
    return Probes(probes, gradient)


def _check(train: BlockFeatures, classes: int, c: float, iterations: int) -> None:
    seen = len(torch.unique(train.labels_N))
    if seen < 2:
        raise LocalgradError(
            f"probe: needs training samples of at least 2 classes, got {len(train.labels_N)} samples of {seen}."
        )
    if int(train.labels_N.max()) >= classes or int(train.labels_N.min()) < 0:
        raise LocalgradError(
            f"probe: expected labels from 0 to {classes - 1}, got {int(train.labels_N.min())} to "
            f"{int(train.labels_N.max())}."
        )
    if not 0 < c < math.inf or iterations < 1:
        raise LocalgradError(
            f"probe: c must be above 0 (and finite) and iterations at least 1, got {c} and {iterations}."
        )
    for name, x_ND in train.blocks.items():
        if x_ND.ndim != 2:
            raise LocalgradError(f"probe: expected features (N, D) of block {name}, got {tuple(x_ND.shape)}.")
        if not x_ND.isfinite().all():
            raise LocalgradError(
                f"probe: features of block {name} must be finite, got NaN or infinite ones: has the network diverged?"
            )
