"""Which segments are recomputed: sizes of pieces, the least memory, no more recomputation than needed."""

from collections import OrderedDict
from itertools import combinations, pairwise

import pytest
import torch
from torch import Tensor, nn

from localgrad import LocalgradError, Sequential, cost, localize
from localgrad.backbones import cifar_resnet
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, Backprop, Checkpointing, PredSim
from localgrad.partition import from_sizes
from localgrad.recompute import Segment
from localgrad.segments import Piece, Tape, layers_of, pieces_of

from .conftest import changed, copy_of, random_batch, sgd, tiny_resnet

MAP = 2 * 4 * 4 * 4 * 4
"""Bytes of two samples of 4 channels of 4x4 in float32."""


def conv_bn_relu(channels: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


def sizes(piece: Piece) -> tuple[int, int, int, int]:
    """Entering, kept, made again, largest; the few numbers of a BatchNorm left out."""
    return tuple(round(value / MAP) for value in (piece.entering, piece.kept, piece.again, piece.largest))


def test_pieces_of_layers() -> None:
    """A convolution's output is kept by BatchNorm; a ReLU in place need not be recomputed; BatchNorm makes no piece."""
    module = nn.Sequential(conv_bn_relu(), conv_bn_relu(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    pieces, out = pieces_of(module, (4, 4, 4), torch.float32)
    first, second, last = pieces
    assert [type(layer) for layer in first.layers] == [nn.Conv2d, nn.BatchNorm2d]
    assert [type(layer) for layer in first.trailing] == [nn.ReLU]
    assert sizes(first) == (1, 1, 0, 1)
    # A layer behind the ReLU that cannot be left out makes the ReLU one that is recomputed, and its output is kept.
    assert [type(layer) for layer in second.layers][2:] == [nn.ReLU, nn.AdaptiveAvgPool2d, nn.Flatten]
    assert sizes(second) == (1, 2, 0, 1) and second.trailing == ()
    assert last.layers == (module[4],) and last.entering == 2 * 4 * 4
    assert out == (3,)


def test_pieces_of_a_residual_block() -> None:
    block = tiny_resnet().blocks[1].build()
    front, back = pieces_of(block, (8, 4, 4), torch.float32)[0]
    # The first ReLU's output is what comes out, and made again.
    assert sizes(front) == (2, 2, 2, 2)
    # The block's input enters the second half as well, but it is there already.
    assert sizes(back) == (2, 2, 0, 2)
    assert back.trailing == (block.relu2,)


def test_nothing_is_changed_or_drawn_by_measuring() -> None:
    module = nn.Sequential(conv_bn_relu(), nn.Dropout(0.5)).eval()
    before, state = copy_of(module), torch.get_rng_state()
    pieces_of(module, (4, 4, 4), torch.float32)
    assert not changed(before, copy_of(module))
    assert torch.equal(state, torch.get_rng_state())
    assert not any(part.training for part in module.modules())


def test_a_sequential_with_hooks_stays_whole() -> None:
    hooked = conv_bn_relu()
    hooked.register_forward_hook(lambda *_: None)
    last = nn.ReLU()
    assert layers_of(nn.Sequential(hooked, nn.Sequential(last))) == [hooked, last]


def piece(entering: int, kept: int, chain: int = 0) -> Piece:
    return Piece((nn.Identity(),), (), entering, kept, 0, 0, chain)


def least_by_trying(pieces: list[Piece]) -> int:
    """All cuts into segments and a tail, one after another."""
    n, best = len(pieces), None
    for count in range(n + 1):
        for inner in combinations(range(n + 1), count):
            starts = sorted({0, *inner})
            for tail in starts:
                borders = [start for start in starts if start <= tail]
                segments = list(pairwise(borders))
                if any(pieces[a].chain != pieces[b - 1].chain for a, b in segments):
                    continue
                used, held = [], 0
                for start, stop in [*segments, (tail, n)]:
                    if start < stop:
                        held += pieces[start].entering
                        inside = sum(p.kept for p in pieces[start:stop]) + sum(
                            p.entering for p in pieces[start + 1 : stop]
                        )
                        used.append(held + inside)
                best = max(used) if best is None else min(best, max(used))
    assert best is not None
    return best


@pytest.mark.parametrize("seed", range(8))
def test_the_least_of_all_cuts(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    numbers = torch.randint(0, 20, (6, 2), generator=draw).tolist()
    pieces = [piece(entering, kept, chain=index // 4) for index, (entering, kept) in enumerate(numbers)]
    tape = Tape(tuple(pieces))
    assert tape.least() == least_by_trying(pieces)
    assert tape.cheapest(tape.least() - 1) is None


def test_no_more_than_needed_is_recomputed() -> None:
    tape = Tape(tuple(piece(1, 10) for _ in range(4)))
    assert tape.least() == 14  # three inputs, and the tail of one piece
    assert tape.cheapest(14) == (0, 1, 2, 3)
    assert tape.cheapest(100) == (0,)
    kept = tape.segments(100, 0)
    assert [segment.recomputed for segment in kept] == [False]
    assert Tape(tape.pieces, tail_from=4).cheapest(100)[-1] == 4


def recomputed(net) -> list[bool]:
    return [any(segment.recomputed for segment in unit.body_segments) for unit in net.unit_list()]


def test_only_where_it_lowers_the_peak() -> None:
    """The last units of a ResNet have small maps: all that they keep is less than the first ones need at least."""
    net = localize(cifar_resnet(20, 10), AugLocal(depth=3), 10, recompute=True)
    found = recomputed(net)
    assert found[0] and not found[-2]
    assert all(recomputed(localize(tiny_resnet(), MLAAN(), 7, recompute=True)))
    assert not any(recomputed(localize(tiny_resnet(), DGL())))


class Flips(nn.Module):
    """Changes its input in place before its convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, h: Tensor) -> Tensor:
        return self.conv(h.relu_())


def test_layers_that_change_their_input() -> None:
    module = nn.Sequential(Flips(), Flips(), conv_bn_relu())
    pieces = pieces_of(module, (4, 4, 4), torch.float32)[0]
    assert [one.in_place for one in pieces] == [True, False]
    assert len(pieces[0].layers) == 2  # the second may not begin a segment
    h = torch.randn(2, 4, 4, 4)
    results = []
    for copies in (False, True):
        x = h.clone().requires_grad_()
        entering = x.clone()
        segment = Segment(pieces[0].layers, recomputed=copies, copies=copies)
        out = torch.utils.checkpoint.checkpoint(segment, entering, use_reentrant=False) if copies else segment(entering)
        out.square().sum().backward()
        results.append({"out": out.detach(), "x": x.grad})
        if copies:
            assert torch.equal(entering, h)
    assert not changed(*results)


def test_a_network_of_such_layers() -> None:
    torch.manual_seed(1)
    layers = OrderedDict(
        a=nn.Conv2d(3, 4, 3, padding=1), b=Flips(), c=Flips(), pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(),
        fc=nn.Linear(4, 3),
    )  # fmt: skip
    results = []
    for recompute in (False, True):
        torch.manual_seed(1)
        for layer in layers.values():
            for part in layer.modules():
                if hasattr(part, "reset_parameters"):
                    part.reset_parameters()
        net = localize(nn.Sequential(layers), Backprop(), example=torch.zeros(1, 3, 8, 8), recompute=recompute)
        loop = Sequential(net, sgd)
        batch = random_batch(tiny_resnet(classes=3))
        results.append(([loop.step(batch).losses for _ in range(2)], copy_of(net)))
    assert results[0][0] == results[1][0]
    assert not changed(results[0][1], results[1][1])


class Residual(nn.Module):
    """A block that a foreign network recomputes as a whole: its output is made again beside the one that is held."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, h: Tensor) -> Tensor:
        out = self.bn(self.conv(h))
        out += h
        return self.relu(out)


def foreign(blocks: int) -> nn.Sequential:
    stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, stride=2), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)]
    return nn.Sequential(stem, *(Residual(8) for _ in range(blocks)), *head)


def peaks(network, method, sizes: list[int], **keywords) -> list[int]:
    """Live bytes of a step without and with recomputation."""
    found = []
    for recompute in (False, True):
        with torch.device("meta"):
            net = localize(network, method, partition=from_sizes(sizes, "by hand"), recompute=recompute, **keywords)
        found.append(cost.memory(net, 32).peak)
    return found


@pytest.mark.parametrize("sizes", [[3], [1, 2], [2, 1], [1, 1, 1]], ids=str)
@pytest.mark.parametrize("method", [DGL(max_hidden=4), DGL(head="1c2f")], ids=str)
def test_never_more_memory_in_foreign_networks(method, sizes: list[int]) -> None:
    with torch.device("meta"):
        model = foreign(2)
    plain, again = peaks(model, method, sizes, example=torch.zeros(1, 3, 16, 16, device="meta"))
    assert again <= plain


@pytest.mark.parametrize(
    ("method", "sizes"),
    [
        (DGL(), [1, 1, 2]),
        (DGL(), [1, 1, 1, 1]),
        (AugLocal(depth=2), [1, 1, 2]),
        (MLAAN(), [1, 1, 1, 1]),
        (GNDGL(), [1, 1, 2]),
        (PredSim(), [1, 1, 1, 1]),
    ],
    ids=lambda own: type(own).__name__,
)
def test_never_more_memory(method, sizes: list[int]) -> None:
    plain, again = peaks(tiny_resnet(8, image=(3, 16, 16)), method, sizes)
    assert again <= plain


@pytest.mark.parametrize(
    ("method", "recompute", "said"),
    [
        (DGL(), "yes", r"recompute must be True or False, got 'yes'\."),
        (
            Checkpointing(),
            True,
            r"unit 'layer3\.1' recomputes activations already, .* Leave recompute out, or",
        ),
        (
            GNDGL(fuse_groups=True),
            True,
            r"unit 'stem\.g0' belongs to neuron groups that run as one .* Leave one of",
        ),
    ],
)
def test_what_is_refused(method, recompute, said: str) -> None:
    with pytest.raises(LocalgradError, match=said):
        localize(tiny_resnet(), method, recompute=recompute)
