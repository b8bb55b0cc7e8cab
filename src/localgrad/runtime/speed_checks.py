"""What does not go with compiled units, CUDA graphs and CUDA streams, said when the runtime is made."""

from collections import Counter

import torch

from localgrad.errors import LocalgradError, nearest
from localgrad.network import LocalNetwork
from localgrad.runtime.units import largest_reach
from localgrad.unit import spans
from localgrad.update import Precision


def backend_name(wish: object, *, who: str = "Sequential") -> str | None:
    """The ``torch.compile`` backend that ``compile=wish`` asks for; None for no compilation.

    True is "inductor". Raises LocalgradError for another kind of value, and for a backend that torch does not have.
    """
    if type(wish) is bool:
        return "inductor" if wish else None
    if not isinstance(wish, str):
        raise LocalgradError(
            f"{who}: compile must be True, False or the name of a torch.compile backend, got {wish!r}."
        )
    known = torch.compiler.list_backends(exclude_tags=())
    if wish not in known:
        raise LocalgradError(
            f"{who}: compile={wish!r} is no backend of torch.compile. {nearest(wish, known)} compile=True takes "
            "inductor."
        )
    return wish


def check_compile(wish: object, workers: int, *, who: str = "Sequential") -> None:
    """Raise LocalgradError for a backend that there is not, and for compiled units on CPU threads."""
    if backend_name(wish, who=who) is not None and workers > 1:
        raise LocalgradError(
            f"{who}: workers={workers} step units on CPU threads, and torch.compile is not made for several at "
            "once. Leave workers or compile out."
        )


def check_graph(net: LocalNetwork, graph: object, precision: Precision) -> None:
    """Raise LocalgradError where a whole step cannot be captured in a CUDA graph."""
    if type(graph) is not bool:
        raise LocalgradError(f"Sequential: graph must be True or False, got {graph!r}.")
    if not graph:
        return
    device = next(net.parameters()).device
    if device.type != "cuda":
        raise LocalgradError(
            f"Sequential: graph=True captures a training step in a CUDA graph, and the network is on {device}. Move it "
            "to a GPU before (net.to('cuda')), or leave graph out."
        )
    if precision is Precision.FLOAT16:
        raise LocalgradError(
            "Sequential: graph=True cannot capture float16, whose loss scale decides in every step whether the "
            "optimiser moves. Take precision='bfloat16'."
        )


def check_streams(net: LocalNetwork, streams: object) -> None:
    """Raise LocalgradError where units cannot overlap on CUDA streams."""
    if type(streams) is not int:
        raise LocalgradError(f"Sequential: streams must be a whole number, got {streams!r}.")
    if streams < 1:
        raise LocalgradError(f"Sequential: streams must be at least 1, got {streams}.")
    if streams == 1:
        return
    device = next(net.parameters()).device
    if device.type != "cuda":
        raise LocalgradError(
            f"Sequential: streams={streams} are queues of a GPU, and the network is on {device}. On the CPU "
            "workers=N steps units side by side."
        )
    what = working_together(net)
    if what is not None:
        raise LocalgradError(f"Sequential: streams={streams} step units on their own; {what} work together. Use 1.")


def working_together(net: LocalNetwork) -> str | None:
    """Why the units of a network cannot step side by side; None where they can."""
    units = net.unit_list()
    # Parts that follow a part of their own auxiliary network are nobody else's business.
    followed = any(follow.rate is not None and follow.other is None for unit in units for follow in unit.spec.follows)
    owners = Counter(id(parameter) for unit in units for parameter in unit.parameters())
    if largest_reach(units) > 1:
        return "cascades"
    if len(spans(units)) < len(units):
        return "neuron groups"
    if followed:
        return "units that follow each other's weights"
    return "units that share parameters" if max(owners.values()) > 1 else None
