"""Groups of a span run as one grouped convolution: equal to rounding to groups on their own."""

from dataclasses import replace

import pytest
import torch

from localgrad import LocalgradError, LocalNetwork, Sequential, localize
from localgrad.methods import GNDGL
from localgrad.partition import Explicit

from ..conftest import copy_of, random_batch, sgd, tiny_resnet, with_dropout

CUTS = {
    "every block": None,
    "long spans": Explicit(("layer1.1", "layer2.1", "layer3.1")),
    "one": Explicit(("layer3.1",)),
}


def pair(cut: str, **options) -> list[LocalNetwork]:
    """The network with groups on their own, and fused, in float64."""
    keywords = {"modules": 7} if CUTS[cut] is None else {"partition": CUTS[cut]}
    return [localize(tiny_resnet(), GNDGL(fuse_groups=fuse, **options), **keywords).double() for fuse in (False, True)]


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("options", [{}, {"groups": 4}, {"share_features": False, "diversity": False}], ids=str)
@pytest.mark.parametrize("cut", CUTS)
def test_losses_weights_and_buffers(cut: str, options, accumulate: int) -> None:
    nets = pair(cut, **options)
    assert [len(Sequential(net, sgd).fused_spans) > 0 for net in nets] == [False, True]
    loops = [Sequential(net, sgd, accumulate=accumulate) for net in nets]
    for index in range(2):
        batch = random_batch(nets[0].backbone, seed=index, dtype=torch.float64)
        one, other = (loop.step(batch).losses for loop in loops)
        for unit, terms in one.items():
            assert other[unit] == pytest.approx(terms, rel=1e-10, abs=1e-10)
    ours, theirs = map(copy_of, nets)
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=1e-10, atol=1e-10, msg=name)
    counted = [value.item() for name, value in theirs.items() if name.endswith("num_batches_tracked")]
    assert set(counted) == {2 * accumulate}


def test_one_convolution_for_all_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bodies of a fused span run no block of a single group, and every convolution once."""
    net = pair("long spans", groups=4, share_features=False, diversity=False)[1]
    seen: list[int] = []
    convolve = torch.nn.functional.conv2d

    def count(x, weight, *rest, **keywords):
        seen.append(rest[-1] if len(rest) == 5 else keywords.get("groups", 1))
        return convolve(x, weight, *rest, **keywords)

    monkeypatch.setattr(torch.nn.functional, "conv2d", count)
    Sequential(net, sgd).step(random_batch(net.backbone, dtype=torch.float64))
    # Three spans: 5, 4 + 1, 4 + 1 convolutions of bodies, and one of each of 4 auxiliary networks.
    assert len(seen) == 5 + 5 + 5 + 3 * 4
    # The stem, and what reads the span before: the first convolutions and shortcuts of layer2.0 and layer3.0.
    assert seen.count(4) == len(seen) - 3 * 4 - 1 - 2 - 2


def test_blocks_that_draw_are_refused() -> None:
    net = localize(with_dropout(tiny_resnet()), GNDGL(fuse_groups=True), 7)
    with pytest.raises(LocalgradError, match=r"fuse_groups: layer 'stem' \(ConvDropout\) cannot run as one grouped"):
        Sequential(net, sgd)


def test_groups_of_different_sizes_are_refused() -> None:
    method = GNDGL(fuse_groups=True)
    backbone = tiny_resnet()
    partition = method.grouped(backbone, Explicit(("layer1.1",))(backbone))
    uneven = replace(partition, spans=(replace(partition.spans[0], groups=(6, 2)), *partition.spans[1:]))
    with pytest.raises(LocalgradError, match=r"'stem' \(ConvBNReLU\) .* groups of \(6, 2\) channels: groups must"):
        Sequential(localize(backbone, method, partition=uneven), sgd)
