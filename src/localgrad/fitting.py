"""``localize``, which also finds the number of modules by the memory there is."""

import logging
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from localgrad import cost, network
from localgrad.errors import LocalgradError, nearest
from localgrad.method import Method, regrouped
from localgrad.methods import Backprop
from localgrad.network import LocalNetwork
from localgrad.partition import Cut
from localgrad.planning.fit import Fit, fit, partition_of
from localgrad.segments import whole_words
from localgrad.spec import Backbone, Partition
from localgrad.update import Precision

_log = logging.getLogger("localgrad")


def localize(
    model: Backbone | nn.Module | Sequence[nn.Module],
    method: Method,
    modules: int | Literal["auto"] | None = None,
    *,
    partition: Partition | Cut | None = None,
    cuts: Sequence[str] | None = None,
    groups: int | None = None,
    example: Tensor | None = None,
    seed: int = 0,
    recompute: bool | None = None,
    memory: str | int | None = None,
    batch_size: int | None = None,
    precision: Precision | str = Precision.FLOAT32,
) -> LocalNetwork:
    """Cut ``model`` into units that learn by ``method``.

    ``model`` is a Backbone, or any classification network with an ``example`` batch (B, C, H, W): its own modules and
    weights are then used in place; a list of modules is an nn.Sequential of them.
    ``modules=K`` takes the papers' table for this network (or says which Ks there are), equal MACs for a foreign one;
    ``partition`` takes any cut or explicit spans instead.
    ``cuts`` names the borders: a unit ends behind each of these submodules (blocks of a Backbone), in any order, so
    there is one unit more than names (AugLocal then joins its last ``depth``); of a foreign network any submodule
    behind which exactly one tensor is alive.
    ``groups=G`` cuts the modules into G neuron groups, where the method takes them (GNDGL).
    Initial weights are a function of ``seed`` and the names of blocks; a foreign network keeps its own.
    ``recompute=True`` recomputes activations in the backward pass where that lowers the live memory of a step: same
    results, more time. It is off by default. Modules of a foreign network that it cannot cut inside of are named, with
    the reason, in the log of "localgrad" and by ``LocalNetwork.kept_whole``.

    ``modules="auto"`` takes the fewest modules whose training step with ``batch_size`` samples stays below ``memory``
    of live bytes ("4GiB", "500MB" or a number of bytes), with ``precision`` and SGD with momentum: one module is
    backpropagation, more cut more. ``recompute=None`` then recomputes if the cut fits so only, and AugLocal gets a
    smaller depth where its own fits with no cut, which the log of "localgrad" says. ``planning.fit`` says what is tried
    and assumed; a search takes several seconds.

    Raises LocalgradError when the network cannot be cut, the cut does not fit the network or the method, the method
    cannot recompute, or nothing fits the memory.
    """
    if modules != "auto":
        for name, value in (("memory", memory), ("batch_size", batch_size)):
            if value is not None:
                raise LocalgradError(f"localize: {name}={value!r} is for modules='auto', got modules={modules!r}.")
        return _told(
            network.localize(
                model,
                method,
                modules,
                partition=partition,
                cuts=cuts,
                groups=groups,
                example=example,
                seed=seed,
                recompute=False if recompute is None else recompute,
            )
        )
    if partition is not None or cuts is not None:
        raise LocalgradError("localize: modules='auto' finds where to cut: leave partition and cuts out.")
    if memory is None or batch_size is None:
        raise LocalgradError(
            "localize: modules='auto' needs the memory there is and the batch: memory='4GiB', batch_size=128."
        )
    backbone = backbone_of(model, example)
    found = fit_memory(backbone, method, memory, batch_size, groups=groups, recompute=recompute, precision=precision)
    choice = found.chosen.choice
    if choice.method != regrouped(method, groups):
        _log.warning(
            "localize: modules='auto' takes %r in %s modules; with %r no cut stays below memory=%s.",
            choice.method,
            choice.modules,
            method,
            memory,
        )
    spans = partition_of(backbone, choice.method, choice.modules)
    return _told(network.localize(backbone, choice.method, partition=spans, seed=seed, recompute=choice.recompute))


def _told(net: LocalNetwork) -> LocalNetwork:
    """The network, once the log has what recomputation cannot cut inside of."""
    for line in whole_words(net.kept_whole()):
        _log.warning("localize: %s", line)
    return net


def backbone_of(model: Backbone | nn.Module | Sequence[nn.Module], example: Tensor | None = None) -> Backbone:
    """``model`` as a Backbone. Raises LocalgradError as ``localize`` does."""
    with torch.device("meta"):
        return network.localize(model, Backprop(), example=example).backbone


def fit_memory(
    model: Backbone,
    method: Method,
    memory: str | int,
    batch_size: int,
    *,
    groups: int | None = None,
    recompute: bool | None = None,
    precision: Precision | str = Precision.FLOAT32,
) -> Fit:
    """What ``localize(modules="auto")`` finds, with all that was tried; ``planning.fit.fit`` has the rest."""
    if not isinstance(method, Method):
        raise LocalgradError(f"localize: method must be a value such as methods.DGL(), got {method!r}.")
    if type(batch_size) is not int or batch_size < 1:
        raise LocalgradError(f"localize: batch_size must be a whole number of at least 1, got {batch_size!r}.")
    if precision not in tuple(Precision):
        raise LocalgradError(f"localize: precision {str(precision)!r} is unknown. {nearest(str(precision), Precision)}")
    if recompute not in (None, True, False):
        raise LocalgradError(f"localize: recompute must be True, False or None, got {recompute!r}.")

    def peak(net: LocalNetwork) -> int:
        return cost.memory(net, batch_size, precision=precision).peak

    return fit(model, regrouped(method, groups), memory, peak, recompute=recompute)
