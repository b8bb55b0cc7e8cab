"""PredSim in its two frameworks: what the units are, how they start, that they train as written by hand."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from localgrad import Backbone, Batch, LocalgradError, LocalNetwork, Sequential, Span, audit, cost, localize
from localgrad.auxnets import PooledDecoder, SimilarityNet, conv_linear_macs
from localgrad.backbones import cifar_resnet, imagenet_vgg, predsim_vgg, resnet32, vgg8b
from localgrad.losses import SimilarityMatching, cross_entropy, similarity_matrix
from localgrad.methods import MLAAN, AugLocal, Backprop, PredSim
from localgrad.partition import Explicit, equal_blocks
from localgrad.spec import Partition
from localgrad.train import Adam

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet


def tiny_vgg(**keywords: Any) -> Backbone:
    """Three convolutions and the hidden layer of 1024."""
    return predsim_vgg((4, "M", 8, 6), num_classes=4, image=(3, 8, 8), **keywords)


def weights(net: LocalNetwork) -> list[dict[str, float]]:
    return [{objective.name: objective.weight for objective in unit.spec.objectives} for unit in net.unit_list()]


@pytest.mark.parametrize(
    ("method", "local", "last"),
    [
        (PredSim(beta=0.75), {"sim": 0.75, "pred": 0.25}, 0.25),
        (PredSim("sim"), {"sim": 1.0}, 1.0),
        (PredSim("pred"), {"pred": 1.0}, 1.0),
        (PredSim(beta=0.75, framework="blockwise"), {"sim": 0.75, "pred": 0.25}, 1.0),
        (PredSim("pred", framework="blockwise"), {"pred": 1.0}, 1.0),
        (PredSim("sim", framework="blockwise"), {"sim": 1.0}, 1.0),
    ],
)
def test_weights_of_the_losses(method: PredSim, local: dict[str, float], last: float) -> None:
    *hidden, output = weights(localize(tiny_resnet(), method))
    assert all(own == local for own in hidden)
    assert output == {"task": last}


def test_layerwise_units() -> None:
    """Every layer, the hidden one among them, and the classifier by itself."""
    net = localize(tiny_vgg(), PredSim())
    assert [(unit.name, len(unit.span)) for unit in net.unit_list()] == [
        ("conv0", 1), ("conv1", 1), ("conv2", 1), ("fc", 1), ("head", 0),
    ]  # fmt: skip
    shapes = [(4, 8, 8), (8, 4, 4), (6, 4, 4), (1024,)]
    for unit, shape in zip(net.unit_list(), shapes, strict=False):
        sim, pred = unit.spec.objectives
        assert (sim.aux, sim.loss) == (SimilarityNet(shape), SimilarityMatching(4))
        assert (pred.aux, pred.loss) == (PooledDecoder(shape, 4, 4096, zero=True), cross_entropy)
    assert net.unit_list()[-1].aux is net.model.get_submodule("head")


def test_blockwise_units() -> None:
    """The last block trains with the classifier; 512 features, nothing starts at zero."""
    net = localize(resnet32(), PredSim(framework="blockwise"), 16)
    units = net.unit_list()
    assert [len(unit.span) for unit in units] == [1] * 16
    assert units[3].spec.objectives[1].aux == PooledDecoder((16, 32, 32), 10, 512)
    assert units[3].auxnets["pred"].fc.weight.all()
    assert net.model.get_submodule("head").fc.weight.all()


def test_default_features() -> None:
    backbone = vgg8b()
    features = [
        [
            unit.objectives[1].aux.max_features
            for unit in method.units(backbone, method.cut(backbone, None)(backbone))[:-1]
        ]
        for method in (PredSim(), PredSim(framework="blockwise"), PredSim(max_features=2048))
    ]
    assert [set(own) for own in features] == [{4096}, {512}, {2048}]


@pytest.mark.parametrize("framework", ["layerwise", "blockwise"])
def test_partition_decides_who_trains_the_classifier(framework: Any) -> None:
    method = PredSim(framework=framework)
    joint = localize(tiny_resnet(), method, partition=equal_blocks(3))
    alone = localize(tiny_resnet(), method, partition=Explicit(("stem", "layer3.1")))
    assert [len(unit.span) for unit in joint.unit_list()] == [3, 2, 2]
    assert [len(unit.span) for unit in alone.unit_list()] == [1, 6, 0]
    assert weights(joint)[-1] == {"task": 1.0}
    assert weights(alone)[-1] == {"task": 1.0 if framework == "blockwise" else 1 - 0.99}


def test_modules_count_hidden_modules() -> None:
    assert len(localize(resnet32(), PredSim(), 4).units) == 5
    assert len(localize(resnet32(), PredSim(framework="blockwise"), 4).units) == 4
    assert len(localize(resnet32(), PredSim()).units) == 17
    assert len(localize(resnet32(), PredSim(), 1).units) == 1


def test_what_starts_at_zero() -> None:
    """Layer-wise: weights of the classifier and of the decoders, no bias; all else starts as in backpropagation."""
    backbone = tiny_vgg()
    ours, plain = localize(backbone, PredSim()), localize(backbone, Backprop())
    assert changed(copy_of(ours.model), copy_of(plain.model)) == {"head.fc.weight"}
    zeros = {name for name, parameter in ours.named_parameters() if not parameter.any() and ".bn." not in name}
    decoders = {f"aux.{name}.pred.fc.weight" for name in ("conv0", "conv1", "conv2", "fc")}
    assert zeros == {"model.head.fc.weight", *decoders}
    for cut in (equal_blocks(1), equal_blocks(2)):
        joint = localize(backbone, PredSim(), partition=cut)
        assert not changed(copy_of(joint.model), copy_of(plain.model))


def test_a_deep_classifier_keeps_its_hidden_layers() -> None:
    """Only the output layer starts at zero: behind hidden layers of zeros nothing would ever learn."""
    backbone = imagenet_vgg(11, 4, 1 / 16, (3, 32, 32), hidden=8, dropout=0.0)
    net = localize(backbone, PredSim("pred"))
    head = net.model.get_submodule("head")
    zeros = {name for name, parameter in head.named_parameters() if name.endswith("weight") and not parameter.any()}
    assert zeros == {"fc3.weight"}
    before = copy_of(head)
    loop = Sequential(net, sgd)
    for index in range(2):
        loop.step(random_batch(backbone, seed=index))
    assert {"fc1.weight", "fc2.weight", "fc3.weight"} <= changed(before, copy_of(head))


def test_auxiliary_networks_start_by_their_own_rule_where_there_is_one() -> None:
    """ImageNet's VGGs draw their own linear layers from N(0, 0.01), and not those of auxiliary networks."""
    backbone = imagenet_vgg(11, 4, 1 / 16, (3, 32, 32), hidden=64)
    for method in (PredSim(framework="blockwise"), MLAAN(cascade=1)):
        net = localize(backbone, method)
        assert float(net.model.get_submodule("head").fc2.weight.detach().std()) < 0.012
        linear = [p.detach() for p in net.aux.parameters() if p.ndim == 2]
        assert linear
        assert all(float(p.std()) > 0.02 for p in linear)


def test_similarity_branch_starts_as_its_framework_has_it() -> None:
    """PyTorch's uniform numbers are bounded by 1/sqrt(fan in); the papers' normal ones are not."""
    for framework, bounded in (("layerwise", True), ("blockwise", False)):
        net = localize(tiny_resnet(), PredSim(framework=framework))
        weight = net.unit_list()[2].auxnets["sim"].layer.weight
        assert (float(weight.detach().abs().max()) <= weight[0].numel() ** -0.5) == bounded


def by_hand(net: LocalNetwork, make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer], beta: float) -> Any:
    """A layer-wise training step as one would write it without localgrad."""
    units = net.unit_list()
    optimizers = [make(list(unit.parameters())) for unit in units]
    net.train()

    def step(batch: Batch, pieces: list[int]) -> None:
        for x, y in zip(batch.x.split(pieces), batch.y.split(pieces), strict=True):
            h, share = x, len(x) / len(batch.x)
            one_hot = torch.eye(net.backbone.num_classes, dtype=x.dtype)[y]
            for unit in units[:-1]:
                h = unit.body(h.detach())
                similarity = similarity_matrix(unit.auxnets["sim"].layer(h)) - similarity_matrix(one_hot)
                ce = F.cross_entropy(unit.auxnets["pred"](h), y)
                (share * (beta * similarity.square().mean() + (1 - beta) * ce)).backward()
            (share * (1 - beta) * F.cross_entropy(units[-1].aux(h.detach()), y)).backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()

    return step


@pytest.mark.parametrize("pieces", [[8], [3, 3, 2]])
@pytest.mark.parametrize("backbone", [tiny_vgg(nonlinearity="leaky_relu"), tiny_resnet()], ids=lambda b: b.name)
def test_layerwise_training_by_hand(backbone: Backbone, pieces: list[int]) -> None:
    """Adam on every layer, several steps, also with gradients accumulated over parts."""
    method = PredSim(beta=0.9)
    ours, theirs = (localize(backbone, method).double() for _ in range(2))
    loop = Sequential(ours, Adam(lr=5e-4), accumulate=len(pieces))
    step = by_hand(theirs, Adam(lr=5e-4), beta=0.9)
    before = copy_of(ours)
    for index in range(3):
        batch = random_batch(backbone, seed=index, dtype=torch.float64)
        loop.step(batch)
        step(batch, pieces)
    after, expected = copy_of(ours), copy_of(theirs)
    assert changed(before, after) == set(before)
    for name, value in after.items():
        # A convolution's bias in front of BatchNorm has a gradient of rounding noise, which Adam divides by its 1e-8.
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-10, msg=name)


def test_losses_by_name() -> None:
    net = localize(tiny_resnet(), PredSim())
    losses = Sequential(net, sgd).step(random_batch(net.backbone)).losses
    assert [list(terms) for terms in losses.values()] == [["sim.similarity", "pred.ce"]] * 7 + [["ce"]]
    assert losses[0]["pred.ce"] == pytest.approx(torch.tensor(4.0).log().item(), abs=0.1)
    single = localize(tiny_resnet(), PredSim("sim"))
    assert list(Sequential(single, sgd).step(random_batch(net.backbone)).losses[0]) == ["similarity"]


@pytest.mark.parametrize("loss", ["predsim", "pred", "sim"])
@pytest.mark.parametrize("framework", ["layerwise", "blockwise"])
def test_learns(loss: Any, framework: Any) -> None:
    """On a network that normalises a vector, drops features, and on one batch: every loss falls."""
    backbone = tiny_vgg(dropout=0.05)
    net = localize(backbone, PredSim(loss, framework=framework))
    loop = Sequential(net, Adam(lr=2e-3))
    y = torch.arange(16) % 4
    x = torch.randn(16, 3, 8, 8) + y.view(-1, 1, 1, 1)
    losses = [loop.step(Batch(x, y)).losses for _ in range(15)]
    for unit, terms in losses[0].items():
        for name, value in terms.items():
            assert losses[-1][unit][name] < 0.9 * value, (unit, name)


def test_dropout_stands_behind_the_loss() -> None:
    """What a layer's loss sees is not dropped: two steps' draws give its first layer one loss."""
    net = localize(tiny_vgg(dropout=0.5), PredSim())
    batch = random_batch(net.backbone)
    losses = [
        Sequential(net, lambda p: torch.optim.SGD(p, lr=0.0)).step(replace(batch, step=step)).losses for step in (0, 1)
    ]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_audit_and_costs() -> None:
    net = localize(tiny_vgg(), PredSim())
    found = audit(net, random_batch(net.backbone))
    assert found.ok and found.local and not found.dead
    assert all(found.labels)
    assert [sum(row) for row in found.reach] == [1] * 5
    assert cost.memory(net, batch_size=4).peak > 0
    assert cost.macs(net).total > cost.macs(net).inference
    assert cost.macs(net, count="torch").total > 0


def test_foreign_network() -> None:
    """A network of somebody else's, vectors at its end: weights stay as they are, units train."""
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 5, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(20, 4),
    )  # fmt: skip
    before = copy_of(model)
    for framework in ("layerwise", "blockwise"):
        net = localize(model, PredSim(framework=framework), 2, example=torch.zeros(1, 3, 8, 8))
        assert not changed(before, copy_of(model))
        assert len(net.units) == (3 if framework == "layerwise" else 2)
    losses = Sequential(net, sgd).step(random_batch(net.backbone)).losses
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in losses.values())
    assert changed(before, copy_of(model)) == set(before)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"loss": "predsims"}, r"PredSim: loss 'predsims' is unknown\. Did you mean predsim"),
        ({"framework": "infopro"}, r"PredSim: framework 'infopro' is unknown\. There are: blockwise, layerwise\."),
        ({"beta": 1.01}, r"PredSim: beta is the share of similarity matching and must be between 0 and 1, got 1\.01"),
        ({"beta": -0.1}, r"must be between 0 and 1, got -0\.1"),
        ({"beta": float("nan")}, "must be between 0 and 1, got nan"),
        ({"beta": "0.5"}, r"must be between 0 and 1, got '0\.5'"),
        ({"max_features": 0}, "max_features must be a whole number of at least 1, or None for 4096 layer-wise and 512"),
        ({"max_features": 2.5}, r"max_features must be .*, got 2\.5"),
    ],
)
def test_what_cannot_be(arguments: dict[str, Any], text: str) -> None:
    with pytest.raises(LocalgradError, match=text):
        PredSim(**arguments)


def test_beta_at_its_ends() -> None:
    """One branch of weight 0 still runs, and leaves its parameters where they are."""
    for beta, still in ((0.0, "sim"), (1.0, "pred")):
        net = localize(tiny_resnet(), PredSim(beta=beta, framework="blockwise"))
        before = copy_of(net)
        Sequential(net, lambda p: torch.optim.SGD(p, lr=0.1)).step(random_batch(net.backbone))
        same = before.keys() - changed(before, copy_of(net))
        assert {name for name in same if name.startswith("aux.")} == {
            name for name, _ in net.named_parameters() if f".{still}." in name
        }


@pytest.mark.parametrize("loss", ["predsim", "sim"])
@pytest.mark.parametrize(("rows", "accumulate"), [(1, 1), (3, 2), (2, 2)])
def test_one_image_has_no_pair(loss: Any, rows: int, accumulate: int) -> None:
    """Said before any unit has learnt."""
    net = localize(cifar_resnet(8, 3, 0.5, (1, 8, 8)), PredSim(loss))
    before = copy_of(net)
    batch = Batch(torch.randn(rows, 1, 8, 8), torch.arange(rows))
    text = r"Batch: the loss 'sim' of unit 'stem' compares the images .* one image\. Give at least two images per part"
    with pytest.raises(LocalgradError, match=text):
        Sequential(net, sgd, accumulate=accumulate).step(batch)
    assert not changed(before, copy_of(net))


def test_one_image_is_enough_for_classifiers() -> None:
    net = localize(cifar_resnet(8, 3, 0.5, (1, 8, 8)), PredSim("pred"))
    assert len(Sequential(net, sgd).step(Batch(torch.randn(1, 1, 8, 8), torch.tensor([2]))).losses) == 5


def test_labels_that_no_class_has() -> None:
    net = localize(tiny_resnet(), PredSim())
    batch = replace(random_batch(net.backbone), y=torch.full((8,), 4))
    with pytest.raises(LocalgradError, match=r"Batch\.y: labels must be in 0\.\.3, got 4\.\.4"):
        Sequential(net, sgd).step(batch)


def test_neuron_groups_and_sequences_are_refused() -> None:
    backbone = tiny_resnet()
    grouped = Partition((Span(0, 3, (4, 4)), Span(3, 7)))
    with pytest.raises(LocalgradError, match="trains spans whole, got spans with neuron groups"):
        localize(backbone, PredSim(), partition=grouped)
    with pytest.raises(LocalgradError, match=r"unit 'attention' has an output of shape \(16, 8\) per sample"):
        PredSim().objectives((16, 8), 4, "attention")


def test_modules_that_no_table_has() -> None:
    with pytest.raises(LocalgradError, match=r"has 1, 2, 3, 4, 8, 16\)\. Take one of these"):
        localize(resnet32(), PredSim(), 7)


@pytest.mark.parametrize("depth", [2, 4])
def test_classifiers_as_expensive_as_auglocals(depth: int) -> None:
    """On AugLocal's units, within a channel's cost; the similarity branch does not count."""
    other = AugLocal(depth=depth)
    method, backbone = PredSim(framework="blockwise", match=other), resnet32()
    cut = method.cut(backbone, 16)(backbone)
    units, expected = method.units(backbone, cut), other.units(backbone, cut)
    assert [unit.span for unit in units] == [unit.span for unit in expected]
    for ours, theirs in zip(units[:-1], expected[:-1], strict=True):
        shape = backbone.shapes()[ours.span.stop - 1]
        sim, pred = ours.objectives
        assert sim.aux == SimilarityNet(shape)
        target = conv_linear_macs(theirs.objectives[0].aux, shape)
        assert conv_linear_macs(pred.aux, shape) == pytest.approx(target, abs=9 * prod(shape))


def test_matched_classifiers_train() -> None:
    net = localize(tiny_resnet(), PredSim(framework="blockwise", match=AugLocal(depth=2)))
    assert len(net.units) == 6
    before = copy_of(net)
    Sequential(net, sgd).step(random_batch(net.backbone))
    assert changed(before, copy_of(net)) == set(before)


@pytest.mark.parametrize("arguments", [{"framework": "layerwise"}, {"framework": "blockwise", "loss": "sim"}])
def test_what_cannot_be_matched(arguments: dict[str, Any]) -> None:
    with pytest.raises(LocalgradError, match="match enlarges the local classifiers of framework='blockwise' with loss"):
        PredSim(**arguments, match=AugLocal(depth=2))


def test_rectangular_maps_and_one_channel() -> None:
    """On one channel, not square, not a power of two."""
    backbone = cifar_resnet(8, 3, 0.25, (1, 7, 10))
    net = localize(backbone, PredSim(max_features=20))
    losses: dict[int, dict[str, float]] = Sequential(net, sgd).step(random_batch(backbone)).losses
    assert all(torch.tensor(list(terms.values())).isfinite().all() for terms in losses.values())
    maps: list[Tensor] = [unit.auxnets["pred"].fc.weight for unit in net.unit_list()[:-1]]
    assert all(weight.shape[1] <= 20 for weight in maps)
