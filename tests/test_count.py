"""MACs by the papers' convention, layer by layer and on whole networks (golden/resnet_bp.json)."""

import pytest
import torch
from torch import nn

from localgrad.backbones import resnet32, resnet110
from localgrad.count import count_macs, forward_macs, weightless_copy
from localgrad.methods import AugLocal, Backprop
from localgrad.network import localize


@pytest.mark.parametrize(
    ("module", "shape", "counts", "out"),
    [
        (nn.Conv2d(3, 8, 3, 2, 1), (3, 8, 8), {"conv": 8 * 27 * 16, "bias": 8 * 16}, (8, 4, 4)),
        (nn.Conv2d(4, 8, 3, 1, 1, groups=2, bias=False), (4, 8, 8), {"conv": 8 * 18 * 64}, (8, 8, 8)),
        (nn.Linear(6, 5), (6,), {"linear": 30, "bias": 5}, (5,)),
        (nn.BatchNorm2d(4), (4, 2, 3), {"norm": 48}, (4, 2, 3)),
        (nn.Sequential(nn.ReLU(), nn.ReLU(inplace=True)), (4, 2), {"relu": 16}, (4, 2)),
        (nn.AdaptiveAvgPool2d(1), (4, 6, 6), {"pool": 144}, (4, 1, 1)),
        (nn.MaxPool2d(3, 2, 1), (4, 6, 6), {"max_pool": 144}, (4, 3, 3)),
        (nn.Sequential(), (4, 6, 6), {}, (4, 6, 6)),
    ],
)
def test_one_layer(module: nn.Module, shape: tuple[int, ...], counts: dict[str, int], out: tuple[int, ...]) -> None:
    assert count_macs(module, shape) == (counts, out)


@pytest.mark.parametrize(
    ("backbone", "conv_linear", "all_kinds"),
    [(resnet32, 69_124_736, 70_062_730), (resnet110, 253_149_824, 256_324_234)],
)
def test_networks_of_the_papers(backbone, conv_linear: int, all_kinds: int) -> None:
    with torch.device("meta"):
        net = localize(backbone(10), Backprop())
    counts, out = count_macs(net.model, (3, 32, 32))
    assert (counts["conv"] + counts["linear"], counts.total(), out) == (conv_linear, all_kinds, (10,))


def test_outputs_by_name() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 2, bias=False)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            return {"logits": self.fc(x), "input": x}

    counts, out = forward_macs(Two(), (4,))
    assert counts == {"linear": 8}
    assert out["logits"].shape == (1, 2)


def test_counting_leaves_the_module_alone() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    count_macs(module, (3, 8, 8))
    assert module.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_weightless_copy_keeps_the_structure_and_no_weight() -> None:
    net = localize(resnet32(10), AugLocal(depth=3), 16)
    first = next(net.parameters())
    first.requires_grad_(False)
    first.grad = torch.zeros_like(first)
    copied = weightless_copy(net, "meta", channels_last=True)
    names = [(n, p.shape, p.requires_grad) for n, p in net.named_parameters()]
    assert [(n, p.shape, p.requires_grad) for n, p in copied.named_parameters()] == names
    assert all(p.is_meta and p.grad is None for p in copied.parameters())
    assert {id(p) for p in copied.units.parameters()} == {id(p) for p in copied.parameters()}
    assert next(copied.parameters()).is_contiguous(memory_format=torch.channels_last)
    assert not first.is_meta


def test_batch_norm_over_all_batches_runs_without_values() -> None:
    """It would ask for the number of batches, which the meta device does not have."""
    layer = nn.BatchNorm2d(4, momentum=None)
    copied = weightless_copy(nn.Sequential(layer), "meta").train()
    assert copied(torch.empty(2, 4, 3, 3, device="meta")).shape == (2, 4, 3, 3)
    assert layer.momentum is None
    real = weightless_copy(layer, "cpu")
    assert real.momentum is None
