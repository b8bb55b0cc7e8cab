"""DGSSL and DGSSL-LLM: one module is SimCLR, local steps by hand, heads, splits, and every choice of pair selection."""

import copy
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import localgrad
from localgrad import Batch, LocalNetwork, Sequential, audit, equal_blocks, localize
from localgrad.auxnets import SelectingProjector
from localgrad.backbones import cifar_resnet50, resnet110, vgg6a, vgg16a, vgg19a
from localgrad.errors import LocalgradError
from localgrad.losses import cosines, nt_xent_loss, selective_nt_xent
from localgrad.methods import DGL, DGSSL, Backprop, Given, PairSelection, Running
from localgrad.runtime import Greedy, Queued
from localgrad.train import export_weights
from localgrad.unit import forward_units

from ..conftest import changed, copy_of, sgd, tiny_resnet

BACKBONE = tiny_resnet()
TEACHER = PairSelection(Given((0.5,) * 3, (0.4,) * 3), similarity="teacher", teacher_rate=0.9)


def batch_of(seed: int = 0, rows: int = 8, dtype: torch.dtype = torch.float32) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((rows, *BACKBONE.image), generator=generator).to(dtype)
    views = x.repeat_interleave(2, 0) + 0.5 * torch.randn((2 * rows, *BACKBONE.image), generator=generator).to(dtype)
    return Batch(x, views=views, step=seed)


def three(method: DGSSL, seed: int = 0) -> LocalNetwork:
    return localize(BACKBONE, method, partition=equal_blocks(3), seed=seed)


def test_one_module_is_a_plain_simclr_loop_bit_for_bit() -> None:
    def adam(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.Adam(parameters, lr=1e-3, weight_decay=1e-6)

    net = localize(BACKBONE, DGSSL(hidden=32, out=16), 1)
    encoder, projector = net.export(), copy.deepcopy(net.units[0].aux)
    loop = Sequential(net, adam)
    losses = [loop.step(batch_of(index)).terms[0]["nt_xent"] for index in range(5)]

    optimizer = adam([*encoder.parameters(), *projector.parameters()])
    encoder.train()
    projector.train()
    maps = torch.nn.Sequential(*[encoder.get_submodule(name) for name in BACKBONE.block_names])
    plain = []
    for index in range(5):
        optimizer.zero_grad()
        z = projector(maps(batch_of(index).views))["features"]
        loss = nt_xent_loss(z, 0.5)
        loss.backward()
        optimizer.step()
        plain.append(loss.detach())
    assert torch.equal(torch.stack(losses), torch.stack(plain))
    assert not changed(copy_of(net.export()), copy_of(encoder))
    assert not changed(copy_of(net.units[0].aux), copy_of(projector))
    assert losses[-1] < losses[0]


def test_modules_by_hand() -> None:
    """Algorithm 3: every module and its head by its own loss, on what the module before hands on."""
    ours, theirs = three(DGSSL()), three(DGSSL())
    loop, optimizers = Sequential(ours, sgd), [sgd(unit.parameters()) for unit in theirs.unit_list()]
    theirs.train()
    for index in range(3):
        batch = batch_of(index)
        losses = loop.step(batch).losses
        h = batch.views
        for place, (unit, optimizer) in enumerate(zip(theirs.unit_list(), optimizers, strict=True)):
            assert h is not None
            h = unit.body(h.detach())
            loss = nt_xent_loss(unit.aux(h)["features"])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert losses[place] == {"nt_xent": pytest.approx(loss.item(), rel=1e-6)}
    assert not changed(copy_of(ours), copy_of(theirs))


def test_forward_gives_features_and_the_export_too(tmp_path: Path) -> None:
    net = three(DGSSL()).eval()
    x = batch_of().x
    *_, (_, h, _) = forward_units(net.unit_list(), x)
    assert torch.equal(net(x), h.mean((2, 3)))
    assert not net.classifies and localize(BACKBONE, DGL()).classifies
    assert not [name for name in net.state_dict() if "head" in name]
    Sequential(net, sgd).step(batch_of())
    export_weights(net, tmp_path / "net.safetensors")
    loaded = localgrad.load(tmp_path / "net.safetensors")
    assert torch.equal(loaded(x), net.eval()(x))
    assert {type(part).__module__.partition(".")[0] for part in loaded.children()} == {"torch"}


def test_weights_are_those_of_the_network_whatever_the_method() -> None:
    with_labels = copy_of(localize(BACKBONE, Backprop()).model)
    for method in (DGSSL(), DGSSL(selection=TEACHER)):
        own = copy_of(three(method).model)
        assert own == {} or not changed({name: with_labels[name] for name in own}, own)


def test_copies_train_alike_and_apart() -> None:
    net = three(DGSSL(selection=replace(TEACHER, thresholds=Running())))
    Sequential(net, sgd).step(batch_of())
    twin = copy.deepcopy(net)
    for one in (net, twin):
        Sequential(one, sgd).step(batch_of(1))
    assert not changed(copy_of(net), copy_of(twin))
    before = copy_of(net)
    Sequential(twin, sgd).step(batch_of(2))
    assert not changed(before, copy_of(net))


def test_on_the_meta_device() -> None:
    with torch.device("meta"):
        net = three(DGSSL(selection=TEACHER))
        out = net(torch.empty(2, *BACKBONE.image))
    assert out.shape == (2, 32)
    assert {value.device.type for value in net.state_dict().values()} == {"meta"}


def test_accumulation_by_hand() -> None:
    """Views of a part are compared with each other only; the two of an image stay together."""
    ours, theirs = three(DGSSL()), three(DGSSL())
    batch = batch_of()
    losses = Sequential(ours, sgd, accumulate=2).step(batch).losses
    theirs.train()
    assert batch.views is not None
    sums = [0.0] * 3
    for piece in batch.views.split(8):
        h = piece
        for place, unit in enumerate(theirs.unit_list()):
            h = unit.body(h.detach())
            loss = nt_xent_loss(unit.aux(h)["features"])
            (loss / 2).backward()
            sums[place] += loss.item() / 2
    for unit in theirs.unit_list():
        sgd(unit.parameters()).step()
    assert [terms["nt_xent"] for terms in losses.values()] == pytest.approx(sums, rel=1e-6)
    assert not changed(copy_of(ours), copy_of(theirs))


@pytest.mark.parametrize(
    ("network", "blocks", "ks"), [(cifar_resnet50, 17, (1, 2, 3, 4, 8, 16)), (resnet110, 55, (1, 2, 3, 4, 8, 16))]
)
def test_the_splits_of_figure_a1(network: Any, blocks: int, ks: tuple[int, ...]) -> None:
    ends = {
        4: {"cifar_resnet50": ["layer2.0", "layer3.0", "layer3.4"], "resnet110": ["layer1.11", "layer2.7", "layer3.3"]}
    }
    with torch.device("meta"):
        backbone = network()
        assert len(backbone.blocks) == blocks
        for modules in ks:
            net = localize(backbone, DGSSL(), modules)
            assert len(net.units) == modules
            if modules in ends:
                assert [unit.name for unit in net.unit_list()][:-1] == ends[modules][backbone.name]


@pytest.mark.parametrize(("network", "modules"), [(vgg6a, 5), (vgg16a, 14), (vgg19a, 17)])
def test_layers_of_vggs(network: Any, modules: int) -> None:
    with torch.device("meta"):
        net = localize(network(), DGSSL(head="0c2f"))
        assert len(net.units) == modules
        assert net(torch.empty(2, 3, 32, 32)).shape == (2, 1024)
        aux = net.unit_list()[-1].aux(torch.empty(4, 1024))
    assert aux["features"].shape == (4, 128)


def test_heads() -> None:
    units = three(DGSSL(hidden=24, out=12)).unit_list()
    with_conv = [[name for name, _ in unit.aux.named_children()] for unit in units]
    assert with_conv == [["conv", "pool", "fc1", "bn1", "relu1", "fc2"]] * 2 + [["pool", "fc1", "bn1", "relu1", "fc2"]]
    assert (units[0].aux.conv.conv.out_channels, units[0].aux.conv.conv.stride) == (16, (2, 2))
    plain = three(DGSSL(head="0c2f", batch_norm=False, hidden=24, out=12)).unit_list()[0]
    assert [name for name, _ in plain.aux.named_children()] == ["pool", "fc1", "relu1", "fc2"]
    assert plain.aux(torch.randn(4, 8, 8, 8))["features"].shape == (4, 12)


def test_batch_norm_is_over_both_views() -> None:
    net = three(DGSSL())
    batch = batch_of()
    stem = net.unit_list()[0].body[0]
    Sequential(net, sgd).step(batch)
    mean = F.conv2d(batch.views, three(DGSSL()).unit_list()[0].body[0].conv.weight, padding=1).mean((0, 2, 3))
    torch.testing.assert_close(stem.bn.running_mean, 0.1 * mean)


def unit_losses(net: LocalNetwork, batch: Batch, choose: Any) -> list[float]:
    """Losses of a step on a copy in training mode, with what ``choose(unit, h_in, z)`` says of pairs."""
    copied, losses = copy.deepcopy(net).train(), []
    h = batch.views
    for unit in copied.unit_list():
        assert h is not None
        h_in = h.detach()
        h = unit.body(h_in)
        aux = unit.aux
        z = (aux.projector if isinstance(aux, SelectingProjector) else aux)(h)["features"]
        losses.append(choose(unit, h_in, z))
    return losses


def test_given_thresholds_on_the_units_own_similarity() -> None:
    """Algorithm 5."""
    alphas, betas = (0.9, 0.6, 0.3), (0.1, 0.3, 0.5)
    net = three(DGSSL(selection=PairSelection(Given(alphas, betas))))

    def chosen(unit: Any, _: Tensor, z: Tensor) -> float:
        return selective_nt_xent(z, alphas[unit.spec.index], betas[unit.spec.index]).loss.item()

    expected = unit_losses(net, batch_of(), chosen)
    found = Sequential(net, sgd).step(batch_of()).losses
    assert [terms["nt_xent"] for terms in found.values()] == pytest.approx(expected, rel=1e-6)
    assert all(terms.keys() == {"nt_xent", "kept_positives", "kept_negatives", "empty"} for terms in found.values())


def test_a_teacher_judges_and_follows() -> None:
    """The teacher starts as the unit, sees what the unit sees, and moves after the losses, before the update."""
    net = three(DGSSL(selection=TEACHER))
    unit = net.unit_list()[1]
    body, projector = copy_of(unit.body), copy_of(unit.aux.projector)
    teacher = unit.aux.teacher
    assert not changed(body, copy_of(teacher.body)) and not changed(projector, copy_of(teacher.projector))

    loop = Sequential(net, sgd)
    loop.step(batch_of(0))
    before = {name: value.clone() for name, value in teacher.named_parameters()}
    student = {name: value.detach().clone() for name, value in unit.named_parameters()}
    twin = copy.deepcopy(teacher)

    def chosen(own: Any, h_in: Tensor, z: Tensor) -> float:
        judge = own.aux.teacher
        S = cosines(judge(h_in))
        return selective_nt_xent(z, 0.5, 0.4, similarity_VV=S).loss.item()

    expected = unit_losses(net, batch_of(1), chosen)
    found = loop.step(batch_of(1)).losses
    assert [terms["nt_xent"] for terms in found.values()] == pytest.approx(expected, rel=1e-6)
    for name, value in teacher.named_parameters():
        source = f"auxnets.contrast.{name}" if name.startswith("projector.") else name
        torch.testing.assert_close(value, 0.9 * before[name] + 0.1 * student[source], rtol=1e-6, atol=1e-8)
        assert not value.requires_grad
    assert changed(copy_of(twin), copy_of(teacher)) >= {name for name, _ in teacher.named_parameters()}
    assert audit(net, batch_of()).ok


def test_running_quantiles_reach_the_ratios() -> None:
    """Of similarities that stand still: the shares kept are the sample ratios, without a pretrained network."""
    method = DGSSL(selection=PairSelection(Running(0.5), 0.5, 0.7))
    net = three(method)

    def frozen(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.0)

    loop = Sequential(net, frozen)
    kept = [loop.step(batch_of(index, rows=64)).losses for index in range(12)]
    for unit, (positive, negative) in enumerate([(0.25, 0.49), (0.5, 0.7)]):
        for name, share in (("kept_positives", positive), ("kept_negatives", negative)):
            mean = sum(losses[unit][name] for losses in kept[2:]) / len(kept[2:])
            assert mean == pytest.approx(share, abs=0.08), (unit, name)
    assert kept[0][2].keys() == {"nt_xent"}
    names = [name for name in net.state_dict() if "thresholds" in name]
    assert len(names) == 6 and int(net.state_dict()[names[2]]) == 12


def test_pairs_chosen_by_a_pretrained_network() -> None:
    selection = PairSelection(Given((0.5,) * 3, (0.4,) * 3), similarity="pretrained", pretrained=Path("simclr"))
    net = three(DGSSL(selection=selection))
    assert net.needs == {"views", "pair_similarity"}
    S = cosines(torch.randn(16, 5))
    batch = replace(batch_of(), pair_similarity=S)
    expected = unit_losses(net, batch, lambda _, __, z: selective_nt_xent(z, 0.5, 0.4, similarity_VV=S).loss.item())
    found = Sequential(net, sgd).step(batch).losses
    assert [terms["nt_xent"] for terms in found.values()] == pytest.approx(expected, rel=1e-6)
    with pytest.raises(LocalgradError, match=r"Batch: the method needs pair_similarity, got None"):
        Sequential(net, sgd).step(batch_of())

    running = three(DGSSL(selection=replace(selection, thresholds=Running())))
    Sequential(running, sgd).step(batch)
    thresholds = running.unit_list()[0].aux.thresholds
    pairs = torch.tensor([S[2 * k, 2 * k + 1] for k in range(8)])
    assert float(thresholds.alpha) == pytest.approx(float(pairs.quantile(1 - 0.95**2)))


def test_positives_alone_and_decreasing_difficulty() -> None:
    method = DGSSL(
        selection=PairSelection(positive_ratio=0.5, negative_ratio=0.5, negatives=False, difficulty="decreasing")
    )
    found = Sequential(three(method), sgd).step(batch_of()).losses
    assert found[0].keys() == {"nt_xent"}
    assert [found[unit]["kept_negatives"] for unit in (1, 2)] == [1, 1]
    assert [found[unit]["kept_positives"] for unit in (1, 2)] == [0.5, 0.25]
    assert len(localize(BACKBONE, method, 1).unit_list()[0].spec.objectives[0].figures) == 0


def test_an_empty_selection_is_counted_and_changes_nothing() -> None:
    net = three(DGSSL(selection=PairSelection(Given((2.0, -1.0, 2.0), (2.0, 2.0, 2.0)))))
    before = copy_of(net)

    def plain(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.1)

    found = Sequential(net, plain).step(batch_of()).losses
    assert [(terms["nt_xent"] == 0, terms["empty"]) for terms in found.values()] == [(True, 1), (False, 0), (True, 1)]
    weights = {name for name, _ in net.named_parameters()}
    moved = changed(before, copy_of(net)) & weights
    own = {name for name in weights if name.startswith(("model.layer1.1", "model.layer2", "aux.layer2"))}
    assert moved and moved <= own


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_with_fixed_pairs(precision: str) -> None:
    selection = PairSelection(Given((-2.0,) * 3, (2.0,) * 3), similarity="teacher")
    expected = Sequential(three(DGSSL(selection=selection)), sgd).step(batch_of()).losses
    found = Sequential(three(DGSSL(selection=selection)), sgd, precision=precision).step(batch_of()).losses
    for unit, terms in found.items():
        assert list(terms.values()) == pytest.approx(list(expected[unit].values()), abs=0.1)


def test_channels_last_with_fixed_pairs() -> None:
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        net = three(DGSSL(selection=TEACHER)).double().to(memory_format=memory_format)
        batch = batch_of(dtype=torch.float64)
        views = batch.views.to(memory_format=memory_format)  # type: ignore[union-attr]
        losses = Sequential(net, sgd).step(replace(batch, views=views)).losses
        results.append([value for terms in losses.values() for value in terms.values()])
    assert results[0] == pytest.approx(results[1], rel=1e-9)


def test_other_runtimes_read_views_too() -> None:
    """Queued without buffers and Greedy of one unit are Sequential; threads are, too."""
    one, other = three(DGSSL()), three(DGSSL())
    Sequential(one, sgd).step(batch_of())
    queued = Queued(other, sgd, buffer=0)
    for _ in range(3):
        queued.tick(batch_of)
    assert not changed(copy_of(one), copy_of(other))
    threaded = three(DGSSL())
    Sequential(threaded, sgd, workers=2).step(batch_of())
    assert not changed(copy_of(one), copy_of(threaded))
    greedy = three(DGSSL())
    loop = Greedy(greedy, sgd)
    loop.step(batch_of())
    loop.advance()
    assert loop.step(batch_of()).losses.keys() == {1}
    assert not changed(copy_of(one.unit_list()[0]), copy_of(greedy.unit_list()[0])) - {
        name for name in copy_of(one.unit_list()[0]) if "running" in name or "batches" in name
    }


BAD: list[tuple[Any, str]] = [
    (lambda: DGSSL(head="2c2f"), "DGSSL: head '2c2f' is unknown. Did you mean"),
    (lambda: DGSSL(hidden=0), "DGSSL: hidden must be a whole number of at least 1, got 0"),
    (lambda: DGSSL(temperature=0), "DGSSL: temperature must be a number above 0, got 0"),
    (lambda: DGSSL(batch_norm=1), "DGSSL: batch_norm must be True or False, got 1"),
    (lambda: DGSSL(selection=0.95), "DGSSL: selection must be a PairSelection(...) or None, got 0.95"),
    *(
        (
            lambda ratio=ratio: PairSelection(positive_ratio=ratio),
            "PairSelection: positive_ratio is the share of pairs that a module keeps, a number above 0 and up to 1, "
            f"got {ratio!r}",
        )
        for ratio in (0, -0.1, 1.01, float("nan"), True, "0.9")
    ),
    (lambda: PairSelection(negative_ratio=2), "negative_ratio is the share of pairs that a module keeps"),
    (lambda: PairSelection(difficulty="up"), "PairSelection: difficulty 'up' is unknown. There are: decreasing, incr"),
    (lambda: PairSelection(similarity="techer"), "similarity 'techer' is unknown. Did you mean teacher?"),
    (lambda: PairSelection(similarity="pretrained"), "similarity='pretrained' with pretrained=None"),
    (lambda: PairSelection(pretrained=Path("x")), "similarity='own' with pretrained=x"),
    (lambda: PairSelection(teacher_rate=1.0), "teacher_rate must be a number in [0, 1), got 1.0"),
    (lambda: PairSelection(thresholds=0.5), "thresholds must be Calibrated(...), Running() or Given(...), got 0.5"),
    (lambda: PairSelection(keep_positive=None), "keep_positive must be True or False, got None"),
    (lambda: Running(1.0), "Running: momentum must be a number in [0, 1), got 1.0"),
    (lambda: Given((), ()), "Given: alphas must be numbers, one per module, got ()"),
    (lambda: Given((0.1,), (float("nan"),)), "Given: betas must be numbers"),
    (lambda: Given((0.1, 0.2), (0.1,)), "expected as many alphas as betas, one per module, got 2 and 1"),
    (
        lambda: three(DGSSL(selection=PairSelection(Given((0.1,), (0.1,))))),
        "Given: there are thresholds for 1 modules, the network is cut into 3",
    ),
    (lambda: localize(BACKBONE, DGSSL(), 5), "modules=5: the papers have no split of"),
]


@pytest.mark.parametrize(("make", "text"), BAD, ids=range(len(BAD)))
def test_bad_input(make: Any, text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        make()


def test_a_convolution_behind_a_vector_is_refused() -> None:
    backbone = vgg6a()
    spans = localgrad.partition.equal_blocks(5)(backbone).spans
    # The classifier's layer as a local module, not the last: there is no such network, so one is made up.
    blocks = (*backbone.blocks, _Same(backbone.shapes()[-1]))
    longer = replace(backbone, blocks=blocks, block_names=(*backbone.block_names, "more"))
    cut = localgrad.Partition((*spans, localgrad.Span(5, 6)))
    with pytest.raises(LocalgradError, match=r"DGSSL with head '1c2f': its auxiliary networks read feature maps"):
        DGSSL().units(longer, cut)
    assert len(DGSSL(head="0c2f").units(longer, cut)) == 6


class _Same:
    """A layer of vectors that does nothing."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.own = shape

    def build(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> "_Same":
        return self

    def shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return self.own


def test_one_image_has_nothing_to_be_compared_with() -> None:
    with pytest.raises(LocalgradError, match=r"compares the images of a batch with\s+each other"):
        Sequential(three(DGSSL()), sgd).step(batch_of(rows=1))
