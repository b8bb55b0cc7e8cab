"""Quantiles of similarities over a data set, against all of them sorted."""

from dataclasses import replace

import pytest
import torch

from localgrad.analysis.pair_quantiles import BINS, histogram, pair_quantiles, quantiles_of, view_features
from localgrad.losses import cosines
from localgrad.methods import DGSSL
from localgrad.recipes import digits
from localgrad.train.setup import load_images, make_loaders


def test_quantiles_of_a_histogram() -> None:
    values = torch.randn(20_000).mul(0.3).clamp(-1, 1)
    found = torch.tensor(quantiles_of(histogram(values), 101))
    expected = values.quantile(torch.linspace(0, 1, 101))
    torch.testing.assert_close(found.float(), expected, rtol=0, atol=3 / BINS + 2e-3)
    assert found.diff().min() >= 0
    alike = quantiles_of(histogram(torch.full((5,), 0.25)), 11)
    assert alike == tuple(sorted(alike)) and max(abs(value - 0.25) for value in alike) <= 2 / BINS
    assert histogram(torch.tensor([-1.0, 1.0, 1.0000001])).nonzero().flatten().tolist() == [0, BINS - 1]
    assert quantiles_of(torch.zeros(BINS, dtype=torch.float64), 3) == (-1, 0, 1)


def test_every_pair_of_a_batch_is_counted_once() -> None:
    run = replace(digits.simclr(layers=8), method=DGSSL(hidden=16, out=8), batch_size=32)
    train = make_loaders(run, load_images(run), torch.device("cpu")).train
    net = run.network().train()
    found = pair_quantiles(net, train, epochs=1, points=5)
    assert net.training
    net.eval()
    positives, negatives = [], []
    for batch in train.epoch(0):
        assert batch.views is not None
        S = cosines(view_features(net, batch.views))
        for a in range(64):
            for b in range(a + 1, 64):
                (positives if b == a ^ 1 else negatives).append(float(S[a, b]))
    assert found.pairs == (len(positives), len(negatives)) == (44 * 32, 44 * 31 * 64)
    for own, values in ((found.positives, positives), (found.negatives, negatives)):
        expected = torch.tensor(values).quantile(torch.linspace(0, 1, 5))
        assert own == pytest.approx(expected.tolist(), abs=2e-3)
