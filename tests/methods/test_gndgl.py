"""GN-DGL: groups, what they see of each other, and what it refuses."""

import copy

import pytest
import torch

from localgrad import Batch, LocalgradError, LocalNetwork, Sequential, audit, cost, localize
from localgrad.auxnets import ConvFC
from localgrad.backbones import resnet32, vgg6a
from localgrad.losses import cross_entropy
from localgrad.methods import DGL, GNDGL, Backprop, PredSim
from localgrad.partition import Explicit, equal_blocks
from localgrad.runtime.units import step_units
from localgrad.spec import Partition, Span
from localgrad.testing import check_method
from localgrad.update import OptimizerUpdate

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet

NAIVE = {"share_features": False, "diversity": False}


def on_meta(backbone, method, modules=None, **keywords) -> LocalNetwork:
    with torch.device("meta"):
        return localize(backbone, method, modules, **keywords)


@pytest.mark.parametrize("method", [GNDGL(), GNDGL(**NAIVE), GNDGL(layerwise=True, groups=3)], ids=str)
def test_promises_of_every_method(method) -> None:
    check_method(method, without=("one module",))


def test_units() -> None:
    net = on_meta(resnet32(), GNDGL(), 4, groups=2)
    names = ["layer1.2.g0", "layer1.2.g1", "layer2.1.g0", "layer2.1.g1", "layer3.0.g0", "layer3.0.g1"]
    assert [unit.name for unit in net.units] == [*names, "layer3.4.g0", "layer3.4.g1", "head"]
    assert [(unit.spec.index, unit.spec.group) for unit in net.units][-3:] == [(3, 0), (3, 1), (4, 0)]
    assert net.units[0].span == Span(0, 4, (8, 8))
    assert net.units[-1].span == Span(16, 16)
    model = net.model
    for unit in net.units[2:4]:
        blocks = [model.get_submodule(f"{name}.g{unit.spec.group}") for name in ("layer1.3", "layer1.4", "layer2.0")]
        assert all(own is block for own, block in zip(unit.body, blocks, strict=False))
    # The first block of a module reads all channels, the next ones the group's own.
    assert [unit.body[0].conv1.weight.shape[1] for unit in net.units[2:4]] == [16, 16]
    assert [block.conv1.weight.shape[1] for block in net.units[2].body] == [16, 8, 8, 16]
    shortcut = on_meta(resnet32(), GNDGL(), 16).units[12].body[0].shortcut.conv
    assert shortcut.weight.shape == (16, 16, 1, 1)


@pytest.mark.parametrize(("width", "hidden"), [(1, 128), (2, 256)])
def test_auxiliary_networks(width: int, hidden: int) -> None:
    """methods.md 7.1: C -> 2C on all channels; without features C/G channels and hidden / G."""

    def aux(**options) -> ConvFC:
        return on_meta(resnet32(width=width), GNDGL(groups=4, **options), 2).units[4].spec.objectives[0].aux

    assert aux() == ConvFC(64 * width, 10, 128 * width, 2, hidden=hidden)
    assert aux(**NAIVE) == ConvFC(16 * width, 10, 32 * width, 2, hidden=hidden // 4)
    seen = 16 * width + 3 * 4 * width
    assert aux(detach_ratio=0.25) == ConvFC(seen, 10, 2 * seen, 2, hidden=hidden * seen // (64 * width))


def test_windows_spread_over_the_channels() -> None:
    """Each of the three groups that look at one sees other channels, until all are given out."""
    method = GNDGL(groups=4, detach_ratio=0.5)
    sizes = (6, 6, 6, 6)
    assert method.windows(sizes, 0) == ((0, 0), (0, 3), (3, 3), (0, 3))
    looks = {group: method.windows(sizes, group)[2] for group in (0, 1, 3)}
    assert looks == {3: (0, 3), 0: (3, 3), 1: (0, 3)}
    assert GNDGL().windows(sizes, 0) == ()


def test_what_a_group_sees() -> None:
    net = localize(tiny_resnet(), GNDGL(groups=4, detach_ratio=0.5), 7)
    unit = net.units[1]
    features = [torch.full((1, 2, 1, 1), float(g)) + torch.tensor([0.0, 0.5])[:, None, None] for g in range(4)]
    own = features[1].clone().requires_grad_()
    seen = unit.seen(own, features)
    # One channel of each other group: groups 0, 2 and 3 are looked at from place 0, 2 and 1 of the circle.
    assert seen.flatten().tolist() == [0.0, 1.0, 1.5, 2.0, 3.5]
    (gradient,) = torch.autograd.grad(seen.sum(), own)
    assert gradient.flatten().tolist() == [1.0, 1.0]


@pytest.mark.parametrize("options", [{}, {"detach_ratio": 0.5}, NAIVE], ids=str)
def test_a_loss_reaches_its_group_alone(options) -> None:
    net = localize(tiny_resnet(), GNDGL(**options), partition=Explicit(("layer1.1", "layer3.0")))
    batch = random_batch(net.backbone)
    found = audit(net, batch)
    assert found.ok
    assert found.reach == tuple(tuple(i == j for j in range(7)) for i in range(7))
    names = ("layer1.1.g0..g1", "layer3.0.g0..g1", "layer3.1.g0..g1")
    sent = tuple(f"features and logits between {name}" for name in names)
    assert found.sideways == (() if options == NAIVE else sent)

    # By hand: only group 0 of the second module learns.
    units, before = net.unit_list(), copy_of(net)
    updates = [OptimizerUpdate(torch.optim.SGD(unit.parameters(), lr=float(i == 2))) for i, unit in enumerate(units)]
    step_units(units, updates, batch)
    parameters = dict(net.named_parameters())
    names_changed = changed(before, copy_of(net)) & parameters.keys()
    own = set(map(id, units[2].parameters()))
    assert names_changed == {name for name, parameter in parameters.items() if id(parameter) in own}


def test_gradient_of_one_loss_for_other_groups_is_zero() -> None:
    net = localize(tiny_resnet(), GNDGL(), partition=Explicit(("layer1.1",)))
    batch = random_batch(net.backbone)
    units = net.unit_list()[:2]
    features = [unit(batch.x) for unit in units]
    outputs = units[0].outputs(features[0], features)
    others = units[1].outputs(features[1], features)["task"]["logits"].detach()[None]
    sums, _ = units[0].losses({name: {**out, "others": others} for name, out in outputs.items()}, batch)
    foreign = [*units[1].parameters()]
    gradients = torch.autograd.grad(sum(sums.values()), foreign, allow_unused=True)
    assert all(gradient is None for gradient in gradients)


def test_one_group_is_the_dgl_baseline() -> None:
    """methods.md 12, row 38: InfoPro's split, the last module trains with the classifier."""
    batch = random_batch(tiny_resnet())
    ours, dgl = (localize(tiny_resnet(), method, 7) for method in (GNDGL(groups=1), DGL(head="gndgl-1c2f")))
    assert [(unit.name, unit.span) for unit in ours.units] == [(unit.name, unit.span) for unit in dgl.units]
    # Hidden layers follow the width of the network, DGL's have 128.
    assert ours.units[0].aux.fc1.out_features == 64
    extra = on_meta(resnet32(), GNDGL(groups=1, extra_head=True), 4)
    assert [unit.name for unit in extra.units][-2:] == ["layer3.4", "head"]
    assert Sequential(ours, sgd).step(batch).losses.keys() == set(range(7))


def test_single_thread_is_a_thin_network() -> None:
    """K=1 without sharing: group 0 is a network of half the width, whatever the others do."""
    net = localize(tiny_resnet(), GNDGL(**NAIVE), partition=equal_blocks(1))
    thin = localize(tiny_resnet(), GNDGL(groups=1, extra_head=True), partition=equal_blocks(1))
    assert [unit.name for unit in net.units] == ["layer3.1.g0", "layer3.1.g1", "head"]
    alone = copy.deepcopy(net.unit_list()[0])
    batches = [random_batch(net.backbone, seed=index) for index in range(2)]
    loop, update = Sequential(net, sgd), OptimizerUpdate(sgd(alone.parameters()))
    for index, batch in enumerate(batches):
        terms = loop.step(batch).terms[0]
        _, own = alone.step(batch.x, Batch(batch.x, batch.y, step=index), update)
        assert torch.equal(own["ce"], terms["ce"])
    assert not changed(copy_of(alone), copy_of(net.units[0]))
    widths = [parameter.shape for parameter in alone.body.parameters()]
    assert [len(parameter) for parameter in thin.units[0].body.parameters()] == [2 * shape[0] for shape in widths]


@pytest.mark.parametrize(
    ("groups", "multiple", "sizes"),
    [
        (1, 1, [(), (), (), (), ()]),
        (2, 1, [(64,) * 2, (64,) * 4, (256,) * 2, (), ()]),
        (6, 1, [(22, 22) + (21,) * 4, (22,) * 4 + (21,) * 8, (86, 86) + (85,) * 4, (), ()]),
        (10, 1, [(13,) * 8 + (12,) * 2, (13,) * 16 + (12,) * 4, (52, 52) + (51,) * 8, (), ()]),
        (6, 2, [(43,) * 4 + (42,) * 2, (43,) * 8 + (42,) * 4, (171,) * 4 + (170,) * 2, (), ()]),
        (6, 3, [(64,) * 6, (64,) * 12, (256,) * 6, (), ()]),
    ],
)
def test_layerwise_vgg6a(groups: int, multiple: int, sizes) -> None:
    """Section 4.1: G, 2G, G groups of nearly equal size; conv4 and the hidden layer whole, the output decoupled."""
    net = on_meta(vgg6a(feat_mult=multiple), GNDGL(layerwise=True, **NAIVE), groups=groups)
    spans = list(dict.fromkeys(unit.span for unit in net.units))
    assert [span.groups for span in spans] == [*sizes, ()]
    assert net(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    if groups > 1:
        third = [unit for unit in net.units if unit.spec.index == 2]
        assert [unit.body[0].conv.weight.shape[:2] for unit in third] == [(n, 256 * multiple) for n in sizes[2]]
        assert {objective.name for objective in third[0].spec.objectives} == {"sim", "pred"}


def test_layerwise_with_stop_gradient_and_diversity() -> None:
    net = on_meta(vgg6a(), GNDGL(layerwise=True), groups=6)
    unit = net.units[3]
    sim, pred, penalty = unit.spec.objectives
    assert (sim.weight, pred.weight, penalty.weight) == (0.99, pytest.approx(0.01), 1.0)
    # Both branches see the whole layer.
    assert unit.auxnets["sim"].layer.weight.shape[:2] == (128, 128)
    assert penalty.aux is pred.aux
    assert unit.auxnets["diversity"] is unit.auxnets["pred"]
    assert net.units[-1].spec.objectives[0].weight == pytest.approx(0.01)
    plain = on_meta(vgg6a(), GNDGL(layerwise=True, signals=PredSim("pred")), groups=2)
    assert [objective.name for objective in plain.units[0].spec.objectives] == ["pred", "diversity"]


def test_weights_of_the_penalty() -> None:
    """methods.md 12, row 14: the released code's 0.5 with a joint gradient is 1.0 with detached logits."""
    assert GNDGL().penalty_weight == GNDGL(stop_grad=False).penalty_weight == 1.0
    assert GNDGL(diversity_weight=0.3).penalty_weight == 0.3
    assert GNDGL(stop_grad=False, diversity_weight=0.3).penalty_weight == 0.6


def test_final_head() -> None:
    net = localize(tiny_resnet(), GNDGL(final_head="1c2f"), 7)
    head = net.model.get_submodule("head")
    assert [name for name, _ in head.named_children()] == ["conv1", "pool", "fc1", "relu1", "fc2"]
    assert net.units[-1].aux is head
    assert net.units[-1].spec.objectives[0].loss is cross_entropy
    assert cost.macs(net).end_to_end == cost.macs(localize(tiny_resnet(), Backprop())).inference


def test_given_sizes() -> None:
    """A partition may bring sizes of its own; widths inside a module are cut in the same proportion."""
    spans = (Span(0, 5, (12, 4)), Span(5, 7))
    net = localize(tiny_resnet(), GNDGL(), partition=Partition(spans))
    assert [unit.name for unit in net.units] == ["layer2.1.g0", "layer2.1.g1", "layer3.1", "head"]
    assert [len(block.conv1.weight) for block in net.units[1].body[1:]] == [2, 2, 4, 4]
    Sequential(net, sgd).step(random_batch(net.backbone))


REFUSED = [
    (lambda: localize(resnet32(), GNDGL(), 2, groups=3), r"groups=3 does not divide layer 'stem' of resnet32, which has"
     r" 16 channels\. Possible for this network: 1, 2, 4, 8, 16\."),
    (lambda: localize(resnet32(), DGL(), 2, groups=2), r"groups=2: DGL trains every module whole.*methods\.GNDGL\(\)"),
    (lambda: localize(vgg6a(), GNDGL()), r"output of shape \(1024,\) per sample\. Take GNDGL\(layerwise=True\)"),
    (lambda: localize(vgg6a(), GNDGL(layerwise=True), 3), r"modules=3: .* makes every layer a module, and vgg6a has 5"),
    (lambda: localize(vgg6a(), GNDGL(layerwise=True, groups=200)), r"groups=200 cuts layer 'conv0' into 200, .* 128"),
    (lambda: localize(vgg6a(), GNDGL(layerwise=True), partition=equal_blocks(2)), r"got a span of 3 blocks"),
    (lambda: localize(tiny_resnet(), GNDGL(), partition=Partition((Span(0, 5, (6, 6)), Span(5, 7)))),
     r"groups \(6, 6\) of blocks 0 to 4 must be above 0 and have 16 channels together, those of 'layer2.1'"),
    (lambda: localize(tiny_resnet(), GNDGL(), partition=Partition((Span(0, 5, (13, 3)), Span(5, 7)))),
     r"do not cut layer 'stem', which has 8 channels, in the same proportion"),
    (lambda: GNDGL(groups=0), r"groups must be a whole number of at least 1, got 0"),
    (lambda: GNDGL(detach_ratio=1.5), r"detach_ratio .* between 0 and 1, got 1.5"),
    (lambda: GNDGL(detach_ratio="1"), r"detach_ratio must be a number, got '1'"),
    (lambda: GNDGL(temperature=None), r"temperature must be a number, got None"),
    (lambda: GNDGL(signals="predsim"), r"signals must be a PredSim\(\.\.\.\), got 'predsim'"),
    (lambda: GNDGL(temperature=0.0), r"temperature must be above 0"),
    (lambda: GNDGL(diversity_weight=-1.0), r"diversity_weight must be at least 0"),
    (lambda: GNDGL(final_head="fc"), r"final_head 'fc' is unknown"),
    (lambda: GNDGL(layerwise=True, extra_head=True), r"extra_head=True is of the multi-layer networks"),
    (lambda: GNDGL(layerwise=True, signals=PredSim("sim")), r"loss='sim' have none"),
    (lambda: GNDGL(layerwise=True, signals=PredSim(framework="blockwise")), r"framework='layerwise', got 'blockwise'"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "text"), REFUSED, ids=[text[:24] for _, text in REFUSED])
def test_refused(make, text: str) -> None:
    with torch.device("meta"), pytest.raises(LocalgradError, match=text):
        make()


def test_foreign_networks_have_no_groups() -> None:
    layers = [torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 4))
    with pytest.raises(LocalgradError, match=r"block '0' of .* is a WrappedBlock, which cannot be made by groups"):
        localize(model, GNDGL(), 2, example=torch.zeros(2, 3, 8, 8))
