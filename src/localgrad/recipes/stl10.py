"""ResNet-32 and ResNet-110 on STL-10 under the papers' protocol: batches of 128, learning rate 0.1."""

from localgrad.data import STL10
from localgrad.recipes.papers import resnet_recipes

backprop_resnet32, checkpointing_resnet32, dgl_resnet32, auglocal_resnet32 = resnet_recipes(
    __name__, STL10, "STL-10", layers=32, modules=16, batch=128, lr=0.1
)
backprop_resnet110, checkpointing_resnet110, dgl_resnet110, auglocal_resnet110 = resnet_recipes(
    __name__, STL10, "STL-10", layers=110, modules=55, batch=128, lr=0.1
)
