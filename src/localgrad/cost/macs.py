"""Multiply-accumulates (MACs) per node: what one worker of a pipeline computes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor, nn

from localgrad.cost.fake import image_of
from localgrad.cost.flops import step_macs
from localgrad.count import count_macs, forward_macs, weightless_copy
from localgrad.errors import LocalgradError, nearest
from localgrad.network import LocalNetwork, build_model
from localgrad.spec import Shape
from localgrad.unit import Unit, spans

Count = Literal["papers", "torch"]
"""``papers``: forward pass of one sample in evaluation mode, as ptflops counts for the papers' columns (``count.py``).
``torch``: forward and backward pass of one training step per sample, convolutions and matrix products, as
``torch.utils.flop_counter`` counts (its flops / 2)."""

Key = tuple[int, int]
"""A node: (index of the span k, group g)."""

_ELEMENTWISE = frozenset({"bias", "norm", "relu", "pool"})


@final
@dataclass(frozen=True)
class NodeMacs:
    """MACs and parameters of one node: a unit's body and auxiliary networks.

    ``by_kind`` splits the MACs by conv, linear, bias, norm, relu, pool (papers) or by operator (torch);
    ``aux_by_kind`` is the part of the auxiliary networks, None for torch, which counts a step as a whole. The
    backbone's own head belongs to the body of the unit that ends in it.
    """

    name: str
    by_kind: Mapping[str, int]
    aux_by_kind: Mapping[str, int] | None
    body_params: int
    aux_params: int

    @property
    def total(self) -> int:
        """MACs of body and auxiliary networks."""
        return sum(self.by_kind.values())

    @property
    def conv_linear(self) -> int:
        """MACs of convolutions and linear layers alone."""
        return conv_linear(self.by_kind)

    @property
    def aux_conv_linear(self) -> int | None:
        """The same of the auxiliary networks; None for torch."""
        return None if self.aux_by_kind is None else conv_linear(self.aux_by_kind)


@final
@dataclass(frozen=True)
class Macs:
    """MACs of a LocalNetwork per sample. ``count`` says by which convention, ``image`` (C, H, W) for which input.

    ``parts`` has an entry per unit. ``inference_by_kind`` is the forward pass of the plain network; ``end_to_end`` what
    training it as a whole costs in the same convention, without neuron groups and with its own head: its forward pass
    for papers, forward and backward for torch. ``alone`` is the unit without blocks, a classifier of its own, if the
    convention gives it no node.
    """

    count: Count
    image: Shape
    parts: Mapping[Key, NodeMacs]
    inference_by_kind: Mapping[str, int]
    end_to_end: int
    alone: Key | None = None

    @property
    def nodes(self) -> dict[Key, int]:
        """``{(k, g): MACs}``. A classifier of its own counts in every node of the module before it, as in the papers.

        (methods.md 7.4: the last module's nodes contain the decoupled classifier; torch's count has a node for it.)
        """
        nodes = {key: part.total for key, part in self.parts.items() if key != self.alone}
        if self.alone is not None:
            for key in nodes:
                if key[0] == self.alone[0] - 1:
                    nodes[key] += self.parts[self.alone].total
        return nodes

    @property
    def max_node(self) -> int:
        """MACs of the largest node: the pace of a pipeline with one worker per node."""
        return max(self.nodes.values())

    @property
    def inference(self) -> int:
        """MACs of the plain network's forward pass."""
        return sum(self.inference_by_kind.values())

    @property
    def total(self) -> int:
        """MACs of all nodes."""
        return sum(self.nodes.values())

    @property
    def inference_speedup(self) -> float:
        """How much less the network computes than the one without neuron groups: ``end_to_end / inference``."""
        return self.end_to_end / self.inference

    @property
    def speedup(self) -> float:
        """How much faster than end to end training one worker per node is at most: ``end_to_end / max_node``."""
        return self.end_to_end / self.max_node


def conv_linear(by_kind: Mapping[str, int]) -> int:
    """MACs without element-wise layers, pooling and biases."""
    return sum(macs for kind, macs in by_kind.items() if kind not in _ELEMENTWISE)


def macs(net: LocalNetwork, image: Sequence[int] | None = None, count: Count = "papers") -> Macs:
    """MACs of every node of ``net`` for images of shape ``image`` (C, H, W), by default the backbone's.

    Nothing is computed and ``net`` is not touched; it may be on any device, also meta.
    Raises LocalgradError for an image that does not fit the network and an unknown ``count``.
    """
    if count not in get_args(Count):
        raise LocalgradError(f"macs: count {count!r} is unknown. {nearest(str(count), get_args(Count))}")
    shape = image_of(net, image)
    if count == "torch":
        return _torch(net, shape)
    meta = weightless_copy(net, "meta")
    inference, _ = count_macs(meta.model, shape)
    parts: dict[Key, NodeMacs] = {}
    shape_in, units = shape, meta.unit_list()
    for _, members in spans(units):
        bodies = _bodies(members, shape_in)
        channels = [out[0] for _, out in bodies]
        counted: list[tuple[object, Counter[str]]] = []
        for unit, (body, out) in zip(members, bodies, strict=True):
            heads, auxnets = heads_and_auxnets(meta, unit)
            seen = (unit.spec.sees(channels), *out[1:])
            # Groups with equal auxiliary networks are counted once.
            alike = (seen, tuple(objective.aux for objective in unit.spec.objectives))
            aux = next((counts for key, counts in counted if key == alike), None)
            if aux is None:
                aux = _counted(auxnets, seen)
                counted.append((alike, aux))
            parts[unit.spec.index, unit.spec.group] = _node(meta, unit, body + _counted(heads, seen) + aux, aux)
        # All groups of a span read all channels of the span before.
        shape_in = (sum(channels), *bodies[0][1][1:])
    alone = (units[-1].spec.index, 0) if len(units) > 1 and len(units[-1].span) == 0 else None
    return Macs("papers", shape, parts, inference, _end_to_end(net, shape, inference), alone)


def _bodies(members: Sequence[Unit], shape: Shape) -> list[tuple[Counter[str], Shape]]:
    """MACs and output shape of the body of every group of a span; groups of one size cost the same."""
    found: dict[int, tuple[Counter[str], Shape]] = {}
    sizes = members[0].span.groups if len(members) > 1 else (0,)
    for unit, size in zip(members, sizes, strict=True):
        if size not in found:
            found[size] = count_macs(unit.body, shape)
    return [found[size] for size in sizes]


def _counted(modules: Sequence[nn.Module], shape: Shape) -> Counter[str]:
    """MACs of modules that all read features of ``shape``."""
    counts: Counter[str] = Counter()
    for module in modules:
        counts.update(forward_macs(module, shape)[0])
    return counts


def _end_to_end(net: LocalNetwork, shape: Shape, inference: Counter[str]) -> int:
    """Forward MACs of the network before neuron groups or another head came into it."""
    dense = net.backbone.changed_from
    if dense is None:
        return inference.total()
    with torch.device("meta"):
        model, _ = build_model(dense, seed=0)
    return count_macs(model, shape)[0].total()


def _torch(net: LocalNetwork, shape: Shape) -> Macs:
    counted = step_macs(net, shape)
    parts = {
        key: _node(net, unit, by_operator, None)
        for (key, unit), by_operator in zip(keyed_units(net), counted.units, strict=True)
    }
    return Macs("torch", shape, parts, counted.inference, counted.end_to_end.total())


def keyed_units(net: LocalNetwork) -> list[tuple[Key, Unit]]:
    """The units with their (k, g)."""
    return [((unit.spec.index, unit.spec.group), unit) for unit in net.unit_list()]


def heads_and_auxnets(net: LocalNetwork, unit: Unit) -> tuple[list[nn.Module], list[nn.Module]]:
    """What the unit's losses look through: modules of the plain network (its head), and auxiliary networks."""
    plain = set(net.model.modules())
    different = list(dict.fromkeys(unit.auxnets.values()))
    return [m for m in different if m in plain], [m for m in different if m not in plain]


def _node(net: LocalNetwork, unit: Unit, by_kind: Mapping[str, int], aux: Mapping[str, int] | None) -> NodeMacs:
    heads, auxnets = heads_and_auxnets(net, unit)
    return NodeMacs(unit.name, by_kind, aux, _parameters([unit.body, *heads]), _parameters(auxnets))


def _parameters(modules: Sequence[nn.Module]) -> int:
    different: dict[Any, Tensor] = {id(p): p for module in modules for p in module.parameters()}
    return sum(parameter.numel() for parameter in different.values())
