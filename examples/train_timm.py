"""Trains a model of timm by local learning, with timm's data pipeline, optimiser and schedule.

    python examples/train_timm.py --data DIR [--model resnet26] [--method dgl] [--modules 4] [--epochs 10]
    python examples/train_timm.py --model resnet10t --size 64 --epochs 2     # without DIR: on generated images

DIR holds train/<class>/ and val/<class>/ with images. The trained weights are written to --out in the model's own
state_dict: timm.create_model(MODEL, num_classes=N, checkpoint_path=OUT) reads them, and no trace of localgrad is left.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform, resolve_data_config
from timm.optim import create_optimizer_v2
from timm.scheduler import CosineLRScheduler
from torch.utils.data import DataLoader
from torchvision.datasets import ImageFolder

import localgrad as lg

METHODS = {
    "backprop": lg.methods.Backprop(),
    "dgl": lg.methods.DGL(max_hidden=1024),
    "auglocal": lg.methods.AugLocal(depth=2),
}


def generate(root: Path, classes: int = 3, train: int = 16, val: int = 4, size: int = 72) -> None:
    """An image folder: a class is a direction in which the images get lighter, in some noise."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for label in range(classes):
            folder = root / split / f"class{label}"
            folder.mkdir(parents=True)
            angle = np.pi * label / max(1, classes - 1)  # flips leave the class as it is
            down, right = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
            slope = 127 + 80 * (np.cos(angle) * down + np.sin(angle) * right)
            for index in range(count):
                pixels = slope[:, :, None] + rng.normal(0, 20, (size, size, 3))
                Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{index}.png")


def loaders(options: argparse.Namespace, model: torch.nn.Module) -> tuple[DataLoader, DataLoader]:
    """timm's transforms for this model: normalisation and interpolation; random crops and flips for training."""
    changes = {"input_size": (3, options.size, options.size)} if options.size else {}
    config = resolve_data_config(changes, model=model)
    shared = {key: config[key] for key in ("input_size", "interpolation", "mean", "std")}
    augmentation = create_transform(**shared, is_training=True, auto_augment=options.auto_augment, re_prob=0.25)
    plain = create_transform(**shared, crop_pct=config["crop_pct"])
    settings = {"batch_size": options.batch, "num_workers": options.workers, "pin_memory": options.device == "cuda"}
    return (
        DataLoader(ImageFolder(options.data / "train", augmentation), shuffle=True, drop_last=True, **settings),
        DataLoader(ImageFolder(options.data / "val", plain), **settings),
    )


@torch.inference_mode()
def accuracy(model: torch.nn.Module, loader: DataLoader, device: str) -> float:
    """Top-1 in percent of the plain network."""
    model.eval()
    right = total = 0
    for x, y in loader:
        right += int((model(x.to(device)).argmax(1).cpu() == y).sum())
        total += len(y)
    model.train()
    return 100 * right / total


def train(options: argparse.Namespace) -> float:
    """The last epoch's accuracy."""
    torch.manual_seed(options.seed)
    classes = sum(path.is_dir() for path in (options.data / "train").iterdir())
    model = timm.create_model(options.model, num_classes=classes, pretrained=options.pretrained)
    train_loader, val_loader = loaders(options, model)

    # The only lines about local learning: cut the model, and let every unit step with an optimiser of its own.
    example = torch.zeros(2, *train_loader.dataset[0][0].shape)
    modules = None if options.method == "backprop" else options.modules
    net = lg.localize(model, METHODS[options.method], modules=modules, example=example).to(options.device)
    loop = lg.Sequential(
        net,
        lambda parameters: create_optimizer_v2(parameters, opt=options.opt, lr=options.lr, weight_decay=1e-4),
        precision=options.precision,
    )

    schedules = [
        CosineLRScheduler(made, t_initial=options.epochs, warmup_t=options.warmup, warmup_lr_init=1e-5)
        for made in loop.optimizers
    ]
    for epoch in range(options.epochs):
        for schedule in schedules:
            schedule.step(epoch)
        for x, y in train_loader:
            step = loop.step(lg.Batch(x=x.to(options.device), y=y.to(options.device)))
        losses = " ".join(f"{sum(terms.values()):.3f}" for terms in step.losses.values())
        top1 = accuracy(net, val_loader, options.device)
        print(
            f"epoch {epoch + 1}/{options.epochs}: last losses of the units {losses}; validation {top1:.1f} %",
            flush=True,
        )
    if options.out is not None:
        torch.save(net.export().state_dict(), options.out)
    return top1


def main(arguments: list[str] | None = None) -> float:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with train/<class>/ and val/<class>/")
    parser.add_argument("--model", default="resnet26")
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--method", default="dgl", choices=METHODS)
    parser.add_argument("--modules", type=int, default=4)
    parser.add_argument("--size", type=int, help="pixels; None: what the model was made for")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--warmup", type=int, default=0, help="epochs")
    parser.add_argument("--opt", default="sgd", help="any optimiser of timm")
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--auto-augment", help="such as rand-m9-mstd0.5")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args(arguments)
    if options.data is not None:
        return train(options)
    with tempfile.TemporaryDirectory() as folder:
        options.data = Path(folder)
        generate(options.data)
        return train(options)


if __name__ == "__main__":
    main()
