"""Every exported method as test cases. A new method is tested with its defaults; add a row here for other choices.

An invariant that does not hold for a method, or for one case of it, stands in ``NOT_FOR`` with the reason.
"""

from typing import Any

import pytest

from localgrad import Backbone, LocalNetwork, localize, methods
from localgrad.method import Method
from localgrad.methods import Lambdas, PairSelection, Running
from localgrad.methods.reconstruction import Reconstruction

from ..conftest import tiny_resnet

LAMBDAS = Lambdas(first=(2, 0.5), last=(0.5, 1))
DECODED = {"depth": 3, "reconstruction": Reconstruction(LAMBDAS)}
EASY = PairSelection(Running(), 0.8, 0.8)
EASY_BY_TEACHER = PairSelection(Running(), 0.8, 0.8, "decreasing", "teacher")
CHOICES: dict[str, list[dict[str, Any]]] = {
    "DGL": [{}, {"head": "auglocal"}, {"head": "cnn"}, {"head": "1c2f"}, {"head": "gndgl-1c2f"}],
    "GNDGL": [
        {},
        {"groups": 1},
        {"share_features": False, "diversity": False},
        {"detach_ratio": 0.5, "final_head": "1c2f"},
        {"groups": 4, "fuse_groups": True},
        {"layerwise": True},
    ],
    "DGSSL": [
        {},
        {"head": "0c2f", "batch_norm": False},
        {"selection": EASY},
        {"selection": EASY_BY_TEACHER},
    ],
    "AugLocal": [{"depth": 3}, {"depth": 2, "tail": "strict", "selection": "conv3x3"}, DECODED],
    "InfoPro": [{"loss": "softmax", "lambdas": LAMBDAS}, {"loss": "contrast", "lambdas": LAMBDAS}],
    "MLAAN": [{}, {"leaps": False}, {"cascade": 1}, {"base": "dgl"}],
    "PredSim": [{}, {"framework": "blockwise"}, {"loss": "sim"}, {"loss": "pred", "framework": "blockwise"}],
}
ONE_UNIT = {"Backprop", "Checkpointing"}
# Cases with more than one neuron group; with one, every invariant holds.
GROUPED = [f"GNDGL({words})" for words in ("", "False-False", "0.5-1c2f", "4-True", "True")]
OWN = "neuron groups of a module step together and have blocks of their own; "
UNLABELLED = [f"DGSSL({words})" for words in ("", "0c2f-False", str(EASY), str(EASY_BY_TEACHER))]
NOT_FOR: dict[tuple[str, str], str] = {
    **{
        (case, invariant): OWN + reason
        for case in GROUPED
        for invariant, reason in {
            "K=1 is backpropagation": "one module is thin networks and a classifier; methods/test_gndgl.py",
            "plain supervised objective": "what they send each other: golden/test_gndgl.py",
            "locality": "test_gndgl.py, by audit and by hand",
            "order of updates": "golden/test_gndgl.py",
            "export": "a stem of groups is no plain layer; test_gndgl.py",
            "one set of names": "names tell the group; test_gndgl.py",
            "initial weights": "test_gndgl.py",
            "units": "test_gndgl.py",
        }.items()
    },
    ("Checkpointing", "recompute"): "it recomputes by itself; refused, tests/test_segments.py",
    ("GNDGL(4-True)", "recompute"): "fused groups keep their activations; refused, tests/test_segments.py",
    **{
        (case, invariant): f"no labels, no classifier; {reason} methods/test_dgssl.py"
        for case in UNLABELLED
        for invariant, reason in {
            "K=1 is backpropagation": "K=1 is SimCLR:",
            "plain supervised objective": "by hand in",
            "forward": "it gives features:",
            "copies": "it has no head of classes:",
            "meta device": "features:",
            "one set of names": "nothing is named head:",
            "initial weights": "those of the encoder:",
        }.items()
    },
    **{
        (f"DGSSL({case})", invariant): "rounding may move a pair over a threshold; by fixed ones in test_dgssl.py"
        for case in (EASY, EASY_BY_TEACHER)
        for invariant in ("memory format", "bfloat16", "float16")
    },
    ("GNDGL(4-True)", "randomness"): "blocks that draw cannot run fused; refused, runtime/test_fused.py",
    (f"AugLocal(3-{Reconstruction(LAMBDAS)})", "plain supervised objective"): "as InfoPro",
    ("InfoPro", "plain supervised objective"): "two weighted losses; by hand in tests/methods/test_infopro.py",
    ("MLAAN", "plain supervised objective"): "a loss is for several units; by hand in tests/runtime/test_cascades.py",
    ("MLAAN", "float16"): "a cascade crosses units whose gradients have scales of their own: refused, test_cascades.py",
    ("PredSim", "plain supervised objective"): "several weighted losses; by hand in tests/methods/test_predsim.py",
    **dict.fromkeys(
        [("PredSim()", "initial weights"), ("PredSim(sim)", "initial weights")],
        "layer-wise the classifier starts at zero, as its paper has it; tests/methods/test_predsim.py",
    ),
}


def modules_of(method: Method, blocks: int = 7) -> int:
    """One module per block of ``tiny_resnet()``, or one."""
    return 1 if type(method).__name__ in ONE_UNIT else blocks


def localized(method: Method, backbone: Backbone | None = None, **keywords: Any) -> LocalNetwork:
    """The tiny network cut into as many units as the method takes."""
    backbone = backbone or tiny_resnet()
    return localize(backbone, method, modules_of(method, len(backbone.blocks)), **keywords)


def short(method: Method, **keywords: Any) -> LocalNetwork:
    """The same of a stem and one block per stage, for what holds tensor by tensor or unit by unit: half the work."""
    return localized(method, tiny_resnet(8), **keywords)


def every_method(invariant: str) -> pytest.MarkDecorator:
    """Parametrise a test over all methods for which ``invariant`` holds."""
    cases = []
    for name in sorted(methods.__all__):
        for keywords in CHOICES.get(name, [{}]):
            words = "-".join(str(value) for value in keywords.values())
            case, title = getattr(methods, name)(**keywords), f"{name}({words})"
            reason = NOT_FOR.get((name, invariant)) or NOT_FOR.get((title, invariant))
            marks = [pytest.mark.skip(reason=reason)] if reason else []
            cases.append(pytest.param(case, id=title, marks=marks))
    return pytest.mark.parametrize("method", cases)
