"""LocalLightningModule trains as Sequential does, whatever Lightning does around it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau
from torch.utils.data import DataLoader

from localgrad import Batch, LocalgradError, LocalNetwork, Sequential, equal_blocks, localize
from localgrad.adapters.lightning import LocalLightningModule
from localgrad.adapters.lightning.optimizers import UnitOptimizers
from localgrad.methods import DGL

from ..conftest import changed, copy_of, sgd, tiny_resnet, with_dropout
from .conftest import loader, trainer

# Lightning's advice, such as more workers for the loader, is a category of its own; the other is its use of something
# that torch 2.15 wants to drop.
pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning"),
]
BACKBONE = with_dropout(tiny_resnet())


def network() -> LocalNetwork:
    """Three units, one of which draws random numbers in every step."""
    return localize(BACKBONE, DGL(), partition=equal_blocks(3))


def trained(steps: int, precision: str = "float32", **options: Any) -> dict[str, Tensor]:
    """What Sequential makes of the first batches."""
    net = network()
    loop = Sequential(net, sgd, precision=precision, **options)
    batches = list(loader(BACKBONE)) * 4
    for x, y in batches[:steps]:
        loop.step(Batch(x=x, y=y))
    return copy_of(net)


@pytest.mark.parametrize(("precision", "engine"), [("32-true", "float32"), ("bf16-mixed", "bfloat16")])
def test_same_weights_as_sequential(tmp_path: Path, precision: Any, engine: str) -> None:
    module = LocalLightningModule(network(), sgd)
    run = trainer(tmp_path, max_epochs=2, precision=precision)
    run.fit(module, loader(BACKBONE), loader(BACKBONE, batches=1))
    assert run.global_step == 6  # batches, not steps of optimisers
    assert changed(trained(6, engine), copy_of(module.net)) == set()
    assert all(parameter.grad is None for parameter in module.parameters())


def test_options_reach_the_engine(tmp_path: Path) -> None:
    module = LocalLightningModule(network(), sgd, update="fused", accumulate=2)
    trainer(tmp_path, max_steps=2).fit(module, loader(BACKBONE))
    assert changed(trained(2, update="fused", accumulate=2), copy_of(module.net)) == set()
    assert changed(trained(2), copy_of(module.net))


class Functional(nn.Module):
    """A foreign network whose top level reads its own training flag."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.fc = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.conv1(x)), 0.5, self.training)
        x = F.dropout(F.relu(self.conv2(x)), 0.5, self.training)
        return self.fc(x.mean((2, 3)))


def test_foreign_network_after_a_validation(tmp_path: Path) -> None:
    """Lightning restores training modes module by module, and views of the units are not among its modules."""
    torch.manual_seed(0)
    networks = [Functional()]
    networks.append(copy.deepcopy(networks[0]))
    ours, theirs = (localize(model, DGL(), modules=2, example=torch.zeros(2, 3, 8, 8)) for model in networks)
    loop = Sequential(ours, sgd)
    for x, y in list(loader(BACKBONE)):
        loop.step(Batch(x=x, y=y))
    run = trainer(tmp_path, val_check_interval=1, num_sanity_val_steps=1)
    run.fit(LocalLightningModule(theirs, sgd), loader(BACKBONE), loader(BACKBONE, batches=1))
    assert changed(copy_of(ours), copy_of(theirs)) == set()


def test_every_unit_is_logged(tmp_path: Path) -> None:
    module = LocalLightningModule(network(), sgd)
    run = trainer(tmp_path)
    run.fit(module, loader(BACKBONE), loader(BACKBONE, batches=2))
    logged = run.callback_metrics
    names = [unit.name for unit in module.net.unit_list()]
    assert {f"train/{name}/ce" for name in names} | {"train_loss", "val_loss", "val_acc"} == logged.keys()
    assert logged["train_loss"] == logged[f"train/{names[-1]}/ce"]
    module.eval()
    right, loss, rows = 0, 0.0, 0
    for x, y in loader(BACKBONE, batches=2):
        logits = module(x)
        right, rows = right + int((logits.argmax(1) == y).sum()), rows + len(y)
        loss += F.cross_entropy(logits, y, reduction="sum").item()
    assert float(logged["val_acc"]) == pytest.approx(right / rows)
    assert float(logged["val_loss"]) == pytest.approx(loss / rows)
    (tested,) = run.test(module, loader(BACKBONE, batches=2), verbose=False)
    assert tested["test_loss"] == pytest.approx(loss / rows)
    predicted = run.predict(module, loader(BACKBONE, batches=1))
    assert predicted is not None and predicted[0].shape == (8, 4)


def test_resumed_from_a_checkpoint(tmp_path: Path) -> None:
    """Weights, optimisers' momentum, the schedule and the numbers drawn in a step all go on."""

    def module() -> LocalLightningModule:
        return LocalLightningModule(network(), sgd, scheduler=lambda made: ExponentialLR(made, 0.5))

    whole, first, second = module(), module(), module()
    trainer(tmp_path, max_epochs=2).fit(whole, loader(BACKBONE))
    run = trainer(tmp_path)
    run.fit(first, loader(BACKBONE))
    run.save_checkpoint(tmp_path / "one.ckpt")
    assert changed(copy_of(whole.net), copy_of(first.net))
    again = trainer(tmp_path, max_epochs=2)
    again.fit(second, loader(BACKBONE), ckpt_path=tmp_path / "one.ckpt", weights_only=False)
    assert again.global_step == 6
    assert changed(copy_of(whole.net), copy_of(second.net)) == set()
    assert again.optimizers[0].param_groups[0]["lr"] == 0.025
    loaded = LocalLightningModule.load_from_checkpoint(
        tmp_path / "one.ckpt", net=network(), optimizer=sgd, weights_only=False
    )
    assert changed(copy_of(first.net), copy_of(loaded.net)) == set()


def test_checkpoint_of_other_units(tmp_path: Path) -> None:
    made = UnitOptimizers([sgd([nn.Parameter(torch.zeros(1))]) for _ in range(2)])
    with pytest.raises(LocalgradError, match=r"state of 2 optimisers of units, got that of 1\. Continue with"):
        made.load_state_dict({"units": [{}]})
    with pytest.raises(LocalgradError, match="got that of an ordinary optimiser"):
        made.load_state_dict(sgd([nn.Parameter(torch.zeros(1))]).state_dict())


def test_schedules_reach_all_units(tmp_path: Path) -> None:
    """By epoch as Lightning's default, by step and by a logged figure with its dict."""
    rates: dict[str, float] = {}
    schedules = {
        "epoch": lambda made: ExponentialLR(made, 0.5),
        "step": lambda made: {"scheduler": ExponentialLR(made, 0.5), "interval": "step"},
        "plateau": lambda made: {
            "scheduler": ReduceLROnPlateau(made, factor=0.1, patience=0, mode="max", threshold=1e9),
            "monitor": "val_acc",
        },
    }
    for name, schedule in schedules.items():
        module = LocalLightningModule(network(), sgd, scheduler=schedule)
        run = trainer(tmp_path, max_epochs=2, limit_train_batches=2)
        run.fit(module, loader(BACKBONE), loader(BACKBONE, batches=1))
        found = {group["lr"] for made in module.loop.optimizers for group in made.param_groups}
        assert len(module.loop.optimizers) == 3 and len(found) == 1
        rates[name] = found.pop()
    assert rates == pytest.approx({"epoch": 0.1 / 4, "step": 0.1 / 16, "plateau": 0.01})


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"plugins": MixedPrecision("16-mixed", "cpu")},
            r"precision '16-mixed' is not supported .* There are: 32-true, bf16-mixed",
        ),
        ({"precision": "64-true"}, r"precision '64-true' is not supported"),
        ({"strategy": "ddp"}, r"one device here, got DDPStrategy with 1 processes\. Give Trainer\(devices=1"),
        ({"gradient_clip_val": 1.0}, r"gradient_clip_val=1\.0 bounds .* LocalLightningModule\(clip="),
        ({"accumulate_grad_batches": 2}, r"accumulate_grad_batches=2 would keep .*accumulate="),
    ],
)
def test_refused_when_fitting_starts(tmp_path: Path, options: dict[str, Any], match: str) -> None:
    module = LocalLightningModule(network(), sgd)
    with pytest.raises(LocalgradError, match=match):
        trainer(tmp_path, **options).fit(module, loader(BACKBONE))
    assert not torch.distributed.is_initialized()


def test_refused_when_made(tmp_path: Path) -> None:
    with pytest.raises(LocalgradError, match=r"'acumulate' is no option of Sequential\. Did you mean accumulate\?"):
        LocalLightningModule(network(), sgd, acumulate=2)
    with pytest.raises(LocalgradError, match=r"precision is the Trainer's, got precision='bfloat16'"):
        LocalLightningModule(network(), sgd, precision="bfloat16")
    with pytest.raises(LocalgradError, match=r"must be what localize\(model, method\) returns, got Linear"):
        LocalLightningModule(nn.Linear(2, 2), sgd)  # type: ignore[arg-type]
    with pytest.raises(LocalgradError, match=r"expected a batch \(x, y\) .* got dict\. Give to_batch="):
        module = LocalLightningModule(network(), sgd)
        module.to_batch({"x": 1})


def test_other_batches(tmp_path: Path) -> None:
    module = LocalLightningModule(network(), sgd, to_batch=lambda batch: Batch(x=batch["image"], y=batch["label"]))
    x, y = next(iter(loader(BACKBONE)))
    named = DataLoader([{"image": x, "label": y}], batch_size=None)
    trainer(tmp_path).fit(module, named)
    assert changed(trained(1), copy_of(module.net)) == set()
