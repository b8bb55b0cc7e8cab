"""Predicted live memory beside what a real step on real tensors holds, for every method."""

from dataclasses import replace

import pytest

from localgrad import Sequential, cost, methods

from ..conftest import random_batch, sgd, tiny_resnet
from .cases import CHOICES, short

ROWS = 8


@pytest.mark.parametrize("name", sorted(methods.__all__))
def test_prediction_within_a_tenth_of_measured(name: str) -> None:
    """Measured: live bytes of a real step, counted on the tensors that it makes. Temporaries inside kernels are not."""
    method = getattr(methods, name)(**CHOICES.get(name, [{}])[0])
    net = short(method, recompute=name in ("AugLocal", "MLAAN"))
    batch = random_batch(tiny_resnet(), ROWS)
    batch = replace(batch, **{name: None for name in ("image", "views") if name not in net.needs})
    predicted = cost.memory(net, ROWS, optimizer=sgd)
    measured = cost.live(Sequential(net, sgd), batch)
    assert predicted.peak == pytest.approx(measured.peak, rel=0.1)
    assert predicted.peak_unit == measured.peak_unit
