"""How similar a contrastive network finds views of one image, and views of two: quantiles over a whole data set.

Legend: V views of a batch, S cosines.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from localgrad.data import Batches
from localgrad.losses import cosines
from localgrad.network import LocalNetwork
from localgrad.unit import forward_units

BINS = 20_000
"""Bins of a histogram of cosines over [-1, 1]: what is read from it is exact to a ten-thousandth."""


@final
@dataclass(frozen=True)
class PairQuantiles:
    """Quantiles at equal shares from 0 to 1, rising; ``pairs`` are the numbers of positive and negative pairs."""

    positives: tuple[float, ...]
    negatives: tuple[float, ...]
    pairs: tuple[int, int]


@torch.no_grad()
def view_features(net: LocalNetwork, views_VCHW: Tensor) -> Tensor:
    """What the last unit's auxiliary network makes of views: features_VD. Set the network's mode before."""
    *_, (unit, h, seen) = forward_units(net.unit_list(), views_VCHW)
    features_VD: Tensor = next(iter(unit.outputs(h, seen).values()))["features"]
    return features_VD


@torch.no_grad()
def pair_quantiles(net: LocalNetwork, batches: Batches, *, epochs: int, points: int) -> PairQuantiles:
    """``points`` quantiles of the cosines of the last unit's features, over ``epochs`` passes in evaluation mode.

    A positive pair is counted once, a negative pair within a batch once too. The mode found is restored.
    """
    device = next(net.parameters()).device
    counts = torch.zeros(2, BINS, dtype=torch.float64, device=device)
    training = net.training
    net.eval()
    try:
        for epoch in range(epochs):
            for batch in batches.epoch(epoch):
                assert batch.views is not None  # the caller asked for a method that reads views
                S_VV = cosines(view_features(net, batch.views))
                rows_V = torch.arange(len(S_VV), device=device)
                positives = S_VV[rows_V[0::2], rows_V[1::2]].clone()
                S_VV[rows_V, rows_V ^ 1] = float("nan")
                negatives = S_VV[torch.triu(torch.ones_like(S_VV, dtype=torch.bool), 1)]
                counts[0] += histogram(positives)
                counts[1] += histogram(negatives[~negatives.isnan()])
    finally:
        net.train(training)
    positive, negative = counts.cpu()
    return PairQuantiles(
        quantiles_of(positive, points), quantiles_of(negative, points), (int(positive.sum()), int(negative.sum()))
    )


def histogram(cosine: Tensor) -> Tensor:
    """Counts of cosines in BINS bins over [-1, 1]."""
    places = ((cosine.double() + 1) * (BINS / 2)).long().clamp(0, BINS - 1)
    return torch.bincount(places, minlength=BINS).double()


def quantiles_of(counts: Tensor, points: int) -> tuple[float, ...]:
    """Quantiles at shares 0, 1/(points-1), ..., 1, linear inside a bin; evenly spread where there are no pairs."""
    total = counts.sum()
    shares = torch.linspace(0, 1, points, dtype=torch.float64)
    if total == 0:
        return tuple((2 * shares - 1).tolist())
    below = torch.cat((torch.zeros(1, dtype=torch.float64), counts.cumsum(0) / total))
    # The first bin whose end reaches the share; share 0 is the start of the first bin that holds anything.
    first = int(counts.nonzero()[0])
    place = torch.searchsorted(below, shares, side="left").clamp(min=first + 1, max=BINS)
    low, high = below[place - 1], below[place]
    inside = torch.where(high > low, (shares - low) / (high - low).clamp(min=1e-300), 0.0).clamp(0, 1)
    return tuple((2 * (place - 1 + inside) / BINS - 1).tolist())
