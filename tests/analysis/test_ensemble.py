"""DGL's ensemble of logits against a sum written out."""

import re

import pytest
import torch
from tests.conftest import random_batch, tiny_resnet
from torch import Tensor

from localgrad import LocalgradError, localize
from localgrad.analysis import logits_ensemble
from localgrad.methods import DGL


def test_weights_written_out() -> None:
    a, b, c = torch.randn(3, 5, 4, dtype=torch.float64)
    torch.testing.assert_close(logits_ensemble([a, b, c]), (a + 2 * b + 4 * c) / 7)
    torch.testing.assert_close(logits_ensemble([a]), a)


def test_it_is_not_the_one_over_probabilities() -> None:
    sure, later = torch.tensor([[9.0, 0.0]]), torch.tensor([[0.0, 3.0]])
    net = localize(tiny_resnet(classes=2), DGL(), 7)
    assert int(logits_ensemble([sure, later]).argmax()) == 0
    assert int(net.vote([sure, later, None, None, None, None, None], "layerwise").argmax()) == 1


def test_on_the_heads_of_a_network() -> None:
    net = localize(tiny_resnet(), DGL(), 7).eval()
    batch = random_batch(net.backbone)
    h, logits = batch.x, []
    with torch.no_grad():
        for unit in net.unit_list():
            h = unit(h)
            logits.append(unit.aux(h))
    scores_BK = logits_ensemble(logits)
    assert scores_BK.shape == (8, 4)
    expected = sum(2**i / 127 * one for i, one in enumerate(logits))
    assert isinstance(expected, Tensor)
    torch.testing.assert_close(scores_BK, expected)


@pytest.mark.parametrize(
    ("logits", "text"),
    [
        ([], "expected the logits of at least one unit, got none."),
        ([torch.zeros(2, 3), torch.zeros(2, 4)], "of one shape (B, K) for all units, got [(2, 3), (2, 4)]."),
        ([torch.zeros(3)], "expected logits of one shape (B, K) for all units, got [(3,)]."),
    ],
)
def test_what_cannot_be(logits: list[Tensor], text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        logits_ensemble(logits)
