"""GN-DGL against its released code: diversity, ensembles, one training step, and every cell of the speed-up tables."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from localgrad import Batch, LocalNetwork, Sequential, cost, localize
from localgrad.backbones import resnet32
from localgrad.ensemble import layer_weights, layerwise_ensemble
from localgrad.grouping import SideBySide
from localgrad.losses import Diversity, diversity
from localgrad.methods import GNDGL

from .recipe import fill, golden, images, own_tensors, tensor_value

GOLDEN = golden("gndgl")
BY_GROUPS = pytest.mark.parametrize("case", GOLDEN["diversity_loss"]["cases"], ids=lambda case: f"G{case['n_groups']}")


def group_logits(groups: int) -> Tensor:
    return torch.from_numpy(2 * np.sin(1.7 * np.arange(groups * 5 * 6) + 0.3).reshape(groups, 5, 6))


@BY_GROUPS
def test_diversity(case) -> None:
    logits = group_logits(case["n_groups"]).requires_grad_()
    loss = diversity(logits, torch.tensor(case["labels"]), case["temp"])
    assert loss.item() == pytest.approx(case["loss"], rel=0, abs=1e-12)
    (gradient,) = torch.autograd.grad(loss, logits)
    np.testing.assert_allclose(gradient.numpy(), case["grad_joint_official"], rtol=0, atol=1e-12)


@BY_GROUPS
def test_parts_of_the_groups_give_half_of_the_joint_gradient(case) -> None:
    groups, logits = case["n_groups"], group_logits(case["n_groups"])
    batch, parts = Batch(torch.zeros(5, 1), torch.tensor(case["labels"])), []
    for group in range(groups):
        own = logits[group].clone().requires_grad_()
        others = torch.cat([logits[:group], logits[group + 1 :]])
        part = Diversity(case["temp"])({"logits": own, "others": others}, batch)["diversity"]
        parts.append(part.item())
        (gradient,) = torch.autograd.grad(part, own)
        np.testing.assert_allclose(2 * gradient.numpy(), case["grad_joint_official"][group], rtol=0, atol=1e-12)
    assert [groups * part for part in parts] == pytest.approx(case["phi_per_group"], rel=0, abs=1e-12)
    assert sum(parts) == pytest.approx(case["loss"], rel=0, abs=1e-12)


@pytest.mark.parametrize("case", GOLDEN["ensemble"]["cases"], ids=lambda case: str(len(case["groups"])))
def test_layerwise_ensemble(case) -> None:
    modules = len(case["groups"])
    logits = [
        list(torch.from_numpy(1.5 * np.sin(0.9 * np.arange(groups * 20) + k).reshape(groups, 4, 5)))
        for k, groups in enumerate(case["groups"])
    ]
    assert layer_weights(modules) == pytest.approx(case["weights"], rel=1e-7)
    ours = layerwise_ensemble(logits)
    assert ours.sum(1).tolist() == pytest.approx([1.0] * 4)
    np.testing.assert_allclose(ours.numpy() / modules, case["output_exact_float64"], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "case",
    [case for case in GOLDEN["macs"] if case["method"] != "infopro"],
    ids=lambda case: f"K{case['K']}G{case['G']}",
)
def test_speedup_tables(case) -> None:
    """Thesis, tables 3.4 and 3.5; the column of InfoPro is in tests/paper_tables/test_gndgl_speedups.py."""
    with torch.device("meta"):
        net = localize(resnet32(), GNDGL(), case["K"], groups=case["G"])
    macs = cost.macs(net, (3, 32, 32))
    assert macs.nodes == {
        (k, g): nodes for k, nodes in enumerate(case["node_macs_per_module"]) for g in range(case["G"])
    }
    assert (macs.max_node, macs.total, macs.inference) == (case["max_node"], case["total"], case["inference"])
    if "thesis_train" in case:
        assert round(macs.speedup, 3) == case["thesis_train"]
        assert round(macs.inference_speedup, 3) == case["thesis_inference"]


class Squares(torch.optim.SGD):
    """SGD that stands still and notes the squares of the gradients."""

    def __init__(self, parameters: Iterable[nn.Parameter], found: dict[nn.Parameter, float]) -> None:
        super().__init__(parameters, lr=0.0)
        self.found = found

    def step(self, closure=None):
        for parameter in self.param_groups[0]["params"]:
            self.found[parameter] = float(parameter.grad.square().sum())


@torch.no_grad()
def fill_block(block: nn.Module, key: int) -> None:
    """Values of the traces: those of the grouped convolution of all groups, each group its share of the rows."""
    if not isinstance(block, SideBySide):
        fill(block, key)
        return
    for place, own in enumerate(zip(*map(own_tensors, block.children()), strict=True)):
        rows = sum(len(parameter) for parameter, _ in own)
        value = tensor_value((rows, *own[0][0].shape[1:]), key + place, own[0][1])
        for (parameter, _), share in zip(own, value.chunk(len(own)), strict=True):
            parameter.copy_(share)


def started(case, **options) -> LocalNetwork:
    method = GNDGL(final_head="1c2f", extra_head=True, **options)
    net = localize(resnet32(), method, case["K"], groups=case["G"])
    for index, name in enumerate(net.backbone.block_names):
        fill_block(net.model.get_submodule(name), 1000 * index)
    fill(net.model.get_submodule("head"), 16100)
    for unit in net.unit_list()[:-1]:
        fill(unit.aux, 1000 * (unit.span.stop - 1) + 100 + 100000 * unit.spec.group)
    return net.double()


@pytest.mark.parametrize("options", [{}, {"stop_grad": False}, {"fuse_groups": True}], ids=str)
@pytest.mark.parametrize("case", GOLDEN["one_step_trace"]["cases"], ids=lambda case: f"K{case['K']}G{case['G']}")
def test_one_step(case, options) -> None:
    groups, found = case["G"], dict[nn.Parameter, float]()
    net = started(case, **options)
    x, y = images(8).double(), torch.tensor(GOLDEN["one_step_trace"]["labels"])
    net.train()
    with torch.no_grad():
        logits = net(x)[0].tolist()
    net = started(case, **options)
    losses = list(Sequential(net, lambda p: Squares(p, found)).step(Batch(x, y)).losses.values())

    def close(ours, theirs) -> None:
        assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-9)

    close(logits, case["final_logits_row0"])
    close(losses[-1]["ce"], case["final_head_loss"])
    for module, theirs in enumerate(case["modules"]):
        own = losses[groups * module : groups * (module + 1)]
        ce = [terms["task.ce"] if groups > 1 else terms["ce"] for terms in own]
        penalty = sum(terms["diversity.diversity"] for terms in own) if groups > 1 else 0.0
        close(ce, theirs["ce"])
        close(penalty, theirs["div"])
        close(sum(ce) + 0.5 * penalty, theirs["total"])

    def norm(module: nn.Module) -> float:
        return sum(found[parameter] for parameter in module.parameters()) ** 0.5

    for name, value in case["grad_norm_per_layer"].items():
        close(norm(net.model.get_submodule(name)), value)
    for name, values in case["grad_norm_per_layer_per_group_conv2"].items():
        block = net.model.get_submodule(name)
        parts = list(block.children()) if groups > 1 else [block]
        close([norm(part.conv2) for part in parts], values)
    auxnets = [norm(unit.aux) for unit in net.unit_list()[:-1]]
    close(auxnets, list(case["grad_norm_aux"].values()))
    close(norm(net.model.get_submodule("head")), case["grad_norm_head"])
