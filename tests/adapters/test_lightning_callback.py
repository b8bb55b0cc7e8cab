"""LocalLearning trains the network of a user's own LightningModule, which stays the user's own."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import StepLR
from torch.utils.data import DataLoader, TensorDataset

from localgrad import Batch, LocalgradError, Sequential, localize
from localgrad.adapters.lightning import LocalLearning, LocalLightningModule
from localgrad.methods import DGL

from ..conftest import changed, copy_of, sgd, tiny_resnet
from .conftest import loader, trainer

pytestmark = [
    # Lightning's advice, such as more workers for the loader, is a category of its own; the other is its use of
    # something that torch 2.15 wants to drop.
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning"),
]
BACKBONE = tiny_resnet()
EXAMPLE = torch.zeros(2, 3, 8, 8)


class Net(nn.Module):
    """Two blocks of convolutions, one of dropout; the top level reads its own training flag."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 4)
        self.rate = 0.2

    def forward(self, x: Tensor) -> Tensor:
        x = F.dropout(F.relu(self.conv1(x)), self.rate, self.training)
        x = F.relu(self.norm(self.conv2(x)))
        return self.fc(x.mean((2, 3)))


class Lit(LightningModule):
    """What a user has."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.model = Net()
        self.calls = 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.calls += 1
        x, y = batch
        return F.cross_entropy(self.model(x), y)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.model(x), y))

    def configure_optimizers(self) -> Any:
        made = sgd(self.parameters())
        return {"optimizer": made, "lr_scheduler": {"scheduler": StepLR(made, 2, 0.5), "interval": "step"}}


def callback(**options: Any) -> LocalLearning:
    return LocalLearning(DGL(), 2, example=EXAMPLE, **options)


def test_same_weights_as_one_optimiser_for_all_units(tmp_path: Path) -> None:
    """The user's validation, optimiser and schedule; Sequential's weights, bit for bit."""
    net = localize(Lit().model, DGL(), modules=2, example=EXAMPLE)
    loop = Sequential(net, sgd, update="fused")
    for step, (x, y) in enumerate(list(loader(BACKBONE)) * 2):
        loop.set_lr(0.1 * 0.5 ** (step // 2))
        loop.step(Batch(x=x, y=y))
    module = Lit()
    run = trainer(tmp_path, max_epochs=2, val_check_interval=1, callbacks=[callback()])
    run.fit(module, loader(BACKBONE), loader(BACKBONE, batches=1))
    assert module.calls == 0 and run.global_step == 6
    assert changed(copy_of(net.model), copy_of(module.model)) == set()
    assert changed(copy_of(net.aux), copy_of(module.get_submodule("local_aux"))) == set()
    assert changed(copy_of(Lit().model), copy_of(module.model)) == set(copy_of(module.model))
    assert {"train/conv1/ce", "train_loss", "val_loss"} <= run.callback_metrics.keys()


def test_module_is_its_own_again(tmp_path: Path) -> None:
    module = Lit()
    run = trainer(tmp_path, max_epochs=1, callbacks=[callback()])
    run.fit(module, loader(BACKBONE))
    assert module.calls == 0
    trainer(tmp_path).fit(module, loader(BACKBONE))
    assert module.calls == 3


def test_lightning_accumulates_and_clips(tmp_path: Path) -> None:
    """Half batches, two at a time, are whole batches for a network without statistics over the batch."""

    def trained(rows: int, **options: Any) -> Tensor:
        module = Lit()
        module.model.norm = nn.GroupNorm(2, 4)  # type: ignore[assignment]
        module.model.rate = 0.0
        run = trainer(tmp_path, callbacks=[LocalLearning(DGL(head="0c1f"), 2, example=EXAMPLE)], **options)
        run.fit(module, loader(BACKBONE, 24 // rows, rows))
        assert run.global_step == 3
        return nn.utils.parameters_to_vector(module.model.parameters()).detach()

    whole, clipped = trained(8), trained(8, gradient_clip_val=0.01)
    assert not torch.allclose(whole, clipped, rtol=1e-3)
    for expected, options in ((whole, {}), (clipped, {"gradient_clip_val": 0.01})):
        halves = trained(4, accumulate_grad_batches=2, **options)
        torch.testing.assert_close(halves, expected, rtol=1e-4, atol=1e-6)


def test_resumed_from_a_checkpoint(tmp_path: Path) -> None:
    whole, first, second = Lit(), Lit(), Lit()
    trainer(tmp_path, max_epochs=2, callbacks=[callback()]).fit(whole, loader(BACKBONE))
    run = trainer(tmp_path, callbacks=[callback()])
    run.fit(first, loader(BACKBONE))
    run.save_checkpoint(tmp_path / "one.ckpt")
    trainer(tmp_path, max_epochs=2, callbacks=[callback()]).fit(
        second, loader(BACKBONE), ckpt_path=tmp_path / "one.ckpt", weights_only=False
    )
    assert changed(copy_of(first), copy_of(second))
    assert changed(copy_of(whole), copy_of(second)) == set()
    with pytest.warns(UserWarning, match="in the model state dict but in the checkpoint: .*local_aux"):
        plain = Lit.load_from_checkpoint(tmp_path / "one.ckpt", strict=False, weights_only=False)
    assert changed(copy_of(first.model), copy_of(plain.model)) == set()


class OnlyModel(Lit):
    def configure_optimizers(self) -> Any:
        return sgd(self.model.parameters())


class Two(Lit):
    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False

    def configure_optimizers(self) -> Any:
        return [sgd(self.parameters()), sgd(self.parameters())]


def test_refused(tmp_path: Path) -> None:
    def fit(module: LightningModule, made: LocalLearning, **options: Any) -> None:
        trainer(tmp_path, callbacks=[made], **options).fit(module, loader(BACKBONE))

    with pytest.raises(LocalgradError, match=r"Lit\.net must be the network as a plain nn\.Module, got NoneType.*attr"):
        fit(Lit(), callback(attribute="net"))
    with pytest.raises(
        LocalgradError, match=r"optimiser of OnlyModel lacks \d+ of \d+ parameters, such as 'aux\.conv1"
    ):
        fit(OnlyModel(), callback())
    with pytest.raises(LocalgradError, match=r"Two must have one optimiser .* got 2, automatic_optimization=False"):
        fit(Two(), callback())
    with pytest.raises(LocalgradError, match="precision '64-true' is not supported"):
        fit(Lit(), callback(), precision="64-true")
    module = LocalLightningModule(localize(BACKBONE, DGL()), sgd)
    with pytest.raises(LocalgradError, match=r"got LocalNetwork\..* is trained by LocalLightningModule"):
        fit(module, callback(attribute="net"))


def test_a_last_batch_of_one_image(tmp_path: Path) -> None:
    images, labels = torch.randn(5, 3, 8, 8), torch.arange(5) % 4
    short = DataLoader(TensorDataset(images, labels), batch_size=4)
    with pytest.raises(LocalgradError, match="has a BatchNorm that sees a single value per channel"):
        trainer(tmp_path, callbacks=[callback()]).fit(Lit(), short)
