"""Foreign networks of every kind with every method that can: local, reproducible, exported as they are."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import localgrad as lg
from localgrad.methods import Lambdas

from .foreign_kinds import batch, convnext, logits, mixer, resnet, sgd, swin, vit

LAMBDAS = Lambdas(first=(2, 0.5), last=(0.5, 1))
METHODS: dict[str, Any] = {
    "DGL": lg.methods.DGL(max_hidden=16),
    "AugLocal": lg.methods.AugLocal(depth=2),
    "PredSim": lg.methods.PredSim(framework="blockwise"),
    "MLAAN": lg.methods.MLAAN(),
    "InfoPro": lg.methods.InfoPro(lambdas=LAMBDAS),
}
KINDS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet": (resnet, 32),
    "convnext": (convnext, 32),
    "vit": (lambda: vit(depth=4), 32),
    "swin": (swin, 64),
    "mixer": (mixer, 32),
}
CASES = [
    *((kind, method) for kind in KINDS for method in ("DGL", "AugLocal")),
    *(("swin", method) for method in ("MLAAN", "InfoPro")),
    *(("vit", method) for method in ("PredSim", "MLAAN")),
]


def localized(kind: str, method: Any, modules: int = 4, model: nn.Module | None = None) -> lg.LocalNetwork:
    make, size = KINDS[kind]
    return lg.localize(model or make(), method, modules, example=torch.zeros(1, 3, size, size))


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_a_local_step_and_the_export(kind: str, method: str) -> None:
    net = localized(kind, METHODS[method])
    data = batch(KINDS[kind][1])
    audit = lg.audit(net, data)
    assert audit.ok, str(audit)
    assert not [name for name in audit.dead if name.startswith("aux.")], audit.dead
    step = lg.Sequential(net, optimizer=sgd).step(data)
    assert set(step.losses) == set(range(len(net.units)))
    exported = net.export().eval()
    assert type(exported) is type(net.model)
    with torch.no_grad():
        assert torch.equal(exported(data.x), logits(net, data.x))


@pytest.mark.parametrize("kind", ["vit", "swin"])
def test_rebuilt_blocks_draw_from_the_stream_of_their_step(kind: str) -> None:
    """Dropout and stochastic depth inside rebuilt blocks: the same step twice is the same, another step is not."""
    make = (lambda: vit(proj_drop_rate=0.2, drop_path_rate=0.3)) if kind == "vit" else KINDS[kind][0]
    torch.manual_seed(0)
    net = localized(kind, lg.methods.AugLocal(depth=3), modules=5, model=make())
    twin, data = copy.deepcopy(net), batch(KINDS[kind][1])
    assert sum(isinstance(part, nn.Dropout) and part.p > 0 for part in net.aux.modules()) > 0 or kind == "swin"
    results = []
    for one in (net, twin):
        torch.rand(3)
        loop = lg.Sequential(one, optimizer=sgd)
        results.append([loop.step(data).losses for _ in range(2)])
    assert results[0] == results[1]
    for own, theirs in zip(net.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(own, theirs)


def test_auxiliary_weights_are_a_function_of_seed_and_name() -> None:
    def auxnets(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(seed + 100)
        model = vit(depth=3)
        net = lg.localize(model, lg.methods.AugLocal(depth=2), 3, example=torch.zeros(1, 3, 32, 32), seed=seed)
        return dict(net.aux.named_parameters())

    first, again, other = auxnets(0), auxnets(0), auxnets(1)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not any(torch.equal(value, other[name]) for name, value in first.items() if "attn.qkv.weight" in name)


def test_rebuilt_blocks_are_no_part_of_the_network() -> None:
    model = swin()
    keys, before = set(model.state_dict()), copy.deepcopy(model.state_dict())
    random = torch.get_rng_state()
    net = localized("swin", lg.methods.AugLocal(depth=2), model=model)
    assert torch.equal(random, torch.get_rng_state())
    assert set(model.state_dict()) == keys
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    own = {id(tensor) for tensor in (*model.parameters(), *model.buffers())}
    assert own.isdisjoint(id(tensor) for tensor in (*net.aux.parameters(), *net.aux.buffers()))


def test_cost_and_the_meta_device() -> None:
    method = lg.methods.AugLocal(depth=2)
    net = localized("vit", method, 3, vit(depth=3))
    with torch.device("meta"):
        abstract = localized("vit", method, 3, vit(depth=3))
    assert {parameter.device.type for parameter in abstract.parameters()} == {"meta"}
    assert lg.cost.memory(abstract, batch_size=2).peak == lg.cost.memory(net, batch_size=2).peak
    assert lg.cost.macs(net).parts[0, 0].aux_params == sum(p.numel() for p in net.unit_list()[0].aux.parameters())


def test_only_some_units_of_a_foreign_network() -> None:
    method, model = lg.methods.AugLocal(depth=2), swin()
    whole = localized("swin", method, model=model)
    backbone = whole.backbone
    specs = [unit.spec for unit in whole.unit_list()]
    part = lg.LocalNetwork(backbone, specs, only=[0])
    own, theirs = part.unit_list()[0].aux.state_dict(), whole.unit_list()[0].aux.state_dict()
    assert {value.device.type for value in own.values()} == {"cpu"}
    assert all(torch.equal(value, theirs[key]) for key, value in own.items())
    assert {value.device.type for value in part.unit_list()[1].aux.state_dict().values()} == {"meta"}
