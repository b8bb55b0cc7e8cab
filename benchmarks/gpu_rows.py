"""Rows of benchmarks/gpu.py as data: which network, method, precision and mode, and how each is built."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import final

import torch

import localgrad as lg
from localgrad.method import Method
from localgrad.methods import DGL, GNDGL, MLAAN, AugLocal, Backprop, Checkpointing, InfoPro, PredSim
from localgrad.methods.infopro_lambdas import Lambdas

# Cost does not depend on the weights of losses, but a weight of 0 would drop a network from the step.
_WEIGHTS = Lambdas((1.0, 1.0), (1.0, 1.0))
METHODS: dict[str, Method] = {
    "backprop": Backprop(),
    "checkpointing": Checkpointing(),
    "dgl": DGL(),
    "predsim": PredSim(framework="blockwise"),
    "infopro": InfoPro("softmax", _WEIGHTS),
    "gndgl": GNDGL(2),
    "mlaan": MLAAN(),
    "auglocal2": AugLocal(depth=2),
    "auglocal6": AugLocal(depth=6),
}
# The official head of DGL has 0.9 billion parameters on ResNet-50.
FOREIGN_METHODS: dict[str, Method] = METHODS | {"dgl": DGL(max_hidden=1024)}
WHOLE = ("backprop", "checkpointing")
FAST = ("backprop", "dgl", "auglocal6")
PRECISIONS = ("float32", "bfloat16")
OPTIONS = ("eager", "compile", "graph", "fused", "recompute", "contiguous")
"""What a mode is made of, joined by +; also streamsN."""


@final
@dataclass(frozen=True)
class Network:
    """A network, its modules K, and the batch that it trains on: on a GPU, and on the CPU."""

    build: Callable[[int], lg.Backbone | torch.nn.Module]
    methods: dict[str, Method]
    modules: int
    batch: int
    pixels: int
    cpu_batch: int
    cpu_pixels: int
    classes: int
    default: tuple[str, ...]
    share: float
    """Part of the time there is."""


def _resnet50(_: int) -> torch.nn.Module:
    from torchvision.models import resnet50  # noqa: PLC0415 - the other networks do without

    torch.manual_seed(0)
    model: torch.nn.Module = resnet50()
    return model


_CIFAR = tuple(METHODS)
NETWORKS = {
    "resnet110": Network(lambda _: lg.backbones.resnet110(), METHODS, 55, 1024, 32, 8, 32, 10, _CIFAR, share=0.5),
    "resnet32": Network(lambda _: lg.backbones.resnet32(), METHODS, 16, 1024, 32, 32, 32, 10, _CIFAR, share=0.25),
    "resnet50": Network(
        _resnet50,
        FOREIGN_METHODS,
        16,
        64,
        224,
        2,
        64,
        1000,
        tuple(method for method in METHODS if method != "gndgl"),  # neuron groups need layers that can be cut
        share=0.25,
    ),
}


@final
@dataclass(frozen=True, order=True)
class Row:
    """One line of the table."""

    network: str
    method: str
    precision: str
    mode: str

    def __str__(self) -> str:
        return "/".join((self.network, self.method, self.precision, self.mode))

    @property
    def words(self) -> tuple[str, ...]:
        """What the mode is made of."""
        return tuple(self.mode.split("+"))

    @property
    def engine(self) -> dict[str, object]:
        """What Sequential gets."""
        found: dict[str, object] = {"precision": self.precision}
        for word in self.words:
            if word in ("compile", "graph"):
                found[word] = True
            elif word == "fused":
                found["update"] = "fused"
            elif word.startswith("streams"):
                found["streams"] = int(word.removeprefix("streams"))
        return found

    @property
    def network_options(self) -> dict[str, object]:
        """What localize gets."""
        return {"recompute": True} if "recompute" in self.words else {}

    @property
    def channels_last(self) -> bool:
        """Whether weights and images lie so."""
        return "contiguous" not in self.words

    @property
    def eager(self) -> "Row":
        """The row whose results this one must have, to rounding."""
        same = [word for word in self.words if word == "contiguous"]
        return Row(self.network, self.method, self.precision, "+".join(["eager", *same]) if same else "eager")

    @property
    def backprop(self) -> "Row":
        """Backpropagation in the same precision and mode."""
        return Row(self.network, "backprop", self.precision, self.mode)


def parse(text: str) -> Row:
    """A row from NETWORK/METHOD/PRECISION/MODE. Raises ArgumentTypeError."""
    parts = text.split("/")
    if len(parts) != 4:
        raise argparse.ArgumentTypeError(f"{text!r}: expected NETWORK/METHOD/PRECISION/MODE")
    row = Row(*parts)
    for value, known in ((row.network, tuple(NETWORKS)), (row.method, tuple(METHODS)), (row.precision, PRECISIONS)):
        if value not in known:
            raise argparse.ArgumentTypeError(f"{text!r}: {value!r} is none of {', '.join(known)}")
    for word in row.words:
        if word not in OPTIONS and not (word.startswith("streams") and word.removeprefix("streams").isdigit()):
            raise argparse.ArgumentTypeError(f"{text!r}: {word!r} is none of {', '.join(OPTIONS)}, streamsN")
    return row


def default_rows(*, on_gpu: bool) -> list[Row]:
    """Every method eager in both precisions, the fast ones compiled and graphed too; by network.

    What the project's targets ask for comes first, then what is quick to prepare: time may run out.
    """
    rows = []
    for name, network in NETWORKS.items():
        others = [method for method in network.default if method not in FAST]
        eager = [Row(name, m, precision, "eager") for m in FAST for precision in PRECISIONS]
        rows += [Row(name, "backprop", "float32", "eager+contiguous"), *eager]
        if on_gpu:
            rows += [Row(name, m, precision, "graph") for precision in ("bfloat16", "float32") for m in FAST]
        rows += [Row(name, m, precision, "eager") for m in others for precision in PRECISIONS]
        for precision in ("bfloat16", "float32"):
            for mode in ("compile+graph", "compile") if on_gpu else ("compile",):
                rows += [Row(name, m, precision, mode) for m in FAST]
    return rows


def select(patterns: Sequence[str], *, on_gpu: bool) -> list[Row]:
    """The default rows that match a pattern (``default``: all), and rows spelled out. Raises ArgumentTypeError."""
    defaults, chosen = default_rows(on_gpu=on_gpu), list[Row]()
    for pattern in patterns:
        if pattern == "default":
            found = defaults
        elif any(sign in pattern for sign in "*?["):
            found = [row for row in defaults if fnmatchcase(str(row), pattern)]
            if not found:
                raise argparse.ArgumentTypeError(f"{pattern!r} matches none of the default rows")
        else:
            found = [parse(pattern)]
        chosen += [row for row in found if row not in chosen]
    return sorted(chosen, key=lambda row: list(NETWORKS).index(row.network))  # stable
