"""Where two ways of training are the same mathematics, they give the same bits (or the same to rounding)."""

from typing import Literal

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from localgrad import Batch, LocalNetwork, Sequential, localize
from localgrad.method import Method
from localgrad.methods import DGL, Backprop, Checkpointing
from localgrad.unit import forward_units

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet, with_dropout
from .cases import every_method, localized, modules_of, short


@every_method("K=1 is backpropagation")
def test_one_module_is_a_plain_pytorch_loop(method: Method) -> None:
    backbone = tiny_resnet()
    batches = [random_batch(backbone, seed=index) for index in range(20)]

    net = localize(backbone, method, 1)
    model = net.export()
    loop = Sequential(
        net, lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    )
    losses = [loop.step(batch).terms[0]["ce"] for batch in batches]

    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    plain_losses = []
    model.train()
    for batch in batches:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(batch.x), batch.y)
        loss.backward()
        optimizer.step()
        plain_losses.append(loss.detach())

    assert torch.equal(torch.stack(losses), torch.stack(plain_losses))
    assert not changed(copy_of(net.export()), copy_of(model))


@pytest.mark.parametrize("segments", [None, 1, 2, 100])
@pytest.mark.parametrize("dropout", [False, True])
def test_checkpointing_is_backpropagation(segments: int | None, dropout: bool) -> None:
    backbone = with_dropout(tiny_resnet()) if dropout else tiny_resnet()
    nets = [localize(backbone, method) for method in (Backprop(), Checkpointing(segments))]
    for net in nets:
        loop = Sequential(net, sgd)
        for index in range(3):
            loop.step(random_batch(backbone, seed=index))
    ours, theirs = map(copy_of, nets)
    assert not changed(ours, theirs)
    counted = [value.item() for name, value in ours.items() if name.endswith("num_batches_tracked")]
    assert set(counted) == {3}


def hand_written_step(
    net: LocalNetwork, optimizers: list[torch.optim.Optimizer], batch: Batch, pieces: list[int], clip: float | None
) -> list[float]:
    """A step of all units with gradients accumulated over pieces, as one would write it without localgrad."""
    losses = [0.0] * len(optimizers)
    for x, y in zip(batch.x.split(pieces), batch.y.split(pieces), strict=True):
        h, share = x, len(x) / len(batch.x)
        for index, unit in enumerate(net.units):
            h = unit.body(h.detach())
            loss = F.cross_entropy(unit.aux(h), y)
            (loss * share).backward()
            losses[index] += share * loss.item()
    for unit, optimizer in zip(net.units, optimizers, strict=True):
        if clip is not None:
            nn.utils.clip_grad_norm_(list(unit.parameters()), clip)
        optimizer.step()
        optimizer.zero_grad()
    return losses


@pytest.mark.parametrize(
    ("accumulate", "rows", "pieces", "clip"),
    [(1, 8, [8], None), (2, 8, [4, 4], None), (3, 8, [3, 3, 2], None), (1, 8, [8], 0.05), (2, 8, [4, 4], 0.05)],
)
@every_method("plain supervised objective")
def test_accumulation_and_clipping_by_hand(
    method: Method, accumulate: int, rows: int, pieces: list[int], clip: float | None
) -> None:
    ours, theirs = localized(method), localized(method)
    loop = Sequential(ours, sgd, accumulate=accumulate, clip=clip)
    optimizers = [sgd(unit.parameters()) for unit in theirs.units]
    theirs.train()
    for index in range(2):
        batch = random_batch(ours.backbone, rows, seed=index)
        losses = loop.step(batch).losses
        expected = hand_written_step(theirs, optimizers, batch, pieces, clip)
        assert [terms["ce"] for terms in losses.values()] == pytest.approx(expected, rel=1e-6)
    assert not changed(copy_of(ours), copy_of(theirs))


def test_clipping_bounds_the_norm_of_each_unit() -> None:
    """With plain SGD at lr 1 the change of a unit's weights is its clipped gradient."""
    net = localized(DGL())
    before = [nn.utils.parameters_to_vector(unit.parameters()).detach().clone() for unit in net.units]
    loop = Sequential(net, lambda parameters: torch.optim.SGD(parameters, lr=1.0), clip=0.05)
    loop.step(random_batch(net.backbone))
    for unit, old in zip(net.units, before, strict=True):
        change = nn.utils.parameters_to_vector(unit.parameters()).detach() - old
        assert float(change.norm()) == pytest.approx(0.05, rel=1e-3)


@every_method("fused update")
def test_fused_update_gives_the_same_bits(method: Method) -> None:
    results = []
    modes: tuple[Literal["unit"], Literal["fused"]] = ("unit", "fused")
    for mode in modes:
        net = short(method)
        loop = Sequential(net, sgd, update=mode, accumulate=2)
        losses = [loop.step(random_batch(net.backbone, seed=index)).losses for index in range(3)]
        assert len(loop.optimizers) == (1 if mode == "fused" else len(net.units))
        assert all(parameter.grad is None for parameter in net.parameters())
        results.append((losses, copy_of(net)))
    (one, weights), (other, other_weights) = results
    assert one == other
    assert not changed(weights, other_weights)


@every_method("memory format")
def test_channels_last_is_the_same_to_rounding(method: Method) -> None:
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        net = short(method).double().to(memory_format=memory_format)
        loop = Sequential(net, sgd)
        for index in range(2):
            batch = random_batch(net.backbone, seed=index, dtype=torch.float64)
            step = loop.step(Batch(batch.x.to(memory_format=memory_format), batch.y, batch.image, batch.views))
        results.append([value for terms in step.losses.values() for value in terms.values()])
    assert results[0] == pytest.approx(results[1], rel=1e-9)


@every_method("bfloat16")
def test_bfloat16_is_close_and_keeps_float32_weights(method: Method) -> None:
    check_reduced(method, "bfloat16", torch.bfloat16)


@every_method("float16")
def test_float16_is_close_and_keeps_float32_weights(method: Method) -> None:
    """With the small network's gradients under a scaler."""
    check_reduced(method, "float16", torch.float16)


def check_reduced(method: Method, precision: str, dtype: torch.dtype) -> None:
    """Losses of a step near those of float32, from images in float32 and reduced; weights stay float32."""
    full = short(method)
    batch = random_batch(full.backbone, rows=16)
    expected = [value for terms in Sequential(full, sgd).step(batch).losses.values() for value in terms.values()]
    for x in (batch.x, batch.x.to(dtype)):
        net = short(method)
        before = copy_of(net)
        step = Sequential(net, sgd, precision=precision).step(Batch(x, batch.y, batch.image, batch.views))
        values = [value for terms in step.losses.values() for value in terms.values()]
        assert values == pytest.approx(expected, abs=0.1)
        assert all(value.dtype == torch.float32 for terms in step.terms.values() for value in terms.values())
        after = copy_of(net)
        assert all(value.dtype == before[name].dtype and value.isfinite().all() for name, value in after.items())
        assert any(name in changed(before, after) for name, _ in net.named_parameters())


@every_method("export")
def test_export_is_the_plain_network(method: Method) -> None:
    net = short(method)
    Sequential(net, sgd).step(random_batch(net.backbone))
    x = random_batch(net.backbone, seed=5).x
    model = net.export()
    for mode in (False, True):
        net.train(mode)
        model.train(mode)
        assert torch.equal(model(x), net(x))
    assert not [key for key in model.state_dict() if "aux" in key or "units" in key]
    assert {type(part).__module__.partition(".")[0] for part in model.children()} == {"torch"}
    assert set(model.state_dict()) == {
        key.removeprefix("model.") for key in net.state_dict() if key.startswith("model.")
    }
    assert not {value.data_ptr() for value in model.parameters()} & {value.data_ptr() for value in net.parameters()}


@every_method("forward")
def test_forward_is_the_chain_of_bodies_and_the_head(method: Method) -> None:
    net = localized(method).eval()
    x = random_batch(net.backbone).x
    *_, (last, h, _) = forward_units(net.unit_list(), x)
    assert torch.equal(net(x), last.aux(h))
    assert net.units[-1].aux is net.model.get_submodule(net.backbone.head_name)
    assert modules_of(method) >= len({unit.span for unit in net.units if len(unit.span)})
