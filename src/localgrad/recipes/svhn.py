"""ResNet-32 and ResNet-110 on SVHN under the papers' protocol: batches of 1024, learning rate 0.8."""

from localgrad.data import SVHN
from localgrad.recipes.papers import resnet_recipes

backprop_resnet32, checkpointing_resnet32, dgl_resnet32, auglocal_resnet32 = resnet_recipes(
    __name__, SVHN, "SVHN", layers=32, modules=16, batch=1024, lr=0.8
)
backprop_resnet110, checkpointing_resnet110, dgl_resnet110, auglocal_resnet110 = resnet_recipes(
    __name__, SVHN, "SVHN", layers=110, modules=55, batch=1024, lr=0.8
)
