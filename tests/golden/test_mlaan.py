"""MLAAN against the released code: its modules, its leap lists, and two SGD steps with its own semantics.

In float64 the first step agrees to 1e-9 and the second to 1e-8; in float32 to a few times the noise that the code
itself has there. BatchNorm's running means differ on purpose: the code runs every module up to three times per batch
and moves them as often, the engine once (design, rule 8); from the first step one follows from the other.
"""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from localgrad import Batch, LocalNetwork, Sequential, localize
from localgrad.backbones import resnet32
from localgrad.methods import MLAAN
from localgrad.methods.mlaan_leaps import published_leaps
from localgrad.objective import Follow, UnitSpec
from localgrad.unit import Unit

from .recipe import fill, golden, images
from .test_train_traces import RecordingSGD, norm

GOLDEN = golden("mlaan")


@pytest.mark.parametrize("modules", [8, 15])
def test_modules_and_leaps(modules: int) -> None:
    table, backbone = GOLDEN["tables"][str(modules)], resnet32()

    def name(place: list[int]) -> str:
        return f"layer{place[0]}.{place[1]}"

    partition = MLAAN().cut(backbone, modules)(backbone)
    ends = [backbone.block_names[span.stop - 1] for span in partition.spans]
    assert ends == [name(place) for place in table["cut_points_end_of_module"]]
    lists = published_leaps(backbone, partition)
    # The code's last list at K=8 stands behind the last module, which has no auxiliary network.
    expected = [[name(place) for place in leaps] for leaps in table["leap_layers_per_module"]][: modules - 1]
    assert [[backbone.block_names[leap] for leap in leaps] for leaps in lists] == expected


def test_the_papers_k_counts_the_stem() -> None:
    """16 in the paper is 15 in the code: the stem is no module of its own."""
    backbone = resnet32()
    assert MLAAN().cut(backbone, 16)(backbone).spans == MLAAN().cut(backbone, 15)(backbone).spans


def test_moving_average() -> None:
    example = {name: torch.tensor(value) for name, value in GOLDEN["ema_update"].items() if name != "momentum"}
    part, source = nn.Linear(3, 2, bias=False), nn.Linear(3, 2, bias=False)
    with torch.no_grad():
        part.weight.copy_(example["ema"])
        source.weight.copy_(example["main"])
    follow = Follow("task", "0", 0, GOLDEN["ema_update"]["momentum"])
    spec = UnitSpec(0, "unit", None, (), follows=(follow,))  # type: ignore[arg-type]
    Unit(spec, nn.Sequential(), {"task": nn.Sequential(part)}, (source,)).follow()
    torch.testing.assert_close(part.weight.detach(), example["result"], rtol=0, atol=1e-7)


def started(case: str, dtype: torch.dtype) -> LocalNetwork:
    """ResNet-32 as in the traces: copies equal to the network's blocks, or with weights of their own."""
    net = localize(resnet32(), MLAAN.released(), 15)
    for index, name in enumerate((*net.backbone.block_names, net.backbone.head_name)):
        fill(net.model.get_submodule(name), 1000 * index)
    for module, unit in enumerate(net.unit_list()[1:-1], start=1):
        end, aux = unit.span.stop - 1, unit.auxnets["cascade"]
        fill(unit.auxnets["own"], 1000 * end + 100)
        fill(aux.heads["logits"], 1000 * end + 200)
        for follow in unit.spec.follows:
            kind, place = follow.part.split(".")
            distinct = (2 if kind == "trained" else 3) * 1000000 + 10000 * module + 100 * int(place)
            fill(aux.get_submodule(follow.part), distinct if case == "distinct" else 1000 * follow.block)
    return net.to(dtype)


def measured_step(net: LocalNetwork, loop: Sequential, squares: dict[nn.Parameter, float]) -> dict[str, Any]:
    """One step on the traces' batch, in the words of the golden file."""
    units = net.unit_list()
    stem = net.model.get_submodule("stem")
    logits: list[Tensor] = []
    hook = net.model.head.register_forward_hook(lambda _, __, out: logits.append(out.detach()))
    batch = Batch(images(8)[:4].to(next(net.parameters()).dtype), torch.tensor(GOLDEN["labels"][:4]))
    losses = loop.step(batch).losses
    hook.remove()

    def gradient(*parts: nn.Module) -> float:
        return sum(squares.get(parameter, 0.0) for part in parts for parameter in part.parameters()) ** 0.5

    bodies = [[block for block in unit.body if block is not stem] for unit in units]
    trained = [unit.auxnets["cascade"].trained for unit in units[1:-1]]
    averaged = units[-2].auxnets["cascade"].averaged[0].conv1.weight.detach()
    return {
        "local": [[losses[unit]["own.ce"], losses[unit]["cascade.ce"]] for unit in range(1, 14)],
        "returned_loss": losses[14]["ce"],
        "final_loss_y": losses[14]["ce"],
        "logits_row0": logits[0][0].tolist(),
        "grad_norm_module": [gradient(*body) for body in bodies],
        "grad_norm_stem": gradient(stem),
        "grad_norm_fc64": gradient(net.model.head),
        "grad_norm_aug": [*map(gradient, trained)],
        "ema_after_norm": float(averaged.norm()),
        "ema_after_first6": averaged.flatten()[:6].tolist(),
        "main_first6": None,
        "param_norm_module_after_step": [norm(p for block in body for p in block.parameters()) for body in bodies],
        "param_norm_stem_after_step": norm(stem.parameters()),
        "param_norm_aug_after_step": [norm(part.parameters()) for part in trained],
        "param_norm_net_classifier": [norm(unit.auxnets["own"].parameters()) for unit in units[1:-1]],
        "param_norm_aux_classifier": [norm(unit.auxnets["cascade"].heads.parameters()) for unit in units[1:-1]],
        "bn1_running_mean_norm_module": [norm([body[0].bn1.running_mean]) for body in bodies],
        "bn_num_batches_tracked_per_module": [int(body[0].bn1.num_batches_tracked) for body in bodies],
    }


@pytest.mark.parametrize("update", ["unit", "fused"])
@pytest.mark.parametrize("case", ["copies", "distinct"])
def test_float64(case: str, update: Any) -> None:
    net, squares = started(case, torch.float64), {}
    loop = Sequential(net, lambda parameters: RecordingSGD(parameters, squares), update=update)
    frozen = [copied(unit) for unit in net.unit_list()[1:-2]]
    for index, step in enumerate(GOLDEN["traces"][case]):
        main = net.model.get_submodule("layer3.4").conv1.weight.detach().flatten()[:6].tolist()
        measured = {**measured_step(net, loop, squares), "main_first6": main}
        counts = measured.pop("bn_num_batches_tracked_per_module")
        means = measured.pop("bn1_running_mean_norm_module")
        expected = dict(step)
        their_counts = expected.pop("bn_num_batches_tracked_per_module")
        their_means = expected.pop("bn1_running_mean_norm_module")
        assert counts == [index + 1] * 15
        if index == 0:
            # n updates by the same batch mean m, from 0 and with momentum 0.1, give (1 - 0.9**n) m.
            scaled = [mean / 0.1 * (1 - 0.9**count) for mean, count in zip(means, their_counts, strict=True)]
            assert scaled == pytest.approx(their_means, rel=1e-6)
        assert measured.keys() == expected.keys()
        tolerance = 1e-9 if index == 0 else 1e-8
        for name, value in expected.items():
            flat, ours = flattened(value), flattened(measured[name])
            assert ours == pytest.approx(flat, rel=tolerance, abs=tolerance), f"step {index}: {name}"
    assert all(
        torch.equal(old, new)
        for olds, unit in zip(frozen, net.unit_list()[1:-2], strict=True)
        for old, new in zip(olds, copied(unit), strict=True)
    )


def copied(unit: Unit) -> list[Tensor]:
    """The averaged copies' parameters."""
    return [p.detach().clone() for p in unit.auxnets["cascade"].averaged.parameters()]


def flattened(value: Any) -> list[float]:
    """Numbers of nested lists."""
    return [number for part in value for number in flattened(part)] if isinstance(value, list) else [value]


@pytest.mark.parametrize("case", ["copies", "distinct"])
def test_first_step_in_float32(case: str) -> None:
    (expected,) = GOLDEN["traces"][f"{case} float32"]
    net, squares = started(case, torch.float32), {}
    measured = measured_step(net, Sequential(net, lambda parameters: RecordingSGD(parameters, squares)), squares)
    noise = 10 * GOLDEN["float32_loss_noise"][case]
    for name, value in expected.items():
        assert flattened(measured[name]) == pytest.approx(flattened(value), rel=1e-5, abs=noise), name
