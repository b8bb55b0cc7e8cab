"""Words for how the weights of a network start, where papers differ for the same network."""

from typing import Literal, get_args

from localgrad.backbones.vgg_layers import pytorch_default
from localgrad.blocks import he_fan_out
from localgrad.errors import LocalgradError, nearest
from localgrad.spec import Initialiser

Weights = Literal["he", "pytorch"]
"""Convolutions by He's rule with the fan-out (InfoPro's family of codes), or all that PyTorch draws by itself (DGL)."""

AuxWeights = Literal["network", "pytorch"]
"""Auxiliary networks start by the rule of the network, or as PyTorch draws them."""


def weights_by(who: str, weights: Weights) -> Initialiser:
    """What draws the weights of a network. Raises LocalgradError for an unknown word."""
    _check(who, "weights", weights, get_args(Weights))
    return he_fan_out if weights == "he" else pytorch_default


def aux_weights_by(who: str, aux_weights: AuxWeights) -> Initialiser | None:
    """What draws those of auxiliary networks; None: the network's own. Raises LocalgradError for an unknown word."""
    _check(who, "aux_weights", aux_weights, get_args(AuxWeights))
    return pytorch_default if aux_weights == "pytorch" else None


def _check(who: str, name: str, word: str, choices: tuple[str, ...]) -> None:
    if word not in choices:
        raise LocalgradError(f"{who}: {name} {word!r} is unknown. {nearest(str(word), choices)}")
