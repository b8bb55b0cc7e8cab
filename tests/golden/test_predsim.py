"""PredSim's similarities, losses, gradients and pooling against what the papers' released codes compute."""

from collections import OrderedDict
from math import prod
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from localgrad import Batch, localize
from localgrad.auxnets import pool_to
from localgrad.backbones import resnet32, resnet110
from localgrad.cost import macs
from localgrad.count import forward_macs
from localgrad.losses import SimilarityMatching, similarity_matrix
from localgrad.methods import PredSim
from localgrad.objective import UnitSpec
from localgrad.spec import Backbone, Span
from localgrad.unit import Unit

from .recipe import fill, golden, hashed

GOLDEN = golden("predsim")
SIMILARITY = GOLDEN["similarity"]


def sine(shape: list[int], a: float, c: float) -> Tensor:
    """sin(a * arange + c)."""
    return torch.from_numpy(np.sin(a * np.arange(prod(shape)) + c).reshape(shape))


def features(case: dict[str, Any]) -> Tensor:
    """The input of a similarity case."""
    x = sine(case["shape"], *case["sine"])
    if case.get("modulated"):
        x = x * (1 + 0.5 * sine([*case["shape"][:2], 1, 1], 1.1, 0.0))
    return x


def assert_close(ours: Tensor, expected: object, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=ours.dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", SIMILARITY)
def test_similarities_of_features_and_labels(name: str) -> None:
    case = SIMILARITY[name]
    assert_close(similarity_matrix(features(case)), case["R"])
    one_hot = torch.eye(case["classes"], dtype=torch.float64)[case["y"]]
    assert_close(similarity_matrix(one_hot), case["Ry"])


def test_constant_samples_and_flattened_maps() -> None:
    """A sample of equal features resembles nothing; flattening a map first is the code's option without std."""
    case = GOLDEN["constant_rows"]
    assert_close(similarity_matrix(torch.tensor(case["x"], dtype=torch.float64)), case["R"])
    assert_close(similarity_matrix(features(GOLDEN["without_std"]).flatten(1)), GOLDEN["without_std"]["R"])


@pytest.mark.parametrize("name", SIMILARITY)
def test_loss_and_gradient(name: str) -> None:
    case = SIMILARITY[name]
    x = features(case).requires_grad_()
    loss = SimilarityMatching(case["classes"])({"features": x}, Batch(x=x, y=torch.tensor(case["y"])))["similarity"]
    (gradient,) = torch.autograd.grad(loss, x)
    assert_close(loss, case["sim_loss"])
    assert_close(gradient.norm(), case["grad_norm"])
    assert_close(gradient.flatten()[:6], case["grad_first6"])
    reduced = SimilarityMatching(case["classes"])({"features": x.float()}, Batch(x=x, y=torch.tensor(case["y"])))
    assert reduced["similarity"].dtype == torch.float32
    assert_close(reduced["similarity"], case["sim_loss_float32"], 2e-6)


def block(case: dict[str, Any]) -> tuple[Unit, Tensor]:
    """A unit with the objectives of PredSim and the weights of a block case, and its input."""
    linear = case["block"] == "linear"
    encoder = nn.Linear(5, 6) if linear else nn.Conv2d(3, 4, 3, padding=1)
    body = nn.Sequential(OrderedDict(encoder=encoder, relu=nn.ReLU()))
    # A unit that classifies nothing has no features to bound.
    features = None if case["loss"] == "sim" else case["max_features"]
    method = PredSim(loss=case["loss"], beta=case["beta"], max_features=features)
    objectives = method.objectives((6,) if linear else (4, 6, 6), 3)
    unit = Unit(UnitSpec(0, "block", Span(0, 1), objectives), body, {o.name: o.aux.build() for o in objectives})
    scale = 1.0 if linear else 0.5
    values: list[tuple[nn.Parameter, float, float, float]] = [
        (encoder.weight, scale, 0.7, 0.1),
        (encoder.bias, 0.1, 0.7, 0.2),
    ]
    if "pred" in unit.auxnets:
        decoder = unit.auxnets["pred"].fc
        values += [(decoder.weight, 1.0 if linear else 0.2, 0.9, 0.3), (decoder.bias, 0.1, 0.9, 0.4)]
    if "sim" in unit.auxnets:
        values.append((unit.auxnets["sim"].layer.weight, scale, 1.1, 0.5))
    unit.double()
    with torch.no_grad():
        for parameter, factor, a, c in values:
            parameter.copy_(factor * sine(list(parameter.shape), a, c))
    return unit, sine([4, 5] if linear else [4, 3, 6, 6], 0.8, 0.6)


def case_name(case: dict[str, Any]) -> str:
    return "-".join(str(case[key]) for key in ("block", "loss", "beta", "max_features"))


@pytest.mark.parametrize("case", GOLDEN["blocks"], ids=case_name)
def test_blocks_with_beta(case: dict[str, Any]) -> None:
    """Both branches, their weights, and the gradients of everything: the official block without its BatchNorm."""
    unit, x = block(case)
    h = unit(x)
    loss, terms = unit.loss(h, Batch(x=x, y=torch.tensor([0, 1, 2, 1])))
    loss.backward()
    assert_close(loss.detach(), case["loss_float64"])
    weighted = {objective.name: objective.weight for objective in unit.spec.objectives}
    for name, term in (("pred", "ce"), ("sim", "similarity")):
        expected = case[f"loss_{name}_weighted"]
        key = f"{name}.{term}" if len(weighted) > 1 else term
        assert weighted.get(name, 0.0) * float(terms.get(key, 0.0)) == pytest.approx(expected, abs=1e-12)
    layers = {"encoder": unit.body.encoder}
    layers |= {"decoder_y": unit.auxnets["pred"].fc} if "pred" in unit.auxnets else {}
    layers |= {f"{case['block']}_loss": unit.auxnets["sim"].layer} if "sim" in unit.auxnets else {}
    ours = {f"{name}.{key}": p.grad.norm() for name, layer in layers.items() for key, p in layer.named_parameters()}
    assert ours.keys() == case["grad_norm"].keys()
    for name, norm in ours.items():
        assert_close(norm, case["grad_norm"][name], 1e-11)


@pytest.mark.parametrize(("channels", "size", "most", "kernel", "padding", "out"), GOLDEN["pooling"])
def test_pool_sizes(channels: int, size: int, most: int, kernel: list, padding: list, out: list) -> None:
    pooling = pool_to((channels, size, size), most)
    assert [list(pooling.kernel), list(pooling.padding), list(pooling.out)] == [kernel, padding, out]


@pytest.mark.parametrize("case", GOLDEN["auglocal_heads"], ids=lambda case: f"{case['shape'][0]} channels")
def test_heads_of_auglocals_comparison(case: dict[str, Any]) -> None:
    """Behind the three widths of ResNet-32, with the weights of the recipe."""
    shape = tuple(case["shape"])
    sim, pred = PredSim(framework="blockwise").objectives(shape, 10)
    decoder, encoder = pred.aux.build(), sim.aux.build()
    fill(decoder, 100)
    fill(encoder, 500)
    signed = 2 * hashed(8 * prod(shape), 42) - 1
    x = torch.from_numpy(np.maximum(signed, 0).astype(np.float32)).double().reshape(8, *shape)
    batch = Batch(x=x, y=torch.tensor([3, 1, 4, 1, 5, 9, 2, 6]))
    logits = decoder.double()(x)
    ce = pred.loss({"logits": logits}, batch)["ce"]
    similarity = sim.loss(encoder.double()(x), batch)["similarity"]
    assert [[*decoder.pool.kernel_size], [*decoder.pool.padding]] == case["pool"]
    assert_close(logits[0].detach(), case["logits_row0"])
    assert_close(ce.detach(), case["ce"])
    assert_close(similarity.detach(), case["sim"])
    assert_close((sim.weight * similarity + pred.weight * ce).detach(), case["combined"])


def similarity_macs(unit: Unit) -> int:
    """MACs of a unit's similarity branch."""
    counts, _ = forward_macs(unit.auxnets["sim"], unit.spec.objectives[0].aux.shape)
    return counts.total()


def counted(backbone: Backbone, modules: int) -> dict[str, int]:
    """Costs of PredSim in AugLocal's framework in the words of the golden file."""
    with torch.device("meta"):
        net = localize(backbone, PredSim(framework="blockwise"), modules)
    nodes = macs(net).parts.values()
    full = sum(node.by_kind.get(kind, 0) for node in nodes for kind in ("conv", "linear", "norm", "pool"))
    return {
        "total_aux_params": sum(node.aux_params for node in nodes),
        "total_aux_macs": sum(node.aux_conv_linear for node in nodes),
        "total_train_forward_macs": sum(node.conv_linear for node in nodes),
        "total_train_forward_fvcore": full,
        "total_train_forward_fvcore_without_decoder": full - sum(map(similarity_macs, net.unit_list()[:-1])),
    }


def test_costs_of_resnet32() -> None:
    """`cost.macs` counts what training runs, the similarity convolutions too; the released code counts in eval mode."""
    for name, value in counted(resnet32(), 16).items():
        assert value == GOLDEN["costs"][name], name


def test_flops_of_resnet110() -> None:
    """AugLocal's table 7 prints 0.25 G, which leaves the similarity convolutions out; with them it is 0.38 G."""
    costs = counted(resnet110(), 55)
    ours = costs["total_train_forward_fvcore_without_decoder"]
    assert round(ours / 1e9, 4) == GOLDEN["costs"]["resnet110_gmacs"]
    assert round(costs["total_train_forward_fvcore"] / 1e9, 2) == 0.38


@pytest.mark.parametrize("width", [16, 32, 64])
def test_costs_by_width(width: int) -> None:
    expected, shape = GOLDEN["costs"]["per_width"][str(width)], (width, 512 // width, 512 // width)
    with torch.device("meta"):
        sim, pred = (objective.aux.build() for objective in PredSim(framework="blockwise").objectives(shape, 10))
    counts, _ = forward_macs(pred, shape)
    assert sum(p.numel() for p in pred.parameters()) == expected["aux_params"]
    assert counts["conv"] + counts["linear"] == expected["aux_macs"]
    assert counts["conv"] + counts["linear"] + counts["norm"] + counts["pool"] == expected["aux_fvcore_total"]
    assert sum(p.numel() for p in sim.parameters()) == expected["sim_params"]
    assert dict(forward_macs(sim, shape)[0]) == {"conv": expected["sim_macs"]}
