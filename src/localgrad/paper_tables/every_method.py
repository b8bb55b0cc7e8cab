"""Every supervised method on one network, side by side: the networks for a table of costs."""

from collections.abc import Mapping

import torch

from localgrad.method import Method
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, Backprop, Checkpointing, InfoPro, PredSim
from localgrad.methods.infopro_lambdas import Lambdas
from localgrad.network import LocalNetwork, localize
from localgrad.spec import Backbone

# Memory and MACs do not depend on the weights of losses, but a weight of 0 would drop a network from the step.
_WEIGHTS = Lambdas((1.0, 1.0), (1.0, 1.0))

BASELINES: Mapping[str, Method] = {"backprop": Backprop(), "checkpointing": Checkpointing()}
"""One unit each; the first is what memory is compared with."""

METHODS: Mapping[str, Method] = {
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
"""In as many modules as asked for."""


def network_for(backbone: Backbone, name: str, modules: int, *, recompute: bool = False) -> LocalNetwork:
    """The network of one row, on the meta device. Raises LocalgradError when the method cannot cut ``backbone`` so."""
    with torch.device("meta"):
        if name in BASELINES:
            return localize(backbone, BASELINES[name], recompute=recompute)
        return localize(backbone, METHODS[name], modules, recompute=recompute)


def every_method(backbone: Backbone, modules: int) -> dict[str, LocalNetwork]:
    """The baselines and every method in ``modules`` modules, on the meta device; the first is backpropagation.

    Raises LocalgradError when a method cannot cut ``backbone`` so.
    """
    return {name: network_for(backbone, name, modules) for name in (*BASELINES, *METHODS)}
