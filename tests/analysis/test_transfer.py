"""Judging logits on the labels of another set, against sums written out."""

import pytest
import torch
import torch.nn.functional as F
from tests.conftest import changed, copy_of, tiny_resnet

from localgrad import LocalgradError, LocalNetwork, localize
from localgrad.analysis.transfer import Judged, all_logits, judge, mapped_logits, raw_labels
from localgrad.data import ClassMap, Loader, Split, match_classes
from localgrad.methods import DGL, DGSSL, Backprop
from localgrad.train import evaluate

OWN = ("cat", "dog", "frog", "ship", "car", "bird", "deer")
OTHER = ("ship", "automobile", "dog", "monkey", "cat", "bird", "deer")


def loader(batch_size: int, classes: int = 7, count: int = 40) -> Loader:
    draw = torch.Generator().manual_seed(4)
    images = torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=draw)
    split = Split(images, torch.randint(0, classes, (count,), generator=draw))
    return Loader(split, mean=(0.5,) * 3, std=(0.3,) * 3, batch_size=batch_size, seed=0, device="cpu", shuffle=False)


@pytest.fixture(scope="module")
def net() -> LocalNetwork:
    torch.manual_seed(0)
    made = localize(tiny_resnet(8, classes=7), DGL())
    made.train()
    made(torch.randn(16, 3, 8, 8))  # statistics that differ from a batch's own
    return made


@pytest.fixture(scope="module")
def classes() -> ClassMap:
    return match_classes(OWN, OTHER, "here")


def test_ways(classes: ClassMap) -> None:
    assert classes.partners == (3, 4, 1, None, 0, 5, 6)
    assert all_logits(classes).compete == tuple(range(7)) and all_logits(classes).answers == classes.partners
    mapped = mapped_logits(classes)
    assert mapped.compete == (0, 1, 3, 4, 5, 6) and mapped.answers == (2, 3, 1, None, 0, 4, 5)
    assert raw_labels(classes).answers == tuple(range(7))
    with pytest.raises(LocalgradError, match="as many classes in both sets, got 7 of the network and 2 of the other"):
        raw_labels(match_classes(OWN, ("cat", "dog"), "here"))


@pytest.mark.parametrize("batch_size", [40, 7])
def test_equal_to_sums_written_out(net: LocalNetwork, classes: ClassMap, batch_size: int) -> None:
    ways = {"all": all_logits(classes), "mapped": mapped_logits(classes), "raw": raw_labels(classes)}
    found = judge(net, loader(batch_size), ways)
    data = loader(40).batch(0, 0)
    assert data.y is not None
    net.eval()
    heads, h = [], data.x
    with torch.no_grad():
        for unit in net.unit_list():
            h = unit.body(h)
            heads.append(unit.outputs(h)["task"]["logits"] if unit is not net.unit_list()[-1] else net(data.x))
    net.train()
    kept = [n for n, label in enumerate(data.y.tolist()) if label != 3]
    assert 0 < len(kept) < 40
    right = torch.tensor([(3, 4, 1, None, 0, 5, 6)[int(label)] for label in data.y[kept]])
    percent = lambda hits: pytest.approx(100 * hits.double().mean().item(), abs=1e-9)  # noqa: E731
    for index, logits in enumerate(heads):
        assert found["all"].units[index] == percent(logits[kept].argmax(1) == right)
        without_frog = logits[kept].clone()
        without_frog[:, 2] = -torch.inf
        assert found["mapped"].units[index] == percent(without_frog.argmax(1) == right)
        assert found["raw"].units[index] == percent(logits.argmax(1) == data.y)
    assert [found[way].samples for way in ways] == [len(kept), len(kept), 40]
    assert found["all"].top1 == found["all"].units[3] and len(found["all"].units) == 4
    best = heads[-1][kept].topk(5, 1).indices
    assert found["all"].top5 == percent((best == right[:, None]).any(1))
    assert found["all"].loss == pytest.approx(F.cross_entropy(heads[-1][kept], right).item(), rel=1e-5)
    masked = heads[-1][kept].clone()
    masked[:, 2] = -torch.inf
    assert found["mapped"].loss == pytest.approx(F.cross_entropy(masked, right).item(), rel=1e-5)
    weights = torch.tensor([1, 2, 4, 8]) / 15
    for way, hidden in (("all", []), ("mapped", [2])):
        votes = torch.zeros(len(kept), 7)
        for weight, logits in zip(weights, heads, strict=True):
            votes += weight * logits[kept].index_fill(1, torch.tensor(hidden, dtype=torch.int64), -torch.inf).softmax(1)
        assert found[way].ensemble["layerwise"] == percent(votes.argmax(1) == right)
    assert len({found[way].units[0] for way in ways}) > 1  # the ways do differ here


def test_the_same_classes_give_what_evaluation_gives(net: LocalNetwork) -> None:
    found = judge(net, loader(11), {"all": all_logits(match_classes(OWN, OWN, "here"))})["all"]
    own = evaluate(net, loader(11))
    assert found == Judged(own.top1, own.top5, found.loss, own.samples, own.units, own.ensemble)
    assert found.loss == pytest.approx(own.loss, rel=1e-6)
    assert found.row()["units"] == {str(unit): value for unit, value in own.units.items()}


def test_one_head_has_no_ensemble_and_nothing_changes(classes: ClassMap) -> None:
    made = localize(tiny_resnet(8, classes=7), Backprop()).train()
    before = copy_of(made)
    found = judge(made, loader(10), {"all": all_logits(classes)})["all"]
    assert found.ensemble == {} and "ensemble" not in found.row() and list(found.units) == [0]
    assert made.training and not changed(before, copy_of(made))


def test_refused(net: LocalNetwork) -> None:
    far = match_classes(OWN, ("x", "y", "cat", "dog"), "here")
    with pytest.raises(LocalgradError, match="all: the test split has no image of a class that the network knows"):
        judge(net, loader(10, classes=2), {"all": all_logits(far)})
    blind = localize(tiny_resnet(8), DGSSL(), 1)
    with pytest.raises(LocalgradError, match="judge: resnet8 learnt without labels and ends in features: probe it"):
        judge(blind, loader(10), {"all": all_logits(far)})
