"""NT-Xent and pair selection against golden/ntxent.json: lightly 1.6.0's NTXentLoss, and float64 references."""

import numpy as np
import pytest
import torch
from torch import Tensor

from localgrad import Batch
from localgrad.losses import NTXent, SelectiveNTXent, nt_xent_loss, selective_nt_xent
from localgrad.methods.dgssl_selection import sample_ratio

from .recipe import golden

GOLDEN = golden("ntxent")
WIDTH = {4: 6, 8: 16}
NAMES = [f"N{case['N']}-T{case['temperature']}-{case['alpha']}-{case['beta']}" for case in GOLDEN["selection"]]
SELECTED = pytest.mark.parametrize("case", GOLDEN["selection"], ids=NAMES)


def views(count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Both views of ``count`` samples, by the recipe of the file."""
    width = WIDTH[count]
    steps = np.arange(count * width)
    z0 = np.sin(0.9 * steps + 0.2).reshape(count, width)
    z1 = 0.7 * z0 + 0.5 * np.sin(1.7 * steps + 0.9).reshape(count, width)
    return tuple(torch.from_numpy(z).to(dtype).requires_grad_() for z in (z0, z1))  # type: ignore[return-value]


def adjacent(z0: Tensor, z1: Tensor) -> Tensor:
    return torch.stack((z0, z1), 1).flatten(0, 1)


@pytest.mark.parametrize("case", GOLDEN["ntxent"], ids=lambda case: f"N{case['N']}")
def test_nt_xent(case) -> None:
    z0, z1 = views(case["N"])
    loss = nt_xent_loss(adjacent(z0, z1), case["temperature"])
    assert loss.item() == pytest.approx(case["loss_reference_float64"], rel=0, abs=1e-12)
    assert loss.item() == pytest.approx(case["loss_lightly_float64"], rel=0, abs=1e-12)
    for gradient, expected in zip(torch.autograd.grad(loss, (z0, z1)), (case["grad_z0"], case["grad_z1"]), strict=True):
        np.testing.assert_allclose(gradient.numpy(), expected, rtol=0, atol=1e-12)
    single = adjacent(*views(case["N"], torch.float32))
    terms = NTXent(case["temperature"])({"features": single}, Batch(single))
    assert terms["nt_xent"].item() == pytest.approx(case["loss_lightly_float32"], abs=1e-5)


@SELECTED
@pytest.mark.parametrize("convention", ["keep_positive", "literal"])
def test_selection(case, convention: str) -> None:
    z0, z1 = views(case["N"])
    expected = case[convention]
    kept = selective_nt_xent(
        adjacent(z0, z1),
        case["alpha"],
        case["beta"],
        case["temperature"],
        keep_positive=convention == "keep_positive",
    )
    assert kept.loss.item() == pytest.approx(expected["loss"], rel=1e-12, abs=1e-12)
    assert kept.positives.item() == pytest.approx(len(expected["mu"]) / case["N"])
    assert kept.empty.item() == 0
    if convention == "keep_positive":
        gradients = torch.autograd.grad(kept.loss, (z0, z1))
        norms = [gradient.norm().item() for gradient in gradients]
        assert norms == pytest.approx([expected["grad_z0_norm"], expected["grad_z1_norm"]], rel=1e-9, abs=1e-12)


@SELECTED
def test_the_loss_of_a_unit_is_the_same(case) -> None:
    features = adjacent(*views(case["N"], torch.float32))
    loss = SelectiveNTXent(case["alpha"], case["beta"], temperature=case["temperature"])
    terms = loss({"features": features}, Batch(features))
    assert terms["nt_xent"].item() == pytest.approx(case["keep_positive"]["loss"], abs=1e-5)


@pytest.mark.parametrize("case", GOLDEN["sample_ratio"], ids=lambda case: f"K{case['K']}-{case['base']}")
def test_sample_ratios(case) -> None:
    found = [sample_ratio(case["base"], unit, case["K"], "increasing") for unit in range(case["K"])]
    assert found == pytest.approx(case["ratios"], rel=1e-12)
    assert [sample_ratio(case["base"], unit, case["K"], "decreasing") for unit in range(case["K"])] == found[::-1]
