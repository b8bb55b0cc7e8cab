"""Three SGD steps of the papers' own code on ResNet-32, through the real runtime.

Losses and norms of every step agree with what AugLocal's released code computes: to 1e-7 and 1e-8 in float64 (the first
step to 1e-10), to the noise of float32 in the first float32 step.
"""

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from localgrad import Batch, LocalNetwork, Sequential, localize
from localgrad.backbones import resnet32
from localgrad.method import Method
from localgrad.methods import DGL, AugLocal, Backprop, PredSim

from .recipe import fill, fill_network, golden, images

TRACES = golden("train_traces")
METHODS: dict[str, tuple[Method, int]] = {
    "BP": (Backprop(), 1),
    "DGL": (DGL(head="auglocal"), 16),
    "AugLocal_d1_pyramid0.5": (AugLocal(depth=2, tau=0.5), 16),
    "PredSim": (PredSim(framework="blockwise"), 16),
}


class RecordingSGD(torch.optim.SGD):
    """SGD as in the traces that notes the gradient norms it steps with."""

    def __init__(self, parameters: Iterable[nn.Parameter], squares: dict[nn.Parameter, float]) -> None:
        super().__init__(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
        self.squares = squares

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            for parameter in group["params"]:
                self.squares[parameter] = float(parameter.grad.double().square().sum())
        return super().step(closure)


def norm(parameters: Iterable[Tensor]) -> float:
    """The L2 norm of all of them together."""
    return sum(float(parameter.detach().double().square().sum()) for parameter in parameters) ** 0.5


def started(case: str, dtype: torch.dtype) -> LocalNetwork:
    """The network of a case with the traces' weights."""
    method, modules = METHODS[case]
    net = localize(resnet32(), method, modules)
    fill_network(net)
    if case == "PredSim":
        for unit in net.unit_list()[:-1]:
            fill(unit.auxnets["pred"], 1000 * (unit.span.stop - 1) + 100)
            fill(unit.auxnets["sim"], 1000 * (unit.span.stop - 1) + 500)
    return net.to(dtype)


def measured_step(net: LocalNetwork, loop: Sequential, squares: dict[nn.Parameter, float]) -> dict[str, Any]:
    """One step on the traces' batch, in the words of the golden file."""
    x = images(8).to(next(net.parameters()).dtype)
    terms = loop.step(Batch(x=x, y=torch.tensor(TRACES["labels"]))).terms
    *local, final = terms.values()
    blocks = [net.model.get_submodule(name) for name in net.backbone.block_names]
    auxnets = [unit.auxnets for unit in net.unit_list()[:-1]]
    by_case: dict[str, Any]
    if local and "sim.similarity" in local[0]:
        ixx, ixy = ([float(term[name]) for term in local] for name in ("sim.similarity", "pred.ce"))
        by_case = {
            "loss_ixx": ixx,
            "loss_ixy": ixy,
            "local_loss": [0.99 * one + 0.01 * other for one, other in zip(ixx, ixy, strict=True)],
            "param_norm_aux": [norm(own["pred"].parameters()) for own in auxnets],
            "param_norm_decoder": [norm(own["sim"].parameters()) for own in auxnets],
        }
    else:
        by_case = {
            "local_loss": [float(term["ce"]) for term in local],
            "param_norm_aux": [norm(own.parameters()) for own in auxnets],
        }
    return {
        **by_case,
        "final_loss": float(final["ce"]),
        "grad_norm_main": [sum(squares[parameter] for parameter in block.parameters()) ** 0.5 for block in blocks],
        "param_norm_main": [norm(block.parameters()) for block in blocks],
        "param_norm_fc": norm(net.model.get_submodule("head").parameters()),
        "param_norm_last_module": norm(net.unit_list()[-1].parameters()),
        "param_norm_all": norm(net.parameters()),
    }


@pytest.mark.parametrize("update", ["unit", "fused"])
@pytest.mark.parametrize("case", METHODS)
def test_float64(case: str, update: Any) -> None:
    expected = TRACES["cases"][case]["float64"]
    net, squares = started(case, torch.float64), {}
    loop = Sequential(net, lambda parameters: RecordingSGD(parameters, squares), update=update)
    assert norm(net.parameters()) == pytest.approx(expected["initial_param_norm_all"], rel=1e-12)
    for index, step in enumerate(expected["steps"]):
        measured = measured_step(net, loop, squares)
        assert measured.keys() == step.keys()
        for name, value in step.items():
            tight = 1e-10 if index == 0 else 1e-8
            tolerance = {"abs": tight if index == 0 else 1e-7, "rel": 0} if "loss" in name else {"rel": tight}
            assert measured[name] == pytest.approx(value, **tolerance), f"step {index}: {name}"
    model = net.model
    for name, ours in {
        "fc_weight_row0_first4_after": model.head.fc.weight[0, :4],
        "stem_weight_first4_after": model.stem.conv.weight.flatten()[:4],
        "stem_bn_running_mean_after": model.stem.bn.running_mean,
    }.items():
        assert ours.tolist() == pytest.approx(expected[name], abs=1e-8), name


@pytest.mark.parametrize("case", METHODS)
def test_first_step_in_float32(case: str) -> None:
    numbers = TRACES["cases"][case]
    (expected,) = numbers["float32"]["steps"]
    net, squares = started(case, torch.float32), {}
    loop = Sequential(net, lambda parameters: RecordingSGD(parameters, squares))
    measured = measured_step(net, loop, squares)
    for name, value in expected.items():
        noise = numbers["float32_vs_float64_step0"].get(f"{name}_abs", 0.0)
        tolerance = {"abs": max(1e-5, 10 * noise), "rel": 0} if "loss" in name else {"rel": 1e-5}
        assert measured[name] == pytest.approx(value, **tolerance), name
