"""Trains a small ResNet on scikit-learn's digits by local learning inside PyTorch Lightning.

    pip install "localgrad[lightning,data]"
    python examples/lightning_digits.py [--epochs 5] [--depth 3]

Everything around the training is Lightning's: loaders, precision, schedule, checkpoints, logging.
"""

import argparse
from pathlib import Path

import lightning as L
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset

import localgrad as lg
from localgrad.adapters.lightning import LocalLightningModule


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--depth", type=int, default=3, help="of AugLocal's auxiliary networks")
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--batches", type=int, help="per epoch at most")
    parser.add_argument("--quiet", action="store_true")
    parser.add_argument("--checkpoint", type=Path, help="where to write one at the end")
    options = parser.parse_args(arguments)

    digits = lg.data.Digits().load()
    train, test = (
        TensorDataset(split.images_NCHW.float().div(255).sub(0.3).div(0.35), split.labels_N)
        for split in (digits.train, digits.test)
    )
    backbone = lg.backbones.cifar_resnet(14, num_classes=10, image=digits.image)
    net = lg.localize(backbone, lg.methods.AugLocal(depth=options.depth))
    module = LocalLightningModule(
        net,
        lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
        scheduler=lambda optimizer: CosineAnnealingLR(optimizer, options.epochs),
    )
    L.seed_everything(0, verbose=False)
    trainer = L.Trainer(
        accelerator="auto",
        devices=1,
        max_epochs=options.epochs,
        limit_train_batches=options.batches,
        precision=options.precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=not options.quiet,
        enable_model_summary=not options.quiet,
    )
    trainer.fit(module, DataLoader(train, batch_size=64, shuffle=True), DataLoader(test, batch_size=256))
    if options.checkpoint is not None:
        trainer.save_checkpoint(options.checkpoint)
    share = float(trainer.callback_metrics["val_acc"])
    print(f"last-epoch test accuracy {100 * share:.1f} %")
    return share


if __name__ == "__main__":
    main()
