"""Compiled blocks give what eager ones give, are compiled once per kind, and what cannot be is said."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo import register_backend, reset
from torch._dynamo.backends.common import aot_autograd
from torch._dynamo.backends.debugging import eager
from torch._dynamo.utils import counters

from localgrad import Backbone, LocalgradError, LocalNetwork, Sequential, equal_blocks, localize
from localgrad.blocks import ConvBNReLU, PooledLinear
from localgrad.methods import DGL, DGSSL, GNDGL, MLAAN, AugLocal
from localgrad.methods.dgssl_selection import PairSelection
from localgrad.runtime.compiled import CompileWarning, Piece, compiled_units
from localgrad.spec import Shape

from ..conftest import copy_of, random_batch, sgd, tiny_resnet, with_dropout


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    """Nothing compiled by another test counts."""
    reset()
    counters.clear()
    yield
    reset()


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def steps(net: LocalNetwork, count: int = 2, **settings: Any) -> tuple[Sequential, list[Any]]:
    loop = Sequential(net, sgd, **settings)
    return loop, [loop.step(random_batch(net.backbone, seed=step)).losses for step in range(count)]


def equal(one: LocalNetwork, other: LocalNetwork, tolerance: float = 0.0) -> bool:
    pairs = zip(copy_of(one).values(), copy_of(other).values(), strict=True)
    return all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in pairs)


def three_convs() -> Backbone:
    """Two kinds of blocks, little to trace."""
    plain = tiny_resnet(8)
    blocks = (ConvBNReLU(3, 8), ConvBNReLU(8, 8), ConvBNReLU(8, 8))
    return replace(plain, blocks=blocks, block_names=("a", "b", "c"), head=PooledLinear(8, plain.num_classes))


SMALL = DGL(head="0c1f")


def made(method: Any = SMALL, backbone: Backbone | None = None) -> LocalNetwork:
    return localize(backbone or three_convs(), method, partition=equal_blocks(3), seed=3)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (lambda: made(AugLocal(depth=2, tail="strict")), {"accumulate": 2, "clip": 0.5}),
        (lambda: made(SMALL, with_dropout(tiny_resnet(8))), {"update": "fused"}),
        (lambda: localize(tiny_resnet(8), MLAAN(), 4, seed=3), {}),
        (lambda: localize(three_convs(), GNDGL(), partition=equal_blocks(2), groups=2, seed=3), {}),
    ],
    ids=["auglocal", "dropout", "cascades", "groups"],
)
def test_equals_eager_bit_for_bit(make: Callable[[], LocalNetwork], settings: dict[str, Any]) -> None:
    """With a backend that runs the traced operations as they are. The random state is left alone."""
    one, other = make(), make()
    _, losses = steps(one, **settings)
    before = torch.get_rng_state()
    loop, compiled = steps(other, compile="eager", **settings)
    assert torch.equal(before, torch.get_rng_state())
    assert compiled == losses
    assert equal(one, other)
    assert loop.reasons == ()
    assert graphs() > 0


def test_every_kind_of_block_is_compiled_once() -> None:
    """First block, the two others, the two auxiliary heads, the own head: one graph each, no more in later steps."""
    net = made()
    loop, _ = steps(net, 1, compile="aot_eager")
    before = dict(counters["aot_autograd"])
    assert graphs() == len(loop.compiler.functions) == before["ok"] == 4
    for step in range(2):
        loop.step(random_batch(net.backbone, seed=step))
    assert graphs() == 4
    assert dict(counters["aot_autograd"]) == before


def test_a_block_with_and_without_a_gradient_at_its_input_is_two_kinds() -> None:
    """The second block of AugLocal's units is detached from the first, that of an auxiliary network is not."""
    net = made(AugLocal(depth=2, tail="strict"))
    loop, _ = steps(net, 3, compile="aot_eager")
    by_kind = [kind[-1] for kind in loop.compiler.functions if "8, 8, kernel" in kind[0]]
    assert sorted(by_kind) == [False, True]
    assert graphs() == len(loop.compiler.functions)


def test_rounding_only_with_a_real_backend() -> None:
    one, other = made(), made()
    _, losses = steps(one, 1, precision="bfloat16")
    _, compiled = steps(other, 1, precision="bfloat16", compile="aot_eager")
    assert losses == compiled
    assert equal(one, other, 1e-6)


def test_preparing_changes_nothing() -> None:
    net = made()
    loop = Sequential(net, sgd, compile="eager")
    before, state = copy_of(net), torch.get_rng_state()
    loop.compiler.prepare(loop.units, loop.updates[0], random_batch(net.backbone))
    assert all(torch.equal(before[name], value) for name, value in copy_of(net).items())
    assert torch.equal(state, torch.get_rng_state())
    assert all(parameter.grad is None for parameter in net.parameters())


def test_a_smaller_batch_runs_eagerly_and_a_larger_one_is_compiled() -> None:
    net = made()
    loop = Sequential(net, sgd, compile="eager")
    found = []
    for rows in (6, 3, 6, 8):
        loop.step(random_batch(net.backbone, rows))
        found.append(graphs())
    assert found[0] == found[1] == found[2] < found[3]


def test_another_kind_of_input_is_compiled_too() -> None:
    net = made()
    loop = Sequential(net, sgd, compile="eager")
    batch = random_batch(net.backbone)
    loop.step(batch)
    before = graphs()
    loop.step(replace(batch, x=batch.x.to(memory_format=torch.channels_last)))
    assert graphs() > before
    assert loop.reasons == ()


def test_blocks_that_the_first_step_did_not_show() -> None:
    """Weights frozen later make other graphs; nobody has tried to compile these."""
    net = made()
    loop = Sequential(net, sgd, compile="eager")
    loop.step(random_batch(net.backbone))
    net.unit_list()[0].body.requires_grad_(False)
    with pytest.warns(
        CompileWarning, match=r"unit 'a': Sequential on \(8, 8, 8, 8\) runs eagerly: the first step had no"
    ):
        loop.step(random_batch(net.backbone))
    assert len(loop.reasons) == 1


def test_inference_and_export_know_nothing_of_it() -> None:
    net = made()
    loop, _ = steps(net, 1, compile="eager")
    before = graphs()
    net.eval()(random_batch(net.backbone).x)
    assert graphs() == before
    assert not any(isinstance(module, Piece) for part in (net, net.export()) for module in part.modules())
    assert any(isinstance(module, Piece) for unit in loop.units for module in unit.modules())


class Branches(nn.Module):
    """Asks for a number: no compiler follows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = self.conv(h)
        return out * 2 if out.sum().item() > 0 else out


@dataclass(frozen=True)
class BranchingBlock:
    channels: int

    def build(self) -> nn.Module:
        return Branches(self.channels)

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "BranchingBlock":
        return replace(self, channels=in_channels)

    def shape(self, shape: Shape) -> Shape:
        return shape


def branching() -> Backbone:
    blocks = (*three_convs().blocks[:2], BranchingBlock(8))
    return replace(three_convs(), blocks=blocks)


def test_what_cannot_be_compiled_runs_eagerly_and_is_said_once() -> None:
    one, other = made(SMALL, branching()), made(SMALL, branching())
    _, losses = steps(one)
    with pytest.warns(CompileWarning) as warned:
        loop, compiled = steps(other, compile="eager")
    assert compiled == losses
    assert equal(one, other)
    (reason,) = loop.reasons
    assert re.match(r"unit 'c': Branches on \(8, 8, 8, 8\) runs eagerly: \w+: .+", reason)
    assert [str(warning.message) for warning in warned] == [f"compile='eager': {reason}"]


class Scaled(nn.Module):
    """A number that neither its text nor its weights show, as in NFNets."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 1)
        self.scale = scale

    def forward(self, h: Tensor) -> Tensor:
        return h + self.scale * torch.relu(self.conv(h))


def test_more_variants_of_a_kind_than_torch_compiles_of_one_function() -> None:
    def scaled() -> LocalNetwork:
        torch.manual_seed(0)
        blocks = [Scaled(0.1 * (1 + place)) for place in range(12)]
        model = nn.Sequential(nn.Conv2d(3, 4, 1), *blocks, nn.Flatten(), nn.Linear(64, 10))
        return localize(model, SMALL, 2, example=torch.zeros(2, 3, 4, 4))

    one, other = scaled(), scaled()
    _, losses = steps(one)
    loop, compiled = steps(other, compile="eager")
    assert compiled == losses
    assert equal(one, other)
    assert loop.reasons == ()


def test_networks_that_read_the_input_of_their_unit() -> None:
    def teacher() -> LocalNetwork:
        return made(DGSSL(selection=PairSelection(similarity="teacher")), tiny_resnet(8))

    one, other = teacher(), teacher()
    batch = replace(random_batch(one.backbone), views=torch.cat([random_batch(one.backbone, seed=s).x for s in (1, 2)]))
    loops = [Sequential(one, sgd), Sequential(other, sgd, compile="eager")]
    assert loops[0].step(batch).losses == loops[1].step(batch).losses
    assert equal(one, other)


def broken_backward(graph: Any, inputs: Any) -> Any:
    raise RuntimeError("no backward today")


def test_a_backward_pass_that_cannot_be_compiled_is_found_before_anything_is_trained() -> None:
    if "half" not in torch.compiler.list_backends():
        register_backend(aot_autograd(fw_compiler=eager, bw_compiler=broken_backward), name="half")
    one, other = made(), made()
    _, losses = steps(one)
    with pytest.warns(CompileWarning) as warned:
        loop, compiled = steps(other, compile="half")
    assert re.match(r"compile='half': unit 'a': Sequential on .* runs eagerly: .*no backward", str(warned[0].message))
    assert compiled == losses
    assert equal(one, other)
    assert len(loop.reasons) == len(loop.compiler.functions) == len(warned)


def test_units_that_recompute_stay_eager_and_say_so() -> None:
    net = localize(three_convs(), SMALL, partition=equal_blocks(3), recompute=True)
    with pytest.warns(CompileWarning, match="units that recompute activations run eagerly"):
        loop = Sequential(net, sgd, compile="eager")
    assert loop.units == net.unit_list()


def test_parts_of_a_piece_are_found_by_their_path() -> None:
    net = made(AugLocal(depth=2), tiny_resnet(8))
    compiler = Sequential(net, sgd, compile="eager").compiler
    (unit, *_) = compiled_units(net, compiler)
    own = net.unit_list()[0]
    assert unit.aux.get_submodule("block0.conv1") is own.aux.get_submodule("block0.conv1")
    with pytest.raises(AttributeError, match="no attribute `conv9`"):
        unit.aux.get_submodule("block0.conv9")


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"compile": 1}, "compile must be True, False or the name of a torch.compile backend, got 1."),
        ({"compile": "inducter"}, "compile='inducter' is no backend of torch.compile. Did you mean inductor?"),
        ({"compile": "eager", "workers": 2}, "workers=2 step units on CPU threads, and torch.compile is not made for"),
    ],
)
def test_what_cannot_be(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        Sequential(made(), sgd, **settings)
