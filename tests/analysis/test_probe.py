"""Linear probes against scikit-learn, and where the blocks stand."""

import pytest
import torch
from tests.conftest import tiny_resnet

from localgrad import equal_blocks, localize
from localgrad.analysis import BlockFeatures, block_features
from localgrad.analysis.knn import knn_top1
from localgrad.analysis.probe import Probes, block_places, fit_probes
from localgrad.data import Batches
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, GNDGL, AugLocal, Backprop
from localgrad.recipes import digits
from localgrad.train.setup import load_images

BACKBONE = tiny_resnet(image=(1, 8, 8), classes=10)


def loader(part: str) -> Batches:
    found = load_images(digits.dgl()).loader(
        "train" if part == "train" else "test",
        training=False,
        batch_size=500,
        seed=0,
        device=torch.device("cpu"),
        needs=frozenset(),
        views=None,
        channels_last=False,
        drop_last=False,
    )
    assert found is not None
    return found


@pytest.fixture(scope="module")
def splits() -> tuple[BlockFeatures, BlockFeatures]:
    """Features of the digits in a network with random weights."""
    net = localize(BACKBONE, DGL(), partition=equal_blocks(3))
    return block_features(net, loader("train")), block_features(net, loader("test"))


@pytest.fixture(scope="module")
def probes(splits: tuple[BlockFeatures, BlockFeatures]) -> Probes:
    return fit_probes(splits[0], classes=10)


def test_equals_logistic_regression_of_scikit_learn(
    splits: tuple[BlockFeatures, BlockFeatures], probes: Probes
) -> None:
    linear_model = pytest.importorskip("sklearn.linear_model")
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    train, test = splits
    assert probes.converged
    own = [probes.top1(split) for split in splits]
    for name in (BACKBONE.block_names[0], BACKBONE.block_names[-1]):
        scaler = preprocessing.StandardScaler().fit(train.blocks[name].numpy())
        theirs = linear_model.LogisticRegression(C=1.0, max_iter=1000)
        theirs.fit(scaler.transform(train.blocks[name].numpy()), train.labels_N.numpy())
        for split, found in zip(splits, own, strict=True):
            score = 100 * theirs.score(scaler.transform(split.blocks[name].numpy()), split.labels_N.numpy())
            assert found[name] == pytest.approx(score, abs=1)
        theirs_NK = torch.from_numpy(theirs.decision_function(scaler.transform(test.blocks[name].numpy()))).float()
        ours_NK = probes.blocks[name].logits(test.blocks[name])
        gap = ours_NK - ours_NK.mean(1, keepdim=True) - theirs_NK + theirs_NK.mean(1, keepdim=True)
        assert float(gap.abs().max()) < 0.05 * float(theirs_NK.abs().max())
    assert own[1][BACKBONE.block_names[0]] > 30  # chance is 10


def test_together_is_what_each_is_alone(splits: tuple[BlockFeatures, BlockFeatures], probes: Probes) -> None:
    name = BACKBONE.block_names[3]
    alone = fit_probes(BlockFeatures({name: splits[0].blocks[name]}, splits[0].labels_N), classes=10)
    found = [one.blocks[name].logits(splits[1].blocks[name]).softmax(1) for one in (alone, probes)]
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0.02)


def test_channels_without_variance_and_few_iterations() -> None:
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    labels = (x[:, 0] > 0).long()
    wide = torch.cat((x, torch.full((40, 1), 1e3 / 3)), 1)
    found = fit_probes(BlockFeatures({"a": wide, "dead": torch.zeros(40, 2)}, labels), classes=3)
    assert found.converged and float(found.blocks["a"].scale_D[3]) == 0
    probe = found.top1(BlockFeatures({"a": wide, "dead": torch.zeros(40, 2)}, labels))
    assert probe["a"] > 90 and probe["dead"] == pytest.approx(100 * float(labels.bincount().max()) / 40)
    assert not fit_probes(BlockFeatures({"a": wide}, labels), classes=2, iterations=1).converged


def test_places_of_blocks() -> None:
    names = BACKBONE.block_names
    assert [place.block for place in block_places(localize(BACKBONE, Backprop()))] == list(names)
    assert not any(place.border for place in block_places(localize(BACKBONE, Backprop())))
    net = localize(BACKBONE, DGL(), partition=equal_blocks(3))
    ends = [unit.span.stop - 1 for unit in net.unit_list()][:2]
    places = block_places(net)
    assert [index for index, place in enumerate(places) if place.border] == ends
    assert [place.units for place in places[: ends[0] + 1]] == [(net.unit_list()[0].name,)] * (ends[0] + 1)
    assert places[-1].units == (net.unit_list()[-1].name,)
    joint = localize(BACKBONE, AugLocal(2), partition=equal_blocks(7))
    assert [place.border for place in block_places(joint)] == [True] * 5 + [False] * 2
    grouped = block_places(localize(BACKBONE, GNDGL(groups=2), partition=equal_blocks(2)))
    assert len(grouped[0].units) == 2 and grouped[-1].border
    assert sum(place.border for place in grouped) == 2


def test_what_is_refused() -> None:
    x, labels = torch.randn(6, 2), torch.tensor([0, 1, 2, 0, 1, 2])
    with pytest.raises(LocalgradError, match="at least 2 classes, got 6 samples of 1"):
        fit_probes(BlockFeatures({"a": x}, labels * 0), classes=3)
    with pytest.raises(LocalgradError, match="labels from 0 to 1, got 0 to 2"):
        fit_probes(BlockFeatures({"a": x}, labels), classes=2)
    with pytest.raises(
        LocalgradError, match=r"c must be above 0 \(and finite\) and iterations at least 1, got nan and 5"
    ):
        fit_probes(BlockFeatures({"a": x}, labels), classes=3, c=float("nan"), iterations=5)
    with pytest.raises(LocalgradError, match="features of block a must be finite"):
        fit_probes(BlockFeatures({"a": x / 0}, labels), classes=3)
    with pytest.raises(LocalgradError, match=r"expected features \(N, D\) of block a, got \(6, 2, 1\)"):
        fit_probes(BlockFeatures({"a": x[..., None]}, labels), classes=3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="probes on a GPU need one, and there is none here")
def test_on_a_gpu(splits: tuple[BlockFeatures, BlockFeatures], probes: Probes) -> None:
    train, test = (
        BlockFeatures({name: x.cuda() for name, x in one.blocks.items()}, one.labels_N.cuda()) for one in splits
    )
    assert fit_probes(train, classes=10).top1(test) == pytest.approx(probes.top1(splits[1]), abs=1)
    assert knn_top1(train, test, classes=10) == pytest.approx(knn_top1(*splits, classes=10), abs=1)
