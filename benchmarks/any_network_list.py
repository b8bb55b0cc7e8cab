"""The fixed list of ``any_network.py``: 100 classification networks, 40 of torchvision and 60 of timm.

Chosen by family, before any of them was tried: the smallest published variants of a family, several where a family has
members that differ in how they are built. ``size`` is the side of the images: 64 where the network takes it (96 where
its stages then still have maps of more than one pixel, 224 or 256 where windows or positions are made for that alone).
"""

from dataclasses import dataclass
from typing import Literal, final

import timm
import torchvision
from torch import nn


@final
@dataclass(frozen=True)
class Model:
    """One network: ``source`` and ``name`` as its library has it, ``options`` for the constructor."""

    family: str
    source: Literal["torchvision", "timm"]
    name: str
    size: int = 64
    options: tuple[tuple[str, object], ...] = ()

    def make(self) -> nn.Module:
        """The network with random weights and its published number of classes."""
        options = dict(self.options)
        if self.source == "timm":
            built: nn.Module = timm.create_model(self.name, **options)
            return built
        model: nn.Module = torchvision.models.get_model(self.name, weights=None, **options)
        return model


def _tv(family: str, name: str, size: int = 64, **options: object) -> Model:
    return Model(family, "torchvision", name, size, tuple(options.items()))


def _timm(family: str, name: str, size: int = 64, **options: object) -> Model:
    return Model(family, "timm", name, size, tuple(options.items()))


TORCHVISION = (
    _tv("AlexNet", "alexnet"),
    _tv("VGG", "vgg11"),
    _tv("VGG", "vgg13_bn"),
    _tv("VGG", "vgg16"),
    _tv("VGG", "vgg19_bn"),
    _tv("ResNet", "resnet18"),
    _tv("ResNet", "resnet34"),
    _tv("ResNet", "resnet50"),
    _tv("ResNet", "resnet101"),
    _tv("ResNeXt", "resnext50_32x4d"),
    _tv("ResNeXt", "resnext101_32x8d"),
    _tv("WideResNet", "wide_resnet50_2"),
    _tv("DenseNet", "densenet121"),
    _tv("DenseNet", "densenet161"),
    _tv("DenseNet", "densenet201"),
    _tv("MobileNet", "mobilenet_v2"),
    _tv("MobileNet", "mobilenet_v3_small"),
    _tv("MobileNet", "mobilenet_v3_large"),
    _tv("EfficientNet", "efficientnet_b0"),
    _tv("EfficientNet", "efficientnet_b1"),
    _tv("EfficientNet", "efficientnet_b2"),
    _tv("EfficientNet", "efficientnet_v2_s"),
    _tv("RegNet", "regnet_x_400mf"),
    _tv("RegNet", "regnet_x_800mf"),
    _tv("RegNet", "regnet_y_400mf"),
    _tv("RegNet", "regnet_y_1_6gf"),
    _tv("ConvNeXt", "convnext_tiny"),
    _tv("ConvNeXt", "convnext_small"),
    _tv("ShuffleNet", "shufflenet_v2_x0_5"),
    _tv("ShuffleNet", "shufflenet_v2_x1_0"),
    _tv("SqueezeNet", "squeezenet1_0"),
    _tv("SqueezeNet", "squeezenet1_1"),
    _tv("MNASNet", "mnasnet0_5"),
    _tv("MNASNet", "mnasnet1_0"),
    _tv("Inception", "googlenet", aux_logits=False),
    _tv("Inception", "inception_v3", 96, aux_logits=False),
    _tv("ViT", "vit_b_32", image_size=64),
    _tv("Swin", "swin_t"),
    _tv("Swin", "swin_v2_t"),
    _tv("MaxViT", "maxvit_t", 224),
)

CONVOLUTIONS = (
    _timm("ResNet", "resnet26d"),
    _timm("ResNet", "resnet50_gn"),
    _timm("ResNeXt", "resnext50_32x4d"),
    _timm("ECA-ResNet", "ecaresnet26t"),
    _timm("ResNetV2", "resnetv2_18"),
    _timm("SKNet", "skresnet18"),
    _timm("ResNeSt", "resnest14d"),
    _timm("Res2Net", "res2net50_14w_8s"),
    _timm("SENet", "legacy_seresnet18"),
    _timm("RegNet", "regnety_002"),
    _timm("RegNet", "regnetz_005"),
    _timm("NFNet", "nf_resnet26"),
    _timm("NFNet", "nfnet_l0"),
    _timm("RepVGG", "repvgg_a0"),
    _timm("DenseNet", "densenetblur121d"),
    _timm("DLA", "dla34"),
    _timm("DPN", "dpn68"),
    _timm("HRNet", "hrnet_w18_small"),
    _timm("VoVNet", "ese_vovnet19b_dw"),
    _timm("CSPNet", "cspresnet50"),
    _timm("SelecSLS", "selecsls42"),
    _timm("Xception", "xception41"),
    _timm("Inception", "inception_v4", 96),
    _timm("GhostNet", "ghostnet_050"),
    _timm("EfficientNet", "efficientnet_lite0"),
    _timm("TinyNet", "tinynet_e"),
    _timm("MobileNet", "mobilenetv2_050"),
    _timm("MobileNet", "mobilenetv3_small_050"),
    _timm("MobileNet", "mobilenetv4_conv_small_035"),
    _timm("ReXNet", "rexnet_100"),
    _timm("ConvNeXt", "convnext_atto"),
    _timm("ConvNeXt", "convnextv2_atto"),
    _timm("InceptionNeXt", "inception_next_atto"),
    _timm("ConvMixer", "convmixer_768_32"),
)

ATTENTION = (
    _timm("ViT", "vit_tiny_patch16_224", img_size=64),
    _timm("DeiT", "deit_tiny_patch16_224", img_size=64),
    _timm("DeiT", "deit3_small_patch16_224", img_size=64),
    _timm("BEiT", "beit_base_patch16_224", img_size=64),
    _timm("EVA", "eva02_tiny_patch14_224", 56, img_size=56),
    _timm("CaiT", "cait_xxs24_224", img_size=64),
    _timm("XCiT", "xcit_nano_12_p16_224", img_size=64),
    _timm("PiT", "pit_ti_224", img_size=64),
    _timm("LeViT", "levit_128s", 224),
    _timm("Swin", "swin_tiny_patch4_window7_224", img_size=64, window_size=2),
    _timm("Swin", "swinv2_tiny_window8_256", img_size=64, window_size=2),
    _timm("Twins", "twins_svt_small", img_size=64),
    _timm("PVT", "pvt_v2_b0"),
    _timm("MViT", "mvitv2_tiny", 224),
    _timm("CrossViT", "crossvit_tiny_240", 240),
    _timm("DaViT", "davit_tiny"),
    _timm("MaxViT", "maxvit_pico_rw_256", 256),
    _timm("CoAtNet", "coatnet_pico_rw_224", img_size=64),
    _timm("MobileViT", "mobilevit_xxs"),
    _timm("EdgeNeXt", "edgenext_xx_small"),
    _timm("EfficientFormer", "efficientformer_l1", 224),
    _timm("MetaFormer", "poolformer_s12"),
    _timm("MetaFormer", "caformer_s18"),
    _timm("Mixer", "mixer_s32_224", img_size=64),
    _timm("gMLP", "gmlp_ti16_224", img_size=64),
    _timm("ResMLP", "resmlp_12_224", img_size=64),
)

MODELS = (*TORCHVISION, *CONVOLUTIONS, *ATTENTION)
