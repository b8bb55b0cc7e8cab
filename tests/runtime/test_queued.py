"""Units at their own pace: order, buffers, schedules, what equals Sequential, and what cannot be."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import torch
from torch import nn

from localgrad import Batch, Greedy, LocalgradError, LocalNetwork, Queued, Sequential, localize
from localgrad.methods import DGL, Backprop
from localgrad.partition import equal_blocks
from localgrad.spec import Backbone

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet, with_dropout


def small(seed: int = 0) -> LocalNetwork:
    """Four units."""
    return localize(tiny_resnet(8), DGL(head="1c1f"), partition=equal_blocks(4), seed=seed)


def batches(net: LocalNetwork, start: int = 0) -> Iterator[Batch]:
    return (replace(random_batch(net.backbone, seed=index), step=index) for index in count(start))


def feed(net: LocalNetwork, start: int = 0) -> Callable[[], Batch]:
    source = batches(net, start)
    return lambda: next(source)


@pytest.mark.parametrize(
    "options", [{"buffer": 0}, {"buffer": 3, "order": "round_robin"}, {"buffer": 0, "quirk": True}]
)
@pytest.mark.parametrize("backbone", [tiny_resnet(8), with_dropout(tiny_resnet(8))], ids=["plain", "dropout"])
def test_units_in_turn_equal_sequential(backbone: Backbone, options: dict[str, Any]) -> None:
    one, other = (localize(backbone, DGL(), partition=equal_blocks(4)) for _ in range(2))
    loop, queue, source = Sequential(one, sgd), Queued(other, sgd, **options), feed(other)
    for batch, _ in zip(batches(one), range(4), strict=False):
        losses = loop.step(batch).losses
        ticks = [queue.tick(source) for _ in range(4)]
        assert {tick.unit: tick.losses for tick in ticks} == losses
    assert not changed(copy_of(one), copy_of(other))


def test_one_unit_equals_sequential_in_any_order() -> None:
    one, other = (localize(tiny_resnet(8), Backprop()) for _ in range(2))
    loop, queue, source = Sequential(one, sgd), Queued(other, sgd, buffer=2), feed(other)
    for batch, _ in zip(batches(one), range(3), strict=False):
        loop.step(batch)
        queue.tick(source)
    assert not changed(copy_of(one), copy_of(other))


def test_order_and_proportions() -> None:
    queue = Queued(small(), sgd, buffer=3, slowdown={2: 4.0})
    assert [queue.unit_at(tick) for tick in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    found = Counter(queue.unit_at(tick) for tick in range(8, 20008))
    for unit, share in enumerate([4 / 13, 4 / 13, 1 / 13, 4 / 13]):
        # Five standard deviations of a binomial.
        assert abs(found[unit] / 20000 - share) < 5 * (share * (1 - share) / 20000) ** 0.5
    other = Queued(small(seed=1), sgd, buffer=3, slowdown={2: 4.0})
    orders = [[some.unit_at(tick) for tick in range(8, 108)] for some in (queue, other)]
    assert orders[0] != orders[1]
    assert orders[0] == [queue.unit_at(tick) for tick in range(8, 108)]


def test_a_slow_unit_makes_fewer_updates() -> None:
    net = small()
    queue, source = Queued(net, sgd, buffer=3, slowdown={2: 5.0}), feed(net)
    ticks = [queue.tick(source) for _ in range(160)]
    assert queue.counts == [Counter(tick.unit for tick in ticks)[unit] for unit in range(4)]
    assert sum(queue.counts) == 160 and {tick.did for tick in ticks} == {"learnt"}
    # 2 updates to start with, then one in 16 ticks.
    assert 2 * queue.counts[2] < min(queue.counts[unit] for unit in (0, 1, 3))
    assert queue.drawn == queue.counts[0]


def test_a_unit_that_finds_nothing_to_read_skips() -> None:
    net = small()
    queue, source = Queued(net, sgd, buffer=2, slowdown={0: 20.0}, max_reuse=2), feed(net)
    skips = 0
    for _ in range(60):
        before = copy_of(net)
        tick = queue.tick(source)
        if tick.did == "skipped":
            skips += 1
            assert (tick.terms, tick.samples) == ({}, 0)
            assert not changed(before, copy_of(net))
    assert sum(queue.skipped) == skips > 20
    assert queue.skipped[0] == 0
    assert sum(queue.counts) + skips == queue.ticks == 60
    # What a unit makes, the next one reads twice at most.
    assert all(later <= 2 * earlier for earlier, later in zip(queue.counts, queue.counts[1:], strict=False))


def test_the_learning_rate_follows_a_units_own_updates() -> None:
    net = small()
    queue, source = Queued(net, sgd, buffer=3, slowdown={1: 4.0}, lr=lambda update: 0.1 / (1 + update)), feed(net)
    for _ in range(40):
        tick = queue.tick(source)
        rate = queue.optimizers[tick.unit].param_groups[0]["lr"]
        assert rate == 0.1 / queue.counts[tick.unit]
    assert len(set(queue.counts)) > 1


def test_a_unit_that_has_learnt_enough_goes_on_forwarding() -> None:
    net = small()
    queue, source = Queued(net, sgd, buffer=3, slowdown={2: 3.0}, updates=4), feed(net)
    while not queue.done(0):
        queue.tick(source)
    pointer, before = queue.buffers[0].pointer, copy_of(net.units[0])
    ticks = [queue.tick(source)]
    while ticks[-1].unit != 0:
        ticks.append(queue.tick(source))
    assert (ticks[-1].did, ticks[-1].terms, ticks[-1].samples) == ("forwarded", {}, 8)
    assert queue.buffers[0].pointer == (pointer + 1) % 3
    sent = queue.buffers[0].batches[pointer]
    unit = net.units[0].eval()
    with torch.no_grad():
        assert sent.step is not None
        assert torch.equal(sent.x, unit(random_batch(net.backbone, seed=sent.step).x))
    while not queue.finished:
        queue.tick(source)
    assert queue.counts == [4] * 4
    # Weights, and statistics of BatchNorm too.
    assert not changed(before, copy_of(net.units[0]))
    assert queue.drawn > 4
    done = copy_of(net)
    assert {queue.tick(source).did for _ in range(20)} == {"forwarded"}
    assert not changed(done, copy_of(net))


@pytest.mark.parametrize("reset", [False, True])
def test_momentum_is_forgotten_when_the_learning_rate_drops(reset: bool) -> None:
    """Against plain SGD on the first unit; its fourth update is the first one at the lower rate."""
    net, other = small(), small()
    queue = Queued(net, sgd, buffer=0, lr=lambda update: 0.1 if update < 3 else 0.02, reset_optimizer=reset)
    unit, source = other.units[0], feed(net)
    optimizer = sgd(unit.parameters())
    for batch, update in zip(batches(other), range(5), strict=False):
        for _ in range(4):
            queue.tick(source)
        if update == 3:
            if reset:
                optimizer = sgd(unit.parameters())
            for group in optimizer.param_groups:
                group["lr"] = 0.02
        optimizer.zero_grad()
        loss, _ = unit.loss(unit(batch.x), batch)
        loss.backward()
        optimizer.step()
    assert not changed(copy_of(unit), copy_of(net.units[0]))


@pytest.mark.parametrize("reset", [False, True])
def test_the_first_order_is_taken_again_when_a_learning_rate_drops(reset: bool) -> None:
    net = small()
    queue = Queued(net, sgd, buffer=3, lr=lambda update: 0.1 if update < 5 else 0.02, reset_optimizer=reset)
    source = feed(net)
    while max(queue.counts) < 6:
        queue.tick(source)
    fell = queue.ticks
    order = [queue.tick(source).unit for _ in range(2)]
    following = [queue.unit_at(tick) for tick in range(fell + 2, fell + 8)]
    again = order == [0, 0] and following == [1, 1, 2, 2, 3, 3]
    assert again == reset
    # Then by draws, as ever.
    drawn = Queued(small(), sgd, buffer=3)
    later = range(fell + 8, fell + 40)
    assert [queue.unit_at(tick) for tick in later] == [drawn.unit_at(tick) for tick in later]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"home": "cpu", "max_reuse": 2, "quirk": True, "updates": 7},
        {"lr": lambda update: 0.1 / (1 + update // 2), "reset_optimizer": True},
    ],
)
def test_continued_from_a_state_bit_for_bit(options: dict[str, Any]) -> None:
    def make() -> tuple[LocalNetwork, Queued]:
        net = localize(with_dropout(tiny_resnet(8)), DGL(), partition=equal_blocks(4))
        net.to(memory_format=torch.channels_last)
        return net, Queued(net, torch.optim.SGD, buffer=3, slowdown={0: 3.0}, **options)

    def images(start: int) -> Callable[[], Batch]:
        source = feed(small(), start)

        def give() -> Batch:
            batch = source()
            return replace(batch, x=batch.x.to(memory_format=torch.channels_last))

        return give

    whole, queue = make()
    first = images(0)
    for _ in range(60):
        queue.tick(first)
    half, stopped = make()
    first = images(0)
    for _ in range(29):
        stopped.tick(first)
    resumed, again = make()
    resumed.load_state_dict(half.state_dict())
    plain, tensors = stopped.state()
    again.load_state(plain, {name: value.clone().contiguous() for name, value in tensors.items()})
    second = images(again.drawn)
    for _ in range(31):
        again.tick(second)
    assert not changed(copy_of(whole), copy_of(resumed))
    assert (again.counts, again.skipped, again.drawn) == (queue.counts, queue.skipped, queue.drawn)
    assert again.state()[0] == queue.state()[0]


class ReluFirst(nn.Module):
    """A layer that changes its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.conv(x.relu_())
        return out


def test_a_foreign_network_that_changes_its_input_in_place() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), ReluFirst(), nn.Flatten(), nn.Linear(4 * 64, 4))
    net = localize(model, DGL(), partition=equal_blocks(2), example=torch.zeros(2, 3, 8, 8))
    queue = Queued(net, sgd, buffer=2)
    source = feed(small())
    queue.tick(source), queue.tick(source)
    kept = [batch.x.clone() for batch in queue.buffers[0].batches]
    assert any((h < 0).any() for h in kept)
    queue.tick(source), queue.tick(source)
    assert queue.buffers[0].reads == [1, 1]
    assert all(torch.equal(*pair) for pair in zip(kept, (b.x for b in queue.buffers[0].batches), strict=True))


def test_what_a_buffer_keeps() -> None:
    """Labels, which the losses read; not the fields that they do not."""
    net = small()
    queue = Queued(net, sgd, buffer=2)
    queue.tick(feed(net))
    kept = queue.buffers[0].batches[0]
    assert kept.y is not None and not kept.x.requires_grad
    assert (kept.image, kept.views) == (None, None)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"buffer": -1}, "Queued: buffer must be a whole number of mini-batches, 0 or more, got -1."),
        ({"buffer": 2.0}, "Queued: buffer must be a whole number of mini-batches, 0 or more, got 2.0."),
        ({"max_reuse": 0}, "Queued: max_reuse must be a whole number of reads, 1 or more, got 0."),
        ({"order": "lifo"}, "Queued: order 'lifo' is unknown. There are: random, round_robin."),
        ({"home": "gpu"}, "Queued: home 'gpu' is unknown. Did you mean cpu?"),
        ({"slowdown": 2.0}, "Queued: slowdown must be {unit: factor}, such as {3: 2.0}, got 2.0."),
        ({"slowdown": {4: 2.0}}, "Queued: slowdown: there are units 0 to 3, got unit 4."),
        ({"slowdown": {1: 0.5}}, "Queued: slowdown: unit 1 can be slower by a factor of 1 or more, got 0.5."),
        (
            {"slowdown": {1: 2.0}, "buffer": 0},
            "Queued: slowdown: units that take turns are equally fast; give a buffer",
        ),
        ({"updates": 0}, "Queued: updates must be at least 1, got 0."),
        ({"reset_optimizer": True}, "Queued: reset_optimizer acts where the learning rate drops: give lr"),
        ({"precision": "half"}, "Queued: precision 'half' is unknown."),
        ({"optimizer": 3}, "Queued: optimizer must be a function of parameters, called once per unit, got int."),
        ({"optimizer": list}, "Queued: optimizer must return a torch.optim.Optimizer, got list."),
    ],
)
def test_what_cannot_be(options: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        Queued(small(), **{"optimizer": sgd, **options})


def test_several_problems_at_once() -> None:
    with pytest.raises(LocalgradError, match=r"Queued: buffer .*\nQueued: max_reuse"):
        Queued(small(), sgd, buffer=-1, max_reuse=0)


def test_a_unit_with_nothing_to_train() -> None:
    net = small()
    net.units[1].requires_grad_(False)
    with pytest.raises(LocalgradError, match=r"Queued: unit 'layer1\.0' has no parameter that requires a gradient"):
        Queued(net, sgd)


def test_batches_are_checked_before_anything_changes() -> None:
    net = small()
    queue, before = Queued(net, sgd), copy_of(net)
    good = random_batch(net.backbone)
    with pytest.raises(LocalgradError, match=r"Batch\.x: resnet8 expects \(B, 3, H, W\), got \(8, 1, 8, 8\)"):
        queue.tick(lambda: replace(good, x=good.x[:, :1]))
    with (
        torch.no_grad(),
        pytest.raises(LocalgradError, match=r"Queued\.tick trains: call it outside of torch\.no_grad"),
    ):
        queue.tick(lambda: good)
    assert (queue.ticks, queue.drawn) == (0, 0)
    assert not changed(before, copy_of(net))


def joined(objectives: int, index: int) -> LocalNetwork:
    """Four units, of which the second has a loss that updates so many, and belongs to the span ``index``."""
    backbone = tiny_resnet(8)
    specs = list(DGL(head="1c1f").units(backbone, equal_blocks(4)(backbone)))
    objective = replace(specs[1].objectives[0], reach=objectives)
    specs[1] = replace(specs[1], objectives=(objective,), index=index)
    return LocalNetwork(backbone, specs)


@pytest.mark.parametrize("runtime", [Queued, Greedy])
def test_units_that_cannot_train_apart(runtime: type[Queued] | type[Greedy]) -> None:
    runtime(joined(1, 1), sgd)
    with pytest.raises(LocalgradError, match=r"the units of this network are joined by cascades.* Use Sequential\."):
        runtime(joined(2, 1), sgd)
    with pytest.raises(LocalgradError, match=rf"^{runtime.__name__}: the units of this network are neuron groups"):
        runtime(joined(1, 0), sgd)
