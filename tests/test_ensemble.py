"""Ensembles of heads."""

import pytest
import torch

from localgrad import LocalgradError, LocalNetwork, localize
from localgrad.ensemble import layer_weights, layerwise_ensemble, mean_probabilities
from localgrad.methods import DGL, GNDGL, InfoPro, Lambdas, PredSim

from .conftest import random_batch, tiny_resnet


def test_weights_double_with_depth() -> None:
    assert layer_weights(1) == [1.0]
    assert layer_weights(3) == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    assert sum(layer_weights(55)) == pytest.approx(1.0)


def test_probabilities_are_averaged_not_logits() -> None:
    heads = [torch.tensor([[10.0, 0.0]]), torch.tensor([[0.0, 0.0]])]
    expected = [(torch.sigmoid(torch.tensor(10.0)).item() + 0.5) / 2, 0.5 - 0.5 * 0.5 + 0.0]
    assert mean_probabilities(heads)[0, 0].item() == pytest.approx(expected[0])
    assert mean_probabilities([head.bfloat16() for head in heads]).dtype == torch.float32
    assert layerwise_ensemble([heads, [torch.zeros(1, 2)]]).sum().item() == pytest.approx(1.0)


def heads(net: LocalNetwork, x: torch.Tensor) -> list[list[torch.Tensor]]:
    """logits of all heads, by module, written out."""
    found, h = [], x
    for index in range(net.unit_list()[-1].spec.index + 1):
        members = [unit for unit in net.unit_list() if unit.spec.index == index]
        features = [unit(h) for unit in members]
        h = torch.cat(features, 1)
        pairs = zip(members, features, strict=True)
        found.append([unit.outputs(own, features)["task"]["logits"] for unit, own in pairs])
    return found


@pytest.mark.parametrize("method", [GNDGL(), GNDGL(share_features=False), GNDGL(groups=1), DGL()])
def test_network(method) -> None:
    net = localize(tiny_resnet(), method, 7).eval()
    x = random_batch(net.backbone).x
    with torch.no_grad():
        by_module = heads(net, x)
        weights = torch.tensor([2.0**j for j in range(len(by_module))])
        means = torch.stack([torch.stack(module).softmax(-1).mean(0) for module in by_module])
        expected = (weights[:, None, None] / weights.sum() * means).sum(0)
        torch.testing.assert_close(net.ensemble(x), expected)
        # The last module that has layers: with groups that is not the classifier.
        torch.testing.assert_close(net.ensemble(x, "last"), means[6])
        torch.testing.assert_close(net(x).softmax(-1), means[-1])
    assert len(by_module) == (8 if method == GNDGL() or method == GNDGL(share_features=False) else 7)


def test_heads_that_do_not_classify_have_no_vote() -> None:
    """InfoPro's contrast head gives 128 features, its decoder an image."""
    lambdas = Lambdas(first=(2, 0.5), last=(0.5, 1))
    net = localize(tiny_resnet(), InfoPro(lambdas=lambdas), 7).eval()
    x = random_batch(net.backbone).x
    with torch.no_grad():
        torch.testing.assert_close(net.ensemble(x), net(x).softmax(-1))


def test_unknown_mode() -> None:
    net = localize(tiny_resnet(), DGL(), 7)
    with pytest.raises(LocalgradError, match=r"ensemble: mode 'first' is unknown. .*layerwise"):
        net.ensemble(torch.zeros(2, 3, 8, 8), "first")


def test_no_module_with_layers_classifies() -> None:
    net = localize(tiny_resnet(), PredSim("sim")).eval()
    x_BCHW = torch.randn(2, *net.backbone.image)
    own = net.ensemble(x_BCHW)
    assert torch.allclose(own, net(x_BCHW).softmax(1))
    with pytest.raises(LocalgradError, match=r"ensemble: mode 'last' takes the heads .* and none of them classifies"):
        net.ensemble(x_BCHW, "last")
