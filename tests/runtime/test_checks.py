"""What the border of a runtime refuses besides misfitting batches (those are in test_sequential.py)."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from localgrad import LocalgradError, Sequential, localize
from localgrad.methods import DGL

from ..conftest import random_batch, sgd, tiny_resnet


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_training_without_gradients(mode: type[torch.no_grad]) -> None:
    loop = Sequential(localize(tiny_resnet(), DGL()), sgd)
    before = [parameter.clone() for parameter in loop.net.parameters()]
    with mode(), pytest.raises(LocalgradError, match=r"Sequential\.step trains: call it outside of torch\.no_grad"):
        loop.step(random_batch(tiny_resnet()))
    assert all(torch.equal(a, b) for a, b in zip(before, loop.net.parameters(), strict=True))


def test_pairs_cannot_be_split() -> None:
    loop = Sequential(localize(tiny_resnet(), DGL()), sgd, accumulate=2)
    batch = replace(random_batch(tiny_resnet(), rows=8), pair_similarity=torch.eye(8))
    with pytest.raises(LocalgradError, match=r"pair_similarity holds all pairs of a batch: .* use accumulate=1"):
        loop.step(batch)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"net": torch.nn.Linear(2, 2)}, r"net must be what localize\(model, method\) returns, got Linear"),
        ({"optimizer": None}, r"optimizer must be a function of parameters, called once per unit, got NoneType"),
        ({"workers": "2"}, r"workers must be a whole number, got '2'"),
        ({"accumulate": 1.5}, r"accumulate must be a whole number, got 1\.5"),
    ],
)
def test_settings_of_another_kind(arguments: dict[str, Any], text: str) -> None:
    settings = {"net": localize(tiny_resnet(), DGL()), "optimizer": sgd, **arguments}
    with pytest.raises(LocalgradError, match=text):
        Sequential(**settings)


def test_a_batch_of_another_kind() -> None:
    batch = random_batch(tiny_resnet())
    with pytest.raises(LocalgradError, match=r"expected a localgrad\.Batch\(x=\.\.\., y=\.\.\.\), got tuple"):
        Sequential(localize(tiny_resnet(), DGL()), sgd).step((batch.x, batch.y))
