"""What is around a CUDA graph, on the CPU with a stand-in that repeats the captured step; on a GPU the graph itself."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
import torch
from torch import Tensor, nn

from localgrad import SGD, Batch, LocalgradError, LocalNetwork, Sequential, localize
from localgrad.methods import DGL, MLAAN, AugLocal
from localgrad.runtime.graphs import WARM_UP, GraphedStep, copy_into, copy_of, make_capturable, signature
from localgrad.train import Adam

from ..conftest import random_batch, sgd, tiny_resnet, with_dropout

T = TypeVar("T")

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU, and there is none here")


class Repeated:
    """Does what a graph does: a capture changes nothing, a replay repeats the step on the tensors it was given."""

    def __init__(self, net: nn.Module, optimizers: Any) -> None:
        self.net = net
        self.optimizers = optimizers
        self.calls: list[str] = []
        self.work: Callable[[], Any] | None = None
        self.result: Any = None

    def warm(self, work: Callable[[], T]) -> T:
        self.calls.append("warm")
        return work()

    def state(self) -> list[Tensor]:
        own = [value for made in self.optimizers for state in made.state.values() for value in state.values()]
        return [*self.net.parameters(), *self.net.buffers(), *(value for value in own if isinstance(value, Tensor))]

    def capture(self, work: Callable[[], T]) -> T:
        self.calls.append("capture")
        before = [value.detach().clone() for value in self.state()]
        self.work, self.result = work, work()
        with torch.no_grad():
            for value, old in zip(self.state(), before, strict=True):
                value.copy_(old)
        return self.result

    def replay(self) -> None:
        self.calls.append("replay")
        assert self.work is not None
        # On a GPU nothing of Python runs in a replay, so nothing that it learns may be needed.
        self.result.copy_(self.work())


def graphed(net: LocalNetwork, optimizer: Any = None, **settings: Any) -> tuple[Sequential, Repeated]:
    loop = Sequential(net, optimizer or SGD(lr=0.1), **settings)
    device = Repeated(net, loop.optimizers)
    loop.graph = GraphedStep(net, loop.optimizers, loop._train, device)
    return loop, device


def made(method: Any = None, layers: int = 8) -> LocalNetwork:
    return localize(tiny_resnet(layers), method or DGL(head="0c1f"), seed=3)


def close(one: LocalNetwork, other: LocalNetwork) -> None:
    for name, value in one.state_dict().items():
        torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-5, atol=1e-6, msg=name)


@pytest.mark.parametrize(
    ("method", "settings", "optimizer"),
    [
        (DGL(head="0c1f"), {"clip": 0.5}, SGD(lr=0.1)),
        (AugLocal(depth=2), {"accumulate": 2, "update": "fused"}, SGD(lr=0.1)),
        (MLAAN(), {}, Adam(lr=0.01)),
    ],
    ids=["units", "accumulated", "cascades"],
)
def test_steps_are_those_without_a_graph(method: Any, settings: dict[str, Any], optimizer: Any) -> None:
    one, other = made(method), made(method)
    plain = Sequential(one, optimizer, **settings)
    loop, device = graphed(other, optimizer, **settings)
    kept = []
    for step in range(WARM_UP + 3):
        batch = random_batch(one.backbone, seed=step)
        kept.append((plain.step(batch).losses, loop.step(batch)))
    assert device.calls == ["warm"] * WARM_UP + ["capture", "replay", "replay", "replay"]
    for losses, step_taken in kept:  # the terms are the caller's own: no later replay has overwritten them
        assert step_taken.losses.keys() == losses.keys()
        for unit, terms in losses.items():
            assert step_taken.losses[unit] == pytest.approx(terms, rel=1e-4, abs=1e-6)
    close(one, other)
    assert loop.steps == plain.steps == WARM_UP + 3


def test_the_learning_rate_reaches_the_graph() -> None:
    one, other = made(), made()
    plain = Sequential(one, SGD(lr=0.1))
    loop, device = graphed(other)
    rates = [0.1, 0.1, 0.1, 0.1, 0.03, 0.5]
    for step, rate in enumerate(rates):
        plain.set_lr(rate)
        loop.set_lr(rate)
        plain.step(random_batch(one.backbone, seed=step))
        loop.step(random_batch(one.backbone, seed=step))
    assert device.calls.count("capture") == 1
    close(one, other)
    (rate,) = {float(group["lr"]) for made in loop.optimizers for group in made.param_groups}
    assert rate == 0.5


def test_a_short_batch_is_an_ordinary_step_and_a_longer_one_is_captured_anew() -> None:
    one, other = made(), made()
    plain, (loop, device) = Sequential(one, SGD(lr=0.1)), graphed(other)
    sizes = [4, 8, 8, 8, 8, 3, 8]
    for step, rows in enumerate(sizes):
        batch = random_batch(one.backbone, rows, seed=step)
        plain.step(batch)
        loop.step(batch)
    # The first batch of 4 warms up for its own size.
    assert device.calls == ["warm", *["warm"] * WARM_UP, "capture", "replay", "replay"]
    close(one, other)


def forget(loop: Sequential) -> None:
    for optimizer in loop.optimizers:
        optimizer.state.clear()


def change_decay(loop: Sequential) -> None:
    loop.optimizers[0].param_groups[0]["weight_decay"] = 0.5


def replace_weight(loop: Sequential) -> None:
    weight = next(loop.net.parameters())
    weight.data = weight.data.clone()


@pytest.mark.parametrize("change", [forget, change_decay, replace_weight])
def test_what_a_graph_holds_is_captured_anew_when_it_changes(change: Callable[[Sequential], None]) -> None:
    one, other = made(), made()
    plain, (loop, device) = Sequential(one, SGD(lr=0.1)), graphed(other)
    for step in range(2 * (WARM_UP + 1)):
        if step == WARM_UP + 1:
            change(plain)
            change(loop)
        batch = random_batch(one.backbone, seed=step)
        plain.step(batch)
        loop.step(batch)
    assert device.calls == 2 * [*["warm"] * WARM_UP, "capture", "replay"]
    close(one, other)


def test_units_that_draw_are_refused_before_anything_is_trained() -> None:
    net = localize(with_dropout(tiny_resnet(8)), DGL(head="0c1f"))
    loop, device = graphed(net)
    before = [value.clone() for value in net.state_dict().values()]
    with pytest.raises(LocalgradError, match=r"unit 'stem' draws random numbers in its step .* Leave graph out\."):
        loop.step(random_batch(net.backbone))
    assert device.calls == []
    assert all(torch.equal(a, b) for a, b in zip(before, net.state_dict().values(), strict=True))


def test_a_step_that_cannot_be_captured() -> None:
    net = made()
    loop, device = graphed(net)

    def capture(work: Callable[[], T]) -> T:
        raise RuntimeError("operation not permitted when stream is capturing\nmore about it")

    device.capture = capture  # type: ignore[method-assign]
    for _ in range(WARM_UP):
        loop.step(random_batch(net.backbone))
    text = "graph=True could not capture the training step: operation not permitted when stream is capturing A loss or"
    with pytest.raises(LocalgradError, match=re.escape(text)):
        loop.step(random_batch(net.backbone))


def test_optimisers_of_the_host_are_refused() -> None:
    weight = [nn.Parameter(torch.ones(2))]
    with pytest.raises(LocalgradError, match=r"and SGD reads its learning rate on the host\. Give fused=True"):
        make_capturable([torch.optim.SGD(weight, lr=0.1)])
    made = [torch.optim.SGD(weight, lr=0.1, fused=True), torch.optim.AdamW(weight), torch.optim.RMSprop(weight)]
    make_capturable(made)
    assert [optimizer.param_groups[0].get("capturable") for optimizer in made] == [None, True, True]


def test_an_optimiser_loaded_from_an_eager_run_is_captured_too() -> None:
    """Loading brings the settings along: Adam would count steps on the host."""
    eager = Sequential(made(), Adam(lr=0.01))
    batch = random_batch(eager.net.backbone)
    eager.step(batch)
    loop, device = graphed(made(), Adam(lr=0.01))
    for own, theirs in zip(loop.optimizers, eager.optimizers, strict=True):
        own.load_state_dict(theirs.state_dict())
        assert not own.param_groups[0]["capturable"]
    for _ in range(WARM_UP + 1):
        loop.step(batch)
    assert device.calls == ["warm"] * WARM_UP + ["capture", "replay"]
    assert all(group["capturable"] for own in loop.optimizers for group in own.param_groups)


def test_static_batches() -> None:
    """A copy has tensors of its own in the same memory format; copying into it leaves the other fields."""
    batch = random_batch(tiny_resnet(8))
    batch = Batch(x=batch.x.to(memory_format=torch.channels_last), y=batch.y, step=3)
    own = copy_of(batch)
    assert own.x.is_contiguous(memory_format=torch.channels_last)
    assert own.x.data_ptr() != batch.x.data_ptr()
    other = random_batch(tiny_resnet(8), seed=1)
    copy_into(own, Batch(x=other.x, y=other.y, step=4))
    assert torch.equal(own.x, other.x)
    assert torch.equal(own.y, other.y)
    assert own.step == 3
    assert signature(batch) == signature(own) != signature(random_batch(tiny_resnet(8), 4))
    assert signature(batch)["views"] is None


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"graph": True}, "graph=True captures a training step in a CUDA graph, and the network is on cpu."),
        ({"graph": 1}, "Sequential: graph must be True or False, got 1."),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        Sequential(made(), sgd, **settings)


@needs_cuda
@pytest.mark.parametrize(
    "settings",
    [{}, {"streams": 2}, {"streams": 3, "precision": "bfloat16"}, {"compile": True, "streams": 2}, {"clip": 0.5}],
    ids=str,
)
@pytest.mark.parametrize("method", [DGL(), AugLocal(depth=2)], ids=["DGL", "AugLocal"])
def test_on_a_gpu(method: Any, settings: dict[str, Any]) -> None:
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        one, other = made(method, 14).cuda(), made(method, 14).cuda()
        same = {name: value for name, value in settings.items() if name in ("precision", "clip")}
        plain = Sequential(one, SGD(lr=0.01), **same)
        loop = Sequential(other, SGD(lr=0.01), graph=True, **settings)
        for step in range(8):
            batch = random_batch(one.backbone, 3 if step == 6 else 8, seed=step)
            batch = Batch(x=batch.x.cuda(), y=batch.y.cuda())
            for training in (plain, loop):
                training.set_lr(0.01 / (1 + step))
            losses, found = plain.step(batch).losses, loop.step(batch).losses
            for unit, terms in losses.items():
                assert found[unit] == pytest.approx(terms, rel=1e-3)
        for name, value in one.state_dict().items():
            torch.testing.assert_close(value, other.state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)


@needs_cuda
def test_float16_is_refused_on_a_gpu() -> None:
    with pytest.raises(LocalgradError, match="graph=True cannot capture float16"):
        Sequential(made().cuda(), SGD(), graph=True, precision="float16")
