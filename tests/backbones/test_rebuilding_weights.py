"""A foreign module once more: the same configuration, nothing shared, freshly drawn."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from localgrad.backbones.rebuilding_weights import fresh_copy
from localgrad.rng import seeded

from .foreign_kinds import swin


class Own(nn.Module):
    """Parameters without a rule of their own, configuration in buffers and attributes, statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.full((6, 4), 9.0))
        self.cls_token = nn.Parameter(torch.full((1, 1, 4), 9.0))
        self.gamma = nn.Parameter(torch.full((4, 1, 1), 9.0))
        self.bias = nn.Parameter(torch.full((4,), 9.0))
        self.register_buffer("index", torch.arange(5))
        self.register_buffer("running_mean", torch.full((4,), 9.0))
        self.register_buffer("running_var", torch.full((4,), 9.0))
        self.plain = torch.arange(3.0)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(4, 4)


def test_nothing_is_shared_and_no_weight_is_read() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), Own(), nn.MultiheadAttention(4, 2)).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(torch.nan)
    module[1].running_mean.fill_(7.0)
    before = copy.deepcopy(module.state_dict())
    copied = fresh_copy(module)
    assert [type(part) for part in copied.modules()] == [type(part) for part in module.modules()]
    assert all(part.training for part in copied.modules())
    assert not any(part.training for part in module.modules())
    theirs = {value.data_ptr() for value in module.state_dict().values()}
    assert theirs.isdisjoint(value.data_ptr() for value in copied.state_dict().values())
    assert all(parameter.isfinite().all() for parameter in copied.parameters())
    assert bool((copied[1].running_mean == 0).all())
    for old, new in zip(before.values(), module.state_dict().values(), strict=True):
        assert torch.equal(old.nan_to_num(), new.nan_to_num())


def test_parameters_without_a_rule() -> None:
    module = Own()
    with seeded(3):
        copied = fresh_copy(module)
    assert isinstance(copied, Own)
    for drawn in (copied.table, copied.cls_token):
        assert 0 < drawn.abs().max().item() < 0.1
    assert torch.equal(copied.gamma, torch.ones(4, 1, 1)) and torch.equal(copied.bias, torch.zeros(4))
    assert torch.equal(copied.get_buffer("index"), torch.arange(5))
    assert torch.equal(copied.get_buffer("running_mean"), torch.zeros(4))
    assert torch.equal(copied.get_buffer("running_var"), torch.ones(4))
    assert torch.equal(copied.plain, module.plain) and copied.plain is not module.plain
    assert copied.drop.p == 0.3
    bound = 4**-0.5  # nn.Linear's own rule
    assert 0.1 < copied.fc.weight.abs().max().item() <= bound


def test_weights_are_a_function_of_the_seed() -> None:
    def draw(seed: int, module: nn.Module) -> Tensor:
        with seeded(seed):
            return torch.cat([parameter.detach().flatten() for parameter in fresh_copy(module).parameters()])

    one, other = Own(), swin().get_submodule("layers.1.blocks.0")
    for module in (one, other):
        assert torch.equal(draw(1, module), draw(1, module))
        assert not torch.equal(draw(1, module), draw(2, module))


def test_frozen_parameters_are_trained_in_the_copy() -> None:
    assert all(parameter.requires_grad for parameter in fresh_copy(nn.Linear(2, 2).requires_grad_(False)).parameters())


def test_on_the_meta_device() -> None:
    random = torch.get_rng_state()
    with torch.device("meta"):
        copied = fresh_copy(Own())
    assert {value.device.type for value in copied.state_dict().values()} == {"meta"}
    assert torch.equal(random, torch.get_rng_state())
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert {value.device.type for value in fresh_copy(module).state_dict().values()} == {"cpu"}


def test_tied_and_parametrised_weights() -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), parametrizations.weight_norm(nn.Linear(4, 4)))
    module[1].weight = module[0].weight
    copied = fresh_copy(module)
    assert copied[1].weight is copied[0].weight
    assert copied[0].weight is not module[0].weight
    assert copied(torch.ones(2, 4)).isfinite().all()


def test_a_rule_that_asks_for_something_is_not_called() -> None:
    class Asking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3, 3))

        def reset_parameters(self, std: float) -> None:
            raise AssertionError(std)

    assert fresh_copy(Asking()).weight.abs().max().item() > 0  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["layers.0.blocks.1", "layers.1.downsample"])
def test_masks_of_windows_are_kept(name: str) -> None:
    module = swin().get_submodule(name)
    copied = fresh_copy(module)
    for (key, own), theirs in zip(module.named_buffers(), copied.buffers(), strict=True):
        assert torch.equal(own, theirs), key
