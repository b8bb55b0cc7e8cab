"""Accuracies equal those of a plain loop over the network."""

import pytest
import torch
import torch.nn.functional as F

from localgrad import Batch, LocalNetwork, localize
from localgrad.data import Loader, Split
from localgrad.methods import DGL, GNDGL, Backprop
from localgrad.train import evaluate
from tests.conftest import changed, copy_of, tiny_resnet


def loader(batch_size: int, count: int = 23, classes: int = 7) -> Loader:
    draw = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=draw)
    split = Split(images, torch.randint(0, classes, (count,), generator=draw))
    return Loader(split, mean=(0.5,) * 3, std=(0.3,) * 3, batch_size=batch_size, seed=0, device="cpu", shuffle=False)


def trained(classes: int = 7) -> LocalNetwork:
    net = localize(tiny_resnet(classes=classes), DGL())
    net.train()
    # Statistics that differ from a batch's own, so that a wrong mode shows.
    net(torch.randn(16, 3, 8, 8))
    return net


@pytest.mark.parametrize("batch_size", [23, 10, 4, 11])
def test_equal_to_a_plain_loop_also_over_a_short_last_batch(batch_size: int) -> None:
    net = trained()
    found = evaluate(net, loader(batch_size))
    data = loader(23).batch(0, 0)
    assert data.y is not None
    net.eval()
    with torch.no_grad():
        logits = net(data.x)
    order = logits.argsort(1, descending=True)
    assert found.samples == 23
    assert found.top1 == pytest.approx(100 * (order[:, 0] == data.y).double().mean().item(), abs=1e-9)
    assert found.top5 == pytest.approx(100 * (order[:, :5] == data.y[:, None]).any(1).double().mean().item(), abs=1e-9)
    assert found.loss == pytest.approx(F.cross_entropy(logits, data.y).item(), rel=1e-5)
    assert 0 < found.top1 < found.top5 < 100


def test_every_unit_is_judged_by_its_own_head() -> None:
    net = trained()
    found = evaluate(net, loader(10))
    data = loader(23).batch(0, 0)
    net.eval()
    h, expected = data.x, {}
    with torch.no_grad():
        for index, unit in enumerate(net.unit_list()):
            h = unit.body(h)
            right = unit.outputs(h)["task"]["logits"].argmax(1) == data.y
            expected[index] = pytest.approx(100 * right.double().mean().item(), abs=1e-9)
    assert found.units == expected
    assert len(set(found.units.values())) > 1
    assert found.units[len(expected) - 1] == found.top1


def test_ensembles_beside_the_networks_own_accuracy() -> None:
    net = localize(tiny_resnet(classes=7), GNDGL(), 7)
    net.train()
    net(torch.randn(16, 3, 8, 8))
    found, data = evaluate(net, loader(10)), loader(23).batch(0, 0)
    net.eval()
    with torch.no_grad():
        expected = {
            mode: pytest.approx(100 * (net.ensemble(data.x, mode).argmax(1) == data.y).double().mean().item())
            for mode in ("layerwise", "last")
        }
    assert found.ensemble == found.row()["ensemble"] == expected
    assert len(found.units) == len(net.units) == 15
    assert found.units[14] == found.top1


def test_backprop_has_one_head() -> None:
    found = evaluate(localize(tiny_resnet(), Backprop()), loader(10, classes=4))
    assert found.units == {0: found.top1}
    assert "ensemble" not in found.row()
    assert found.top5 == 100.0  # four classes


@pytest.mark.parametrize("mode", [True, False])
def test_nothing_is_changed(mode: bool) -> None:
    net = trained().train(mode)
    before = copy_of(net)
    evaluate(net, loader(10))
    assert changed(before, copy_of(net)) == set()
    assert net.training is mode
    assert all(module.training is mode for module in net.modules())
    assert all(unit.training is mode for unit in net.units)


def test_what_the_caller_raises_between_batches_ends_it() -> None:
    net = trained().train()
    seen: list[Batch] = []

    def stop() -> None:
        seen.append(loader(10).batch(0, 0))
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(net, loader(10), before_batch=stop)
    assert net.training
