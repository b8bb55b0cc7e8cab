"""torchvision's detectors on trained networks: maps, pyramid, anchors, training."""

import importlib
import sys

import pytest
import torch
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.ops import FrozenBatchNorm2d

import localgrad as lg
from localgrad.adapters.torchvision import anchor_generator, detection_backbone
from localgrad.methods import DGL, Backprop
from tests.conftest import changed, copy_of, tiny_resnet


def target(size: int) -> dict[str, torch.Tensor]:
    """One square object."""
    masks = torch.zeros(1, size, size, dtype=torch.uint8)
    masks[:, 8:40, 8:40] = 1
    return {"boxes": torch.tensor([[8.0, 8, 40, 40]]), "labels": torch.tensor([1]), "masks": masks}


def test_equal_to_torchvisions_own_backbone() -> None:
    """The same weights through torchvision's way: frozen norms, getter of layers, pyramid."""
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3)
    with torch.no_grad():
        model.train()(torch.randn(4, 3, 64, 64))
    ours = detection_backbone(model, torch.zeros(1, 3, 64, 64), out_channels=8)
    frozen = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3, norm_layer=FrozenBatchNorm2d)
    frozen.load_state_dict({k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")})
    layers = {f"layer{n + 1}": str(n) for n in range(4)}
    theirs = BackboneWithFPN(frozen, layers, [64, 128, 256, 512], 8)
    theirs.fpn.load_state_dict(ours.fpn.state_dict())
    x = torch.randn(2, 3, 96, 64)
    for mode in (True, False):
        own, expected = ours.train(mode)(x), theirs.train(mode)(x)
        assert list(own) == list(expected) == ["0", "1", "2", "3", "pool"]
        assert all(torch.allclose(own[name], expected[name], atol=1e-4) for name in own)
    assert (ours.out_channels, ours.featmap_names) == (8, ["0", "1", "2", "3"])
    assert [one.name for one in ours.stages] == ["layer1.0", "layer2.0", "layer3.0", "layer4.0"]


def test_stages_by_name() -> None:
    net = lg.localize(tiny_resnet(14), DGL())
    made = detection_backbone(net, stages=["layer2", "layer3.1"], out_channels=4)
    assert [one.reduction for one in made.stages] == [2, 4] and list(made(torch.randn(1, 3, 8, 8))) == [
        "0",
        "1",
        "pool",
    ]
    with pytest.raises(lg.LocalgradError, match=r"'layer4' names 0 stages. There are: layer1.1, layer2.1, layer3.1"):
        detection_backbone(net, stages=["layer4"])
    with pytest.raises(lg.LocalgradError, match=r"different stages in their order, got \['layer3', 'layer1'\]"):
        detection_backbone(net, stages=["layer3", "layer1"])
    with pytest.raises(lg.LocalgradError, match="out_channels must be at least 1, got 0"):
        detection_backbone(net, out_channels=0)
    with pytest.raises(lg.LocalgradError, match="expected a size of 1 or more and ratios, got 0"):
        anchor_generator(made, 0)


def test_mask_rcnn_trains_on_it() -> None:
    net = lg.localize(tiny_resnet(8), Backprop())
    before = copy_of(net)
    backbone = detection_backbone(net, out_channels=8, trained=2)
    anchors = anchor_generator(backbone, 8)
    assert anchors.sizes == ((8,), (16,), (32,), (64,))
    detector = MaskRCNN(backbone, 2, min_size=48, max_size=48, rpn_anchor_generator=anchors, image_mean=[0.5] * 3,
                        image_std=[0.3] * 3, rpn_pre_nms_top_n_train=20, rpn_post_nms_top_n_train=8,
                        box_batch_size_per_image=8)  # fmt: skip
    start = copy_of(backbone.body)
    optimizer = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], lr=0.01)
    losses = detector([torch.rand(3, 48, 48)], [target(48)])
    assert set(losses) == {
        "loss_classifier", "loss_box_reg", "loss_mask", "loss_objectness", "loss_rpn_box_reg",
    }  # fmt: skip
    torch.stack(list(losses.values())).sum().backward()
    optimizer.step()
    moved = changed(start, copy_of(backbone.body))
    assert {name.split(".")[1] for name in moved} == {"layer2", "layer3"}
    assert not any(".bn" in name for name in moved) and not changed(before, copy_of(net))
    detector.eval()
    with torch.no_grad():
        (found,) = detector([torch.rand(3, 48, 48)])
    assert set(found) == {"boxes", "labels", "scores", "masks"}


def test_one_stage_and_boxes_only() -> None:
    net = lg.localize(tiny_resnet(8, image=(1, 8, 8)), Backprop())  # grey images are fine, too
    backbone = detection_backbone(net, stages=["layer3"], out_channels=4, freeze_batchnorm=False)
    detector = FasterRCNN(backbone, 2, min_size=32, max_size=32, rpn_anchor_generator=anchor_generator(backbone, 16),
                          image_mean=[0.5], image_std=[0.3], box_batch_size_per_image=4,
                          rpn_post_nms_top_n_train=4)  # fmt: skip
    losses = detector([torch.rand(1, 48, 48)], [target(48)])
    assert all(torch.isfinite(loss) for loss in losses.values())


@pytest.mark.parametrize("name", ["torchvision", "timm"])
def test_without_the_package(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """That ``import localgrad`` loads neither is held by tests/test_public_names.py."""
    for module in [one for one in sys.modules if one == name or one.startswith(f"{name}.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, f"localgrad.adapters.{name}", raising=False)
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(lg.LocalgradError, match=rf'needs the package {name} .*pip install "localgrad\[models\]"'):
        importlib.import_module(f"localgrad.adapters.{name}")
