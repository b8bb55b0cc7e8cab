"""torchvision's Mask R-CNN on a backbone that was trained by local learning, on images that this file draws.

    pip install "localgrad[models]"
    python examples/detect_shapes.py [--steps 120] [--size 96]
    python examples/detect_shapes.py --run runs/digits.auglocal-seed0    # a run of your own: a CIFAR-style ResNet

Without --run, a small ResNet is first trained by DGL to tell squares, discs and triangles apart; then it becomes the
backbone of a detector, which is trained by backpropagation on images with several of them.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNN, MaskRCNNHeads, MaskRCNNPredictor
from torchvision.ops import box_iou

import localgrad as lg
from localgrad.adapters.torchvision import anchor_generator, detection_backbone
from localgrad.cli import main as localgrad

NAMES = ("square", "disc", "triangle")
Target = dict[str, Tensor]


def draw(size: int, most: int, draws: torch.Generator) -> tuple[Tensor, Target]:
    """An image in [0, 1] with 1 to ``most`` shapes on noise, and what a detector learns: boxes, labels, masks."""

    def number(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=draws))

    image = 0.5 + 0.1 * torch.randn(3, size, size, generator=draws)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    masks: list[Tensor] = []
    labels: list[int] = []
    for _ in range(int(number(1, most + 0.999))):
        radius = number(0.1, 0.2) * size if most > 1 else number(0.25, 0.4) * size
        down, right = rows - number(radius, size - radius), columns - number(radius, size - radius)
        label = int(number(0, len(NAMES) - 0.001))
        inside = (
            (down.abs() < radius) & (right.abs() < radius),
            down**2 + right**2 < radius**2,
            (down < radius) & (down > 2 * right.abs() - radius),
        )[label]
        if any((inside & mask).any() for mask in masks) or not inside.any():
            continue  # no shape covers another
        colour = torch.rand(3, 1, generator=draws)
        image[:, inside] = colour + 0.05 * torch.randn(3, int(inside.sum()), generator=draws)
        masks.append(inside)
        labels.append(label + 1)  # 0 is the background
    places = [mask.nonzero() for mask in masks]
    boxes = [[*place.amin(0).flip(0).tolist(), *(place.amax(0).flip(0) + 1).tolist()] for place in places]
    target = {
        "boxes": torch.tensor(boxes, dtype=torch.float32),
        "labels": torch.tensor(labels),
        "masks": torch.stack(masks).to(torch.uint8),
    }
    return image.clamp(0, 1), target


def train_backbone(batches: int, batch: int, draws: torch.Generator) -> nn.Module:
    """A ResNet-14 that tells single shapes apart, trained by DGL: every unit by its own loss."""
    backbone = lg.backbones.cifar_resnet(14, num_classes=len(NAMES), image=(3, 32, 32))
    net = lg.localize(backbone, lg.methods.DGL(), partition=lg.equal_blocks(3))
    loop = lg.Sequential(net, lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9))
    for _ in range(batches):
        images, targets = zip(*(draw(32, 1, draws) for _ in range(batch)), strict=True)
        labels = torch.stack([target["labels"][0] - 1 for target in targets])
        x = (torch.stack(images) - 0.5) / 0.25
        step = loop.step(lg.Batch(x=x, y=labels))
    losses = " ".join(f"{sum(terms.values()):.3f}" for terms in step.losses.values())
    print(f"backbone: {batches} batches by DGL, last losses of the units {losses}", flush=True)
    return net.export()


def load_backbone(run: Path) -> nn.Module:
    """The network of a run: what `localgrad export` writes and `localgrad.load` reads."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "network.safetensors"
        if localgrad(["export", str(run), "-o", str(file)]):
            raise SystemExit(2)  # it has said why
        return lg.load(file)


def make_detector(model: nn.Module, channels: int, options: argparse.Namespace) -> MaskRCNN:
    """Mask R-CNN with small heads. Its own defaults are made for COCO: 256 channels, 1000 boxes per image."""
    backbone = detection_backbone(
        model, torch.zeros(1, channels, 32, 32), stages=options.stages, out_channels=32, trained=options.trained
    )
    return MaskRCNN(
        backbone,
        min_size=options.size,
        max_size=options.size,
        image_mean=[0.5] * channels,
        image_std=[0.25] * channels,
        rpn_anchor_generator=anchor_generator(backbone, smallest=options.size // 6),
        rpn_pre_nms_top_n_train=200,
        rpn_post_nms_top_n_train=50,
        rpn_pre_nms_top_n_test=200,
        rpn_post_nms_top_n_test=50,
        box_batch_size_per_image=32,
        box_detections_per_img=10,
        box_head=TwoMLPHead(32 * 7 * 7, 128),
        box_predictor=FastRCNNPredictor(128, len(NAMES) + 1),
        mask_head=MaskRCNNHeads(32, (32, 32), 1),
        mask_predictor=MaskRCNNPredictor(32, 32, len(NAMES) + 1),
    )


@torch.no_grad()
def found(detector: MaskRCNN, images: list[Tensor], targets: list[Target]) -> tuple[int, int]:
    """How many shapes have a detection of their kind with a score of 0.5 and an overlap (IoU) of 0.5; of how many."""
    detector.eval()
    right = total = 0
    for own, target in zip(detector(images), targets, strict=True):
        sure = own["scores"] > 0.5
        overlap = box_iou(target["boxes"], own["boxes"][sure]) > 0.5
        right += int((overlap & (target["labels"][:, None] == own["labels"][sure])).any(1).sum())
        total += len(target["labels"])
    detector.train()
    return right, total


def main(arguments: list[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--run", type=Path, help="folder of a run of a CIFAR-style ResNet, instead of training one here"
    )
    parser.add_argument("--stages", nargs="+", default=["layer2", "layer3"], help="that the detector looks at")
    parser.add_argument("--trained", type=int, help="stages, from the last, that the detector trains; all by default")
    parser.add_argument("--batches", type=int, default=100, help="that the backbone is trained on")
    parser.add_argument("--steps", type=int, default=120, help="of the detector")
    parser.add_argument("--batch", type=int, default=4, help="images per step")
    parser.add_argument("--size", type=int, default=96, help="pixels")
    parser.add_argument("--lr", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    torch.manual_seed(options.seed)
    draws = torch.Generator().manual_seed(options.seed)
    model = train_backbone(options.batches, 32, draws) if options.run is None else load_backbone(options.run)
    channels = next(layer.in_channels for layer in model.modules() if isinstance(layer, nn.Conv2d))

    def batch(count: int) -> tuple[list[Tensor], list[Target]]:
        drawn = [draw(options.size, 3, draws) for _ in range(count)]
        # A network of grey images gets grey ones.
        images = [image if channels == 3 else image.mean(0, keepdim=True) for image, _ in drawn]
        return images, [target for _, target in drawn]

    detector = make_detector(model, channels, options).train()
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=options.lr, momentum=0.9)
    totals: list[float] = []
    every = max(1, options.steps // 6)
    for step in range(options.steps):
        losses = detector(*batch(options.batch))
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), 5.0)
        optimizer.step()
        totals.append(float(total.detach()))
        if (step + 1) % every == 0:
            parts = " ".join(
                f"{name.removeprefix('loss_')} {float(value.detach()):.3f}" for name, value in losses.items()
            )
            print(f"step {step + 1}: loss {sum(totals[-every:]) / every:.3f} (mean of {every}); {parts}", flush=True)
    right, total_shapes = found(detector, *batch(8))
    print(f"found {right} of {total_shapes} shapes in 8 new images (score and IoU above 0.5)")
    return totals


if __name__ == "__main__":
    main()
