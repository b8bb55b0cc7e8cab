"""From a loss to new weights."""

import pytest
import torch
from torch import nn

from localgrad import Precision
from localgrad.update import WHOLE, OptimizerUpdate

CPU = torch.device("cpu")


def parameter_with_update(**keywords: object) -> tuple[nn.Parameter, OptimizerUpdate]:
    parameter = nn.Parameter(torch.tensor([3.0, 4.0]))
    return parameter, OptimizerUpdate(torch.optim.SGD([parameter], lr=1.0), **keywords)  # type: ignore[arg-type]


def test_apply_steps_and_frees() -> None:
    parameter, update = parameter_with_update()
    update.backward(parameter.sum())
    update.backward(parameter.sum())
    assert parameter.grad.tolist() == [2, 2]
    update.apply()
    assert parameter.tolist() == [1, 2]
    assert parameter.grad is None


def test_deferred_waits_for_finish() -> None:
    parameter, update = parameter_with_update(deferred=True)
    update.backward(parameter.sum())
    update.apply()
    assert parameter.tolist() == [3, 4]
    assert parameter.grad is not None
    update.finish()
    assert parameter.tolist() == [2, 3]
    assert parameter.grad is None


@pytest.mark.parametrize("precision", [Precision.FLOAT32, Precision.FLOAT16])
def test_clip_bounds_the_unscaled_norm(precision: Precision) -> None:
    parameter, update = parameter_with_update(clip=0.5, precision=precision, device=CPU)
    update.backward((parameter * torch.tensor([3.0, 4.0])).sum())
    update.apply()
    assert parameter.tolist() == pytest.approx([2.7, 3.6], rel=1e-5)


def test_float16_skips_a_step_that_overflowed() -> None:
    parameter, update = parameter_with_update(precision=Precision.FLOAT16, device=CPU)
    scale = update.scaler_state()["scale"]
    update.backward((parameter * float("inf")).sum())
    update.apply()
    assert parameter.tolist() == [3, 4]
    assert update.scaler_state()["scale"] == scale / 2
    assert parameter.grad is None


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)],
)
def test_autocast(precision: str, dtype: torch.dtype) -> None:
    _, update = parameter_with_update(precision=Precision(precision))
    with update.autocast(CPU):
        assert nn.Linear(2, 2)(torch.ones(1, 2)).dtype == dtype


def test_only_float16_has_a_scaler() -> None:
    assert parameter_with_update()[1].scaler_state() == {}
    assert parameter_with_update(precision=Precision.BFLOAT16)[1].scaler is None
    assert (WHOLE.index, WHOLE.weight, WHOLE.last) == (0, 1.0, True)
