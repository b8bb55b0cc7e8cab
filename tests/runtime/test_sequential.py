"""The Sequential runtime: its options, its checks, and how it stands what users do."""

import re
from typing import Any

import pytest
import torch
from torch import nn

from localgrad import Batch, LocalgradError, Sequential, localize
from localgrad.methods import DGL, AugLocal, Backprop
from localgrad.runtime.sequential import split

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet, with_dropout

X, Y = torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 2, 3])


@pytest.mark.parametrize(
    ("batch", "text"),
    [
        (Batch(torch.randn(4, 1, 8, 8), Y), "Batch.x: resnet14 expects (B, 3, H, W), got (4, 1, 8, 8)."),
        (Batch(torch.randn(3, 8, 8), Y), "Batch.x: resnet14 expects (B, 3, H, W), got (3, 8, 8)."),
        (Batch(X[:0], Y[:0]), "Batch.x: expected at least one image, got shape (0, 3, 8, 8)."),
        (Batch(X.double(), Y), "Batch.x: the weights are torch.float32 on cpu, got torch.float64 on cpu."),
        (Batch(X.byte(), Y), "Batch.x: the weights are torch.float32 on cpu, got torch.uint8 on cpu."),
        (Batch(X.to("meta"), Y), "Batch.x: the weights are torch.float32 on cpu, got torch.float32 on meta."),
        (Batch(X), "Batch: the method needs y, got None. Give Batch(y=...)."),
        (Batch(X, Y[:3]), "Batch.y: expected int64 class indices of shape (4,), got torch.int64 of shape (3,)."),
        (Batch(X, Y.int()), "Batch.y: expected int64 class indices of shape (4,), got torch.int32 of shape (4,)."),
        (Batch(X, torch.eye(4)), "Batch.y: expected int64 class indices of shape (4,), got torch.float32"),
        (Batch(X, Y + 1), "Batch.y: labels must be in 0..3, got 1..4."),
        (Batch(X, Y - 1), "Batch.y: labels must be in 0..3, got -1..2."),
        (Batch(X, [0, 1, 2, 3]), "Batch.y: expected a torch.Tensor, got list."),
        (Batch(X, Y, image=X[:3]), "Batch.image: expected 4 rows for 4 images, got 3."),
        (Batch(X, Y, views=X), "Batch.views: expected 8 rows for 4 images, got 4."),
        (Batch(X.numpy(), Y), "Batch.x: expected a torch.Tensor, got ndarray."),
    ],
)
def test_batches_that_do_not_fit(batch: Batch, text: str) -> None:
    net = localize(tiny_resnet(), DGL(), 7)
    before = copy_of(net)
    loop = Sequential(net, sgd)
    with pytest.raises(LocalgradError, match=re.escape(text)):
        loop.step(batch)
    assert not changed(before, copy_of(net))
    assert loop.steps == 0


@pytest.mark.parametrize("method", [DGL(), DGL(head="auglocal"), AugLocal(depth=2)])
@pytest.mark.parametrize(("rows", "accumulate"), [(1, 1), (3, 2), (2, 2), (1, 4)])
def test_a_single_image_under_batch_norm(method: DGL | AugLocal, rows: int, accumulate: int) -> None:
    """No unit has stepped when the error comes, and no random number was drawn."""
    net = localize(with_dropout(tiny_resnet()), method, 7)
    before, state = copy_of(net), torch.get_rng_state()
    loop = Sequential(net, sgd, accumulate=accumulate)
    text = r"unit 'stem' has a BatchNorm that sees a single value per channel .* Give at least two images per part"
    for _ in range(2):
        with pytest.raises(LocalgradError, match=text):
            loop.step(random_batch(net.backbone, rows))
    assert not changed(before, copy_of(net))
    assert torch.equal(state, torch.get_rng_state())
    assert loop.step(random_batch(net.backbone, 2 * accumulate)).losses


@pytest.mark.parametrize("method", [Backprop(), DGL(head="1c2f")])
def test_a_single_image_where_batch_norm_sees_many_positions(method: Backprop | DGL) -> None:
    net = localize(tiny_resnet(), method)
    loop = Sequential(net, sgd)
    for _ in range(2):
        losses = loop.step(random_batch(net.backbone, 1)).losses
        assert all(torch.tensor(terms["ce"]).isfinite() for terms in losses.values())


def test_a_single_image_of_a_single_pixel() -> None:
    net = localize(tiny_resnet(image=(3, 1, 1)), Backprop())
    with pytest.raises(LocalgradError, match=r"unit 'layer3\.1' has a BatchNorm that sees a single value"):
        Sequential(net, sgd).step(random_batch(net.backbone, 1))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"accumulate": 0}, "Sequential: accumulate must be at least 1, got 0."),
        ({"clip": 0.0}, "Sequential: clip bounds a gradient norm and must be above 0, got 0.0."),
        ({"clip": float("nan")}, "Sequential: clip bounds a gradient norm and must be above 0, got nan."),
        ({"clip": 1.0, "update": "fused"}, "Sequential: clip is per unit; update='fused' has one optimiser for all"),
        ({"update": "fussed"}, "Sequential: update 'fussed' is unknown. Did you mean fused?"),
        ({"precision": "bf16"}, "Sequential: precision 'bf16' is unknown. Did you mean bfloat16"),
        ({"optimizer": lambda parameters: None}, "optimizer must return a torch.optim.Optimizer, got NoneType."),
        ({"optimizer": list}, "must return a torch.optim.Optimizer, got list."),
    ],
)
def test_what_cannot_be(arguments: dict[str, Any], text: str) -> None:
    net = localize(tiny_resnet(8), DGL())
    with pytest.raises(LocalgradError, match=re.escape(text)):
        Sequential(net, **{"optimizer": sgd, **arguments})


def test_an_optimiser_of_other_parameters() -> None:
    """One over the whole network for every unit would step with gradients of others."""
    net = localize(tiny_resnet(8), DGL())
    others = sum(1 for _ in net.parameters()) - sum(1 for _ in net.units[0].parameters())
    with pytest.raises(LocalgradError, match=f"must use the parameters it is given, .* got {others} others"):
        Sequential(net, lambda _: sgd(net.parameters()))


def test_parameter_groups_and_parts_of_a_unit_are_fine() -> None:
    def no_decay_on_vectors(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.1},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        return torch.optim.SGD(groups, lr=0.1)

    net = localize(tiny_resnet(8), DGL())
    loop = Sequential(net, no_decay_on_vectors)
    loop.step(random_batch(net.backbone))
    loop.set_lr(0.025)
    assert [group["lr"] for optimizer in loop.optimizers for group in optimizer.param_groups] == [0.025] * 8


def test_frozen_parameters_stay() -> None:
    net = localize(tiny_resnet(), DGL(), 7)
    net.units[1].body.requires_grad_(False)
    before = copy_of(net)
    Sequential(net, sgd).step(random_batch(net.backbone))
    same = before.keys() - changed(before, copy_of(net))
    assert same == {name for name, _ in net.named_parameters() if name.startswith("model.layer1.0.")}


def test_a_unit_with_nothing_to_train() -> None:
    net = localize(tiny_resnet(), DGL(), 7)
    net.units[1].requires_grad_(False)
    with pytest.raises(LocalgradError, match=r"unit 'layer1\.0' has no parameter that requires a gradient"):
        Sequential(net, sgd)


@pytest.mark.parametrize("update", ["unit", "fused"])
def test_gradients_that_somebody_left_are_no_part_of_a_step(update: Any) -> None:
    nets = [localize(tiny_resnet(), DGL(), 7) for _ in range(2)]
    batch = random_batch(nets[0].backbone)
    for net in nets:
        loop = Sequential(net, sgd, update=update)
        if net is nets[0]:
            for parameter in net.parameters():
                parameter.grad = torch.ones_like(parameter)
        loop.step(batch)
    assert not changed(*map(copy_of, nets))


def test_a_network_may_change_its_dtype_after_the_loop_was_made() -> None:
    net = localize(tiny_resnet(), DGL(), 7)
    loop = Sequential(net, sgd)
    net.double()
    before = copy_of(net)
    losses = loop.step(random_batch(net.backbone, dtype=torch.float64)).terms
    assert {value.dtype for terms in losses.values() for value in terms.values()} == {torch.float64}
    assert {name for name, _ in net.named_parameters()} <= changed(before, copy_of(net))


def test_other_image_sizes_than_the_networks_own() -> None:
    net = localize(tiny_resnet(), DGL(), 7)
    loop = Sequential(net, sgd)
    for size in ((8, 8), (9, 13), (4, 4)):
        losses = loop.step(Batch(torch.randn(4, 3, *size), Y)).losses
        assert all(torch.tensor(terms["ce"]).isfinite() for terms in losses.values())


def test_the_seed_of_the_network_is_the_default() -> None:
    results = []
    for seed in (None, 3, 4):
        net = localize(with_dropout(tiny_resnet()), DGL(), 7, seed=3)
        Sequential(net, sgd, seed=seed).step(random_batch(net.backbone))
        results.append(copy_of(net))
    assert not changed(results[0], results[1])
    assert changed(results[0], results[2])


@pytest.mark.parametrize(("rows", "parts", "sizes"), [(8, 1, [8]), (8, 2, [4, 4]), (7, 3, [3, 2, 2]), (2, 5, [1, 1])])
def test_split(rows: int, parts: int, sizes: list[int]) -> None:
    batch = random_batch(tiny_resnet(), rows)
    pieces = split(batch, parts)
    assert [len(piece.x) for _, piece in pieces] == sizes
    assert [part.index for part, _ in pieces] == list(range(len(sizes)))
    assert [part.last for part, _ in pieces] == [False] * (len(sizes) - 1) + [True]
    assert [part.weight for part, _ in pieces] == [size / rows for size in sizes]
    for name, per_row in (("x", 1), ("y", 1), ("image", 1), ("views", 2)):
        whole = getattr(batch, name)
        assert torch.equal(torch.cat([getattr(piece, name) for _, piece in pieces]), whole)
        assert [len(getattr(piece, name)) for _, piece in pieces] == [per_row * size for size in sizes], name
