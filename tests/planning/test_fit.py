"""What fits one device: the search by a made-up memory, and real counts of small networks."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch

from localgrad import LocalgradError, Precision, cost, localize
from localgrad.backbones import cifar_resnet
from localgrad.fitting import fit_memory
from localgrad.methods import DGL, GNDGL, AugLocal, Backprop, Checkpointing
from localgrad.planning import fit
from localgrad.planning.fit import Choice, limit_of, step_macs_ratio

from ..conftest import tiny_resnet

NETWORK = cifar_resnet(20, 4, width=0.5, image=(3, 8, 8))
"""10 blocks; the papers have no table for it."""


@dataclass
class Counted:
    """A memory that falls with the number of units; recomputation saves a third of it."""

    calls: int = 0

    def __call__(self, net) -> int:
        self.calls += 1
        again = net.units[0].spec.recompute is not None
        return (200 if again else 300) * 12 // (len(net.units) + 2)


@pytest.mark.parametrize(
    ("limit", "recompute", "modules", "again"),
    [
        (1200, None, 1, False),
        (1199, None, 1, True),
        (479, None, 4, True),
        (300, False, 10, False),
        (450, False, 6, False),
    ],
)
def test_the_fewest_modules(limit: int, recompute: bool | None, modules: int, again: bool) -> None:
    peak = Counted()
    found = fit(NETWORK, DGL(), limit, peak, recompute=recompute)
    assert (found.chosen.choice.modules, found.chosen.choice.recompute) == (modules, again)
    assert found.chosen.units == modules
    assert peak.calls == len([one for one in found.tried if one.peak is not None]) <= 10
    assert {one.choice.recompute for one in found.whole} == ({True, False} if recompute is None else {recompute})


def test_depth_is_kept_as_long_as_a_cut_fits() -> None:
    """AugLocal's joint tail: K modules of depth d are K - d + 1 units, at least 2."""
    found = fit(NETWORK, AugLocal(depth=3), 360, Counted(), recompute=False)
    assert (found.chosen.choice.modules, found.chosen.choice.method) == (10, AugLocal(depth=3))
    assert "leaves no local unit" in next(one.refused for one in found.tried if one.choice.modules == 2)
    found = fit(NETWORK, AugLocal(depth=3), 359, Counted(), recompute=False)
    assert (found.chosen.choice.modules, found.chosen.choice.method) == (10, AugLocal(depth=2))


def test_a_smaller_depth_is_said(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(cost, "memory", lambda net, *_, **__: SimpleNamespace(peak=Counted()(net)))
    deep, less = AugLocal(depth=3), AugLocal(depth=2)
    text = f"localize: modules='auto' takes {less!r} in 10 modules; with {deep!r} no cut stays below memory=359."
    for limit, said in ((360, []), (359, [text])):
        localize(NETWORK, deep, "auto", memory=limit, batch_size=4, recompute=False)
        assert caplog.messages == said


def test_what_cannot_recompute() -> None:
    found = fit(tiny_resnet(), GNDGL(fuse_groups=True), 10**9, Counted())
    assert not found.chosen.choice.recompute
    assert fit(NETWORK, Checkpointing(), 1200, Counted()).chosen.choice.modules == 1


def test_real_counts() -> None:
    """The network that is made stays below the limit, and one with fewer modules does not."""
    network = tiny_resnet()
    with torch.device("meta"):
        whole = cost.memory(localize(network, Backprop()), 64).peak
    limit = int(0.8 * whole)
    found = fit_memory(network, DGL(), limit, 64, recompute=False)
    assert found.chosen.peak is not None and found.chosen.peak <= limit
    assert found.whole[0].peak == whole
    net = localize(network, DGL(), "auto", memory=limit, batch_size=64, recompute=False, seed=3)
    assert (len(net.units), net.seed) == (found.chosen.units, 3)
    assert cost.memory(net, 64).peak == found.chosen.peak
    half = localize(network, DGL(), "auto", memory=limit, batch_size=64, recompute=False, precision=Precision.BFLOAT16)
    assert len(half.units) == 1


def test_macs_count_what_is_recomputed() -> None:
    """A second forward pass of some layers: more than once, at most four thirds."""
    plain, again = (step_macs_ratio(tiny_resnet(8), Choice(1, Backprop(), recompute)) for recompute in (False, True))
    assert plain == pytest.approx(1.0)
    assert 1.0 < again < 4 / 3


def test_a_foreign_network() -> None:
    layers = [
        torch.nn.Sequential(torch.nn.Conv2d(3 if k == 0 else 8, 8, 3, padding=1), torch.nn.ReLU()) for k in range(4)
    ]
    model = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3))
    example = torch.zeros(1, 3, 16, 16)
    whole = cost.memory(localize(model, Backprop(), example=example), 32).peak
    net = localize(model, DGL(max_hidden=8), "auto", memory=whole - 1, batch_size=32, recompute=False, example=example)
    assert len(net.units) > 1 and net.model is model
    assert cost.memory(net, 32).peak < whole


def test_nothing_fits() -> None:
    said = (
        r"memory: nothing fits 100\.00 B\. The smallest found takes 200\.00 B of live memory, with modules=10, "
        r"recompute=True\. Take a larger limit, a smaller batch or precision bfloat16\."
    )
    with pytest.raises(LocalgradError, match=said):
        fit(NETWORK, DGL(), 100, Counted())
    with pytest.raises(LocalgradError, match=r"modules=10, depth=2, recompute=False\. .* recompute=True or precision"):
        fit(NETWORK, AugLocal(depth=2), 100, Counted(), recompute=False)
    with pytest.raises(LocalgradError, match=r"modules=1, recompute=True\."):
        fit(NETWORK, Backprop(), 100, Counted())


@pytest.mark.parametrize(
    ("memory", "said"),
    [
        ("4 gigs", r"expected a number of bytes such as 4GiB or 500MB, got '4 gigs'"),
        (0, r"memory: expected a size such as '4GiB' or a number of bytes, got 0\."),
        (1.5, r"got 1\.5\."),
        (True, r"got True\."),
    ],
)
def test_limits_that_are_none(memory, said: str) -> None:
    with pytest.raises(LocalgradError, match=said):
        limit_of(memory)


def test_limits() -> None:
    assert [limit_of(size) for size in ("4GiB", "500MB", "1000", 7)] == [2**32, 500_000_000, 1000, 7]


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({"modules": "auto"}, r"modules='auto' needs the memory there is and the batch: memory='4GiB', batch_size=128"),
        ({"modules": "auto", "memory": "1GB"}, r"modules='auto' needs the memory there is"),
        ({"modules": 4, "memory": "1GB"}, r"memory='1GB' is for modules='auto', got modules=4\."),
        ({"batch_size": 4}, r"batch_size=4 is for modules='auto', got modules=None\."),
        (
            {"modules": "auto", "memory": "1GB", "batch_size": 4, "cuts": ["stem"]},
            r"modules='auto' finds where to cut: leave partition and cuts out\.",
        ),
        ({"modules": "auto", "memory": "1GB", "batch_size": 0}, r"batch_size must be a whole number of at least 1"),
        ({"modules": "auto", "memory": "1GB", "batch_size": 4, "recompute": "no"}, r"recompute must be True, False or"),
        (
            {"modules": "auto", "memory": "1GB", "batch_size": 4, "precision": "bf16"},
            r"precision 'bf16' is unknown\. .*bfloat16",
        ),
        ({"modules": "four"}, r"modules must be a whole number, got 'four'\."),
    ],
)
def test_bad_requests(keywords: dict, said: str) -> None:
    with pytest.raises(LocalgradError, match=said):
        localize(tiny_resnet(), DGL(), **keywords)
