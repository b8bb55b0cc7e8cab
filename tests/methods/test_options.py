"""Options of the methods' constructors: those that change nothing, and values of a kind that no option has."""

import re
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import pytest

from localgrad.backbones import cifar_resnet
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, Checkpointing, InfoPro, PredSim
from localgrad.methods.infopro_lambdas import Lambdas
from localgrad.methods.reconstruction import Reconstruction
from localgrad.partition import equal_blocks

EVEN = Lambdas((1, 1), (1, 1))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: AugLocal(classifier="flat-mlp", head_bn=True),
            "AugLocal: head_bn=True changes nothing with classifier='flat-mlp', which has BatchNorm of its own.",
        ),
        (
            lambda: GNDGL(share_features=False, detach_ratio=0.5),
            "GNDGL: detach_ratio=0.5 changes nothing with share_features=False. Leave it out.",
        ),
        (
            lambda: GNDGL(diversity=False, diversity_weight=2.0, stop_grad=False),
            "GNDGL: diversity_weight=2.0, stop_grad=False change nothing with diversity=False. Leave them out.",
        ),
        (lambda: GNDGL(diversity=False, temperature=1.0), "temperature=1.0 changes nothing with diversity=False."),
        (
            lambda: GNDGL(signals=PredSim("pred")),
            "match=None, aux_pool=1) changes nothing without layerwise=True.",
        ),
        (
            lambda: InfoPro(head="imagenet", decoder="imagenet", widen=2),
            "InfoPro: widen=2 changes nothing with head='imagenet' and decoder='imagenet'.",
        ),
        (
            lambda: Reconstruction(decoder="imagenet", widen=2),
            "Reconstruction: widen=2 changes nothing with decoder='imagenet'.",
        ),
        (lambda: PredSim("pred", beta=0.5), "PredSim: beta=0.5 changes nothing with loss='pred'. Leave it out."),
        (
            lambda: PredSim("sim", max_features=9),
            "PredSim: max_features=9 changes nothing with loss='sim', which",
        ),
        (lambda: MLAAN(dgl=DGL("cnn")), "least_probability=0.0, aux_pool=1) changes nothing with base='plain'."),
        (lambda: MLAAN(base="dgl", lambdas=EVEN), "changes nothing with base='dgl'. Leave it out."),
        (
            lambda: MLAAN(leaps=False, ema_rate=0.5, ema_on="all"),
            "MLAAN: ema_rate=0.5, ema_on='all' change nothing with leaps=False. Leave them out.",
        ),
        (
            lambda: MLAAN(cascade=1, weights=(1, 1), first_own=False),
            "weights=(1, 1), first_own=False change nothing with cascade=1, which has one loss per module.",
        ),
        (
            lambda: MLAAN(base="dgl", dgl=DGL(least_probability=0.1)),
            "MLAAN: its losses are plain cross-entropies, leave least_probability out of dgl=DGL(...).",
        ),
    ],
)
def test_options_that_change_nothing(make: Callable[[], object], text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        make()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Checkpointing("3"), "Checkpointing: segments must be a whole number of at least 1, got '3'."),
        (lambda: InfoPro(match=3), "InfoPro: match must be a method whose auxiliary networks are the measure"),
        (
            lambda: PredSim(framework="blockwise", match="dgl"),
            "PredSim: match must be a method whose",
        ),
        (lambda: InfoPro(dataset=None), "InfoPro: dataset must be a name such as 'cifar10', got None."),
        (lambda: Reconstruction(dataset=3), "Reconstruction: dataset must be a name such as 'cifar10', got 3."),
        (lambda: GNDGL(fuse_groups="no"), "GNDGL: fuse_groups must be True or False, got 'no'."),
        (lambda: MLAAN(ema_trained=0), "MLAAN: ema_trained must be True or False, got 0."),
    ],
)
def test_values_of_another_kind(make: Callable[[], object], text: str) -> None:
    with pytest.raises(LocalgradError, match=re.escape(text)):
        make()


ODD = (None, "x", 3, 3.5, -1, True, (), {}, object(), float("nan"), DGL, DGL(), (1, 2), (("x",),), 1 + 2j)
BASES: list[tuple[Any, dict[str, Any]]] = [
    (Checkpointing, {}),
    (DGL, {}),
    (DGL, {"head": "1c2f"}),
    (AugLocal, {"depth": 3}),
    (InfoPro, {"lambdas": EVEN}),
    (PredSim, {"framework": "blockwise"}),
    (GNDGL, {}),
    (GNDGL, {"layerwise": True}),
    (MLAAN, {}),
    (MLAAN, {"base": "infopro"}),
    (Reconstruction, {}),
    (Lambdas, {"first": (1, 1), "last": (1, 1)}),
]


@pytest.mark.parametrize(("kind", "base"), BASES)
def test_odd_values_are_refused_or_work(kind: Any, base: dict[str, Any]) -> None:
    """Nothing but LocalgradError, from the constructor or from the making of units."""
    backbone = cifar_resnet(14)
    refused = 0
    for field in fields(kind):
        for value in ODD:
            try:
                method = kind(**{**base, field.name: value})
                if hasattr(method, "units"):
                    modules = 1 if kind is Checkpointing else 7
                    method.units(backbone, equal_blocks(modules)(backbone))
            except LocalgradError as error:
                refused += 1
                assert len(str(error)) > 20
    assert refused > 10
