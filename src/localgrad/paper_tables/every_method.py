"""Every supervised method on one network, side by side: the networks for a table of costs."""

import torch

from localgrad.method import Method
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, Backprop, Checkpointing, InfoPro, PredSim
from localgrad.methods.infopro_lambdas import Lambdas
from localgrad.network import LocalNetwork, localize
from localgrad.spec import Backbone

# Memory and MACs do not depend on the weights of losses, but a weight of 0 would drop a network from the step.
_WEIGHTS = Lambdas((1.0, 1.0), (1.0, 1.0))


def every_method(backbone: Backbone, modules: int) -> dict[str, LocalNetwork]:
    """The baselines and every method in ``modules`` modules, on the meta device; the first is backpropagation.

    Raises LocalgradError when a method cannot cut ``backbone`` so.
    """
    with_modules: dict[str, Method] = {
        "DGL (mlp-sr)": DGL(),
        "DGL (1c2f)": DGL(head="1c2f"),
        "PredSim, block-wise": PredSim(framework="blockwise"),
        "InfoPro (contrast)": InfoPro("contrast", _WEIGHTS),
        "InfoPro (softmax)": InfoPro("softmax", _WEIGHTS),
        "GN-DGL, 2 groups, naive": GNDGL(2, share_features=False, diversity=False),
        "GN-DGL, 2 groups": GNDGL(2),
        "MLAAN, cascades of 3, no leaps": MLAAN(3, leaps=False),
        "MLAAN, leaps, no cascades": MLAAN(1),
        "MLAAN": MLAAN(),
        "MLAAN on DGL": MLAAN(base="dgl"),
        "MLAAN on InfoPro": MLAAN(base="infopro"),
        **{f"AugLocal, depth {depth}": AugLocal(depth=depth) for depth in range(2, 7)},
    }
    with torch.device("meta"):
        return {
            "backprop": localize(backbone, Backprop()),
            "checkpointing": localize(backbone, Checkpointing()),
            **{name: localize(backbone, method, modules) for name, method in with_modules.items()},
        }
