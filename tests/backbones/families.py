"""Small networks of every family that localgrad builds itself, for the tests of all of them."""

from localgrad import Backbone, backbones

SMALL: dict[str, Backbone] = {
    "cifar_resnet": backbones.cifar_resnet(14, 4, 0.5, (3, 8, 8)),
    "predsim_vgg": backbones.vgg6a(4, 0.05, 0.1, "leaky_relu", (3, 16, 16)),
    "mlp": backbones.mlp((12, 10, 8), 4, 0.1, "leaky_relu", (3, 8, 8)),
    "cifar_resnet_option_a": backbones.cifar_resnet(14, 4, 0.5, (3, 8, 8), "A", "pytorch"),
    "dgl_vgg": backbones.conv_vgg((8, 16), (2, 3), 4, 1, (3, 16, 16), 2, "pytorch"),
    "conv_vgg": backbones.vgg13(4, 0.125, (3, 16, 16)),
    "imagenet_vgg": backbones.imagenet_vgg(13, 4, 0.125, (3, 64, 64), hidden=16),
    "cifar_resnet50": backbones.cifar_resnet50(4, 0.125, (3, 8, 8)),
    "imagenet_resnet34": backbones.four_stage_resnet(34, 4, 0.125, (3, 32, 32)),
    "cifar_mobilenetv2": backbones.cifar_mobilenetv2(4, 0.25, (3, 8, 8)),
    "cifar_efficientnet_b0": backbones.cifar_efficientnet_b0(4, 0.25, (3, 16, 16)),
    "cifar_densenet": backbones.cifar_densenet(16, 12, 4, 0.34, (3, 8, 8)),
    "imagenet_resnext": backbones.imagenet_resnext(50, 4, 16, 4, 0.125, (3, 32, 32)),
    "cifar_regnetx_400mf": backbones.cifar_regnetx_400mf(4, 0.5, (3, 8, 8)),
}
