"""Cascades without recomputation: what they give, what they cost, and who updates when."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.eval_frame import set_eval_frame
from torch.utils._python_dispatch import TorchDispatchMode

from localgrad import Backbone, Batch, LocalgradError, LocalNetwork, Partition, Sequential, audit, cost, localize
from localgrad.backbones import four_stage_resnet
from localgrad.blocks import ConvBNReLU, PooledLinear
from localgrad.cost.measure import live
from localgrad.losses import cross_entropy
from localgrad.method import Method, unit_name
from localgrad.methods import MLAAN, Backprop
from localgrad.objective import Objective, UnitSpec
from localgrad.partition import Cut, EqualBlocks

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet, with_dropout


@dataclass(frozen=True)
class Reaches:
    """A loss per unit and reach, each through a linear classifier of its own; the last unit's through the head."""

    reaches: tuple[tuple[int, ...], ...]
    needs = frozenset({"y"})

    @property
    def reach(self) -> int:
        return max(reach for unit in self.reaches for reach in unit)

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        return EqualBlocks(len(self.reaches))

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        units, shapes, last = [], backbone.shapes(), len(partition) - 1
        for j, (span, reaches) in enumerate(zip(partition.spans, self.reaches, strict=True)):
            channels = shapes[span.stop - 1][0]
            objectives = tuple(
                Objective(
                    f"loss{place}",
                    backbone.head if j == last else PooledLinear(channels, backbone.num_classes),
                    cross_entropy,
                    0.3 + 0.4 * place,
                    reach,
                )
                for place, reach in enumerate(reaches)
            )
            units.append(UnitSpec(j, unit_name(backbone, span.stop, span.start), span, objectives))
        return tuple(units)


MIXED = Reaches(((1,), (2, 1), (), (4, 1), (1, 1), (3, 3), (1, 2)))
METHODS: dict[str, Method] = {
    **{f"k={k}": MLAAN(cascade=k, leaps=False) for k in (2, 3, 4, 7)},
    **{f"k={k} with leaps": MLAAN(cascade=k) for k in (2, 3)},
    "released": MLAAN.released(),
    "infopro": MLAAN(base="infopro"),
    "every reach": MIXED,
}
every_kind = pytest.mark.parametrize("method", [pytest.param(method, id=name) for name, method in METHODS.items()])


class KeepGradients(torch.optim.SGD):
    """Notes every gradient and the order of its steps."""

    def __init__(self, parameters: Iterable[nn.Parameter], kept: dict[nn.Parameter, Tensor]) -> None:
        super().__init__(parameters, lr=0.1)
        self.kept = kept

    def step(self, closure: Any = None) -> Any:
        for group in self.param_groups:
            self.kept |= {p: p.grad.clone() for p in group["params"] if p.grad is not None}
        return super().step(closure)


def naive_gradients(net: LocalNetwork, batch: Batch) -> dict[nn.Parameter, Tensor]:
    """Every loss on its own: from the detached input of its first unit, with everything recomputed."""
    units = net.unit_list()
    inputs = [batch.x]
    for unit in units:
        inputs.append(unit.body(inputs[-1]).detach())
    for last, unit in enumerate(units):
        for objective in unit.spec.objectives:
            first = last - objective.reach + 1
            h = inputs[first]
            for passed in units[first : last + 1]:
                h = passed.body(h)
            outputs = unit.auxnets[objective.name](h)
            named = {"logits": outputs} if isinstance(outputs, Tensor) else outputs
            (objective.weight * sum(objective.loss(named, batch).values())).backward()
    gradients = {p: p.grad.clone() for p in net.parameters() if p.grad is not None}
    net.zero_grad(set_to_none=True)
    return gradients


@every_kind
@pytest.mark.parametrize(("update", "accumulate"), [("unit", 1), ("fused", 2)])
def test_gradients_are_those_of_the_naive_loop(method: Method, update: Any, accumulate: int) -> None:
    net = localize(tiny_resnet(), method).double()
    batch = random_batch(net.backbone, dtype=torch.float64)
    batch = Batch(batch.x, batch.y, batch.image)
    expected: dict[nn.Parameter, Tensor] = {}
    rows = len(batch.x) // accumulate
    for part in range(accumulate):
        own = slice(part * rows, (part + 1) * rows)
        piece = Batch(batch.x[own], batch.y[own], batch.image[own])
        for parameter, gradient in naive_gradients(net, piece).items():
            expected[parameter] = expected.get(parameter, 0) + gradient / accumulate
    kept: dict[nn.Parameter, Tensor] = {}
    loop = Sequential(net, lambda parameters: KeepGradients(parameters, kept), update=update, accumulate=accumulate)
    loop.step(batch)
    assert kept.keys() == expected.keys()
    assert {p for p in net.parameters() if p.requires_grad} == kept.keys()
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(
                kept[parameter], expected[parameter], rtol=1e-11, atol=1e-12, msg=lambda text, name=name: name + text
            )


@every_kind
def test_the_audit_sees_the_cascades(method: Method) -> None:
    net = localize(tiny_resnet(), method)
    found = audit(net, random_batch(net.backbone))
    assert found.ok, str(found)
    assert found.dead == ()
    reaches = [unit.spec.reach if unit.spec.objectives else 0 for unit in net.unit_list()]
    expected = [[0 <= i - j < reach for j in range(7)] for i, reach in enumerate(reaches)]
    assert [list(row) for row in found.reach] == expected
    assert list(found.declared) == [max(reach, 1) for reach in reaches]


@every_kind
def test_batch_norm_statistics_move_once_per_batch(method: Method) -> None:
    net = localize(tiny_resnet(), method).double()
    batch = random_batch(net.backbone, dtype=torch.float64)
    plain = localize(tiny_resnet(), Backprop()).double().train()
    plain.model(batch.x)
    Sequential(net, sgd).step(batch)
    statistics = dict(net.model.named_buffers())
    assert statistics.keys() == dict(plain.model.named_buffers()).keys()
    for name, value in plain.model.named_buffers():
        torch.testing.assert_close(statistics[name], value, rtol=0, atol=0)
    counts = {int(value) for name, value in net.named_buffers() if name.endswith("num_batches_tracked")}
    assert counts == {1}


def order_of_work(method: Method) -> list[str]:
    """What happens when: outputs and updates of the units by their place."""
    net = localize(tiny_resnet(), method)
    happened: list[str] = []
    optimizers = iter(range(len(net.units)))

    class Noting(torch.optim.SGD):
        def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
            super().__init__(parameters, lr=0.1)
            self.place = next(optimizers)

        def step(self, closure: Any = None) -> Any:
            happened.append(f"update {self.place}")
            return super().step(closure)

    for place, unit in enumerate(net.unit_list()):
        unit.register_forward_hook(lambda *_, place=place: happened.append(f"forward {place}"))
    Sequential(net, Noting).step(random_batch(net.backbone))
    return happened


def test_a_unit_updates_when_its_last_cascade_has_come_down() -> None:
    expected = ["forward 0", "forward 1"]
    for place in range(2, 7):
        expected += [f"forward {place}", f"update {place - 2}"]
    assert order_of_work(MLAAN(cascade=3, leaps=False)) == [*expected, "update 5", "update 6"]


def test_the_window_is_as_long_as_it_must_be() -> None:
    """The unit in front of a cascade of 4 need not wait for it, one inside it waits for its end."""
    happened = order_of_work(Reaches(((1,), (1,), (2,), (1,), (4,), (1,), (1,))))
    assert happened == [
        *("forward 0", "update 0", "forward 1", "forward 2", "forward 3", "forward 4"),
        *("update 1", "update 2", "update 3", "update 4", "forward 5", "update 5", "forward 6", "update 6"),
    ]


@pytest.mark.parametrize("name", ["k=3", "k=3 with leaps", "released"])
def test_fused_update_gives_the_same_bits(name: str) -> None:
    results = []
    for update in ("unit", "fused"):
        net = localize(tiny_resnet(), METHODS[name])
        loop = Sequential(net, sgd, update=update, accumulate=2)
        losses = [loop.step(random_batch(net.backbone, seed=index)).losses for index in range(3)]
        results.append((losses, copy_of(net)))
    assert results[0][0] == results[1][0]
    assert not changed(results[0][1], results[1][1])


@pytest.mark.parametrize("cascade", [1, 3])
def test_copies_of_earlier_blocks_follow_them_as_they_were_before_the_step(cascade: int) -> None:
    """MLAAN's lists for ImageNet's ResNet-34 name blocks that lie, and update, before the module that copies them."""
    backbone = four_stage_resnet(34, 4, 1 / 16, (3, 32, 32))
    net = localize(backbone, MLAAN(cascade), 17)
    unit = next(unit for unit in net.unit_list() if unit.name == "layer3.4")
    follow, block = unit.spec.follows[-1], net.model.get_submodule("layer3.1")
    assert (follow.rate, backbone.block_names[follow.block]) == (0.995, "layer3.1")
    copied = unit.auxnets[follow.objective].get_submodule(follow.part).conv1.weight
    loop = Sequential(net, sgd, accumulate=2)
    for index in range(2):
        old, own = block.conv1.weight.detach().clone(), copied.detach().clone()
        loop.step(random_batch(backbone, seed=index))
        torch.testing.assert_close(copied.detach(), torch.lerp(old, own, 0.995), rtol=0, atol=1e-7)
        assert float((block.conv1.weight.detach() - old).abs().max()) > 1e-4
    assert all(not unit.remembered for unit in net.unit_list())


def test_dropout_is_drawn_once() -> None:
    """The naive loop would draw other masks for every cascade: here all of them see the one forward pass."""
    results = []
    for state in (1, 2):
        torch.manual_seed(state)
        net = localize(with_dropout(tiny_resnet()), MLAAN(leaps=False))
        calls: list[nn.Module] = []
        drops = [net.model.get_submodule(name).drop for name in ("stem", "layer1.0")]
        for drop in drops:
            drop.register_forward_hook(lambda module, *_, calls=calls: calls.append(module))
        results.append(Sequential(net, sgd).step(random_batch(net.backbone)).losses)
        assert calls == drops
    assert results[0] == results[1]


class CountConvolutions(TorchDispatchMode):
    """Convolutions forward, and backward by what they compute: gradients of the (input, weight)."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.counts["forward"] += 1
        if func is torch.ops.aten.convolution_backward.default:
            wanted = args[10]
            self.counts["both" if wanted[0] and wanted[1] else "input" if wanted[0] else "weight"] += 1
        return func(*args, **(kwargs or {}))


def test_every_convolution_runs_once_and_no_gradient_is_computed_for_nothing() -> None:
    """Five units of two convolutions between a stem and a last unit, with k=3.

    Forward: each convolution once. Parameters: each weight once; with the input only inside a unit, never for the first
    convolution of a body. Input gradients: two passes per unit, of a cascade that starts one or two units below.
    """
    net = localize(plain_network(), MLAAN(leaps=False, weights=(0.1, 0.9)))
    loop, batch = Sequential(net, sgd), random_batch(net.backbone)
    with CountConvolutions() as counting:
        loop.step(batch)
    # 7 units of 2 convolutions. Cascades end at units 2..6; each crosses the borders of its upper two units.
    assert counting.counts == {"forward": 14, "weight": 7, "both": 7, "input": 5 * 2 * 2}


def plain_network() -> Backbone:
    """Seven blocks of two convolutions each, all of 4 channels."""
    backbone = tiny_resnet()
    channels = [3, 4, 4, 4, 4, 4, 4]
    blocks = tuple(TwoConvs(width, 4) for width in channels)
    return replace(backbone, blocks=blocks, head=PooledLinear(4, 4))


@dataclass(frozen=True)
class TwoConvs:
    """Two ConvBNReLU."""

    in_channels: int
    out_channels: int

    def build(self) -> nn.Module:
        pair = (ConvBNReLU(self.in_channels, self.out_channels), ConvBNReLU(self.out_channels, self.out_channels))
        return nn.Sequential(*(block.build() for block in pair))

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "TwoConvs":
        return TwoConvs(in_channels, self.out_channels)

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (self.out_channels, *shape[1:])


def test_memory_grows_with_the_window() -> None:
    """Live bytes relative to backpropagation; the paper reports 2.62 of 3.37 GB (0.78) for both of its parts."""
    network = tiny_resnet(32, (3, 16, 16))

    def peak(method: Method) -> int:
        with torch.device("meta"):
            net = localize(network, method)
        return cost.memory(net, batch_size=1024).peak

    backprop = peak(Backprop())
    ratios = [peak(MLAAN(cascade=k, leaps=False)) / backprop for k in (2, 3)]
    assert ratios == pytest.approx([0.42, 0.55], abs=0.01)
    assert peak(MLAAN()) / backprop < 0.71


def test_memory_is_the_same_under_torch_compile() -> None:
    """Where it has hooked into Python's frames, a caller's reference to an argument lives until the call returns."""
    with torch.device("meta"):
        nets = [
            localize(tiny_resnet(), MLAAN(cascade=3, leaps=False), recompute=recompute) for recompute in (False, True)
        ]
    peaks = [cost.memory(net, batch_size=256).peak for net in nets]
    before = set_eval_frame(False)  # run what is compiled, compile nothing
    try:
        assert [cost.memory(net, batch_size=256).peak for net in nets] == peaks
    finally:
        set_eval_frame(before)


def test_memory_is_predicted_exactly() -> None:
    net = localize(tiny_resnet(), MLAAN())
    batch = random_batch(net.backbone)
    loop = Sequential(net, lambda parameters: torch.optim.SGD(parameters, 0.1, 0.9, nesterov=True))
    assert cost.memory(net, batch_size=8).peak == live(loop, Batch(batch.x, batch.y)).peak


def test_a_unit_without_a_loss_has_no_terms() -> None:
    net = localize(tiny_resnet(), MLAAN.released())
    assert Sequential(net, sgd).step(random_batch(net.backbone)).terms.keys() == set(range(1, 7))


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_nothing_lives_on_after_a_step(precision: str) -> None:
    net = localize(tiny_resnet(), MLAAN())
    step = Sequential(net, sgd, precision=precision).step(random_batch(net.backbone))
    assert all(parameter.grad is None for parameter in net.parameters())
    values = [value for terms in step.terms.values() for value in terms.values()]
    assert all(value.grad_fn is None and value.dtype == torch.float32 and value.isfinite() for value in values)


def test_frozen_blocks_pass_gradients_on() -> None:
    """The stem's weights are frozen, those of a block in the middle too: what is below it learns all the same."""
    net = localize(tiny_resnet(), MLAAN(leaps=False)).double()
    for name in ("stem", "layer2.0"):
        net.model.get_submodule(name).requires_grad_(False)
    batch = random_batch(net.backbone, dtype=torch.float64)
    expected, kept = naive_gradients(net, batch), {}
    Sequential(net, lambda parameters: KeepGradients(parameters, kept)).step(batch)
    assert kept.keys() == expected.keys()
    for parameter, gradient in expected.items():
        torch.testing.assert_close(kept[parameter], gradient, rtol=1e-11, atol=1e-12)
    assert audit(net, random_batch(net.backbone, dtype=torch.float64)).ok


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"precision": "float16"}, "float16 scales each unit's gradients by a factor of its own. Use bfloat16"),
        ({"workers": 2}, "workers=2 step units on their own; cascades work together. Use 1."),
    ],
)
def test_what_cascades_cannot_run_with(keywords: dict[str, Any], expected: str) -> None:
    with pytest.raises(LocalgradError, match=expected):
        Sequential(localize(tiny_resnet(), MLAAN(leaps=False)), sgd, **keywords)


def test_units_that_follow_others_do_not_overlap() -> None:
    with pytest.raises(LocalgradError, match="units that follow each other's weights work together"):
        Sequential(localize(tiny_resnet(), MLAAN(cascade=1)), sgd, workers=2)


def test_a_cascade_longer_than_the_units_before_it() -> None:
    net = localize(tiny_resnet(), Reaches(((1,), (3,), *((1,),) * 5)))
    with pytest.raises(LocalgradError, match=r"cascade of 3 units ends at unit 1 \(from 0\), where only 2 units are"):
        Sequential(net, sgd)


def test_a_unit_that_no_loss_reaches() -> None:
    net = localize(tiny_resnet(), Reaches(((1,), (), (1,), (2,), *((1,),) * 3)))
    with pytest.raises(LocalgradError, match=r"'layer1\.0': it has no objective, and no cascade of a later unit"):
        Sequential(net, sgd)
