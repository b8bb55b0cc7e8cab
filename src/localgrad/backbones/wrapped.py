"""A block that is part of a foreign network: its modules, used in place."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import fx, nn

from localgrad.backbones.atoms import Atom, is_batch_size
from localgrad.backbones.channels import channel_axis, look
from localgrad.backbones.leaves import meta_copy, run_on_meta
from localgrad.backbones.modes import FLAG
from localgrad.backbones.rebuilding import RebuiltBlock, rebuilt, rebuilt_behind
from localgrad.backbones.trace import Traced
from localgrad.errors import LocalgradError
from localgrad.spec import Shape


@final
@dataclass(frozen=True)
class WrappedBlock:
    """Modules of a foreign network as one block, in place: ``build`` gives ``module`` itself, never a copy.

    ``borrowed`` are the paths of parameters and buffers that the network's top level owns and ``module`` refers to.
    ``in_axis`` and ``out_axis`` say which axis of one sample holds the channels (``channels.channel_axis``),
    ``writes`` whether the module writes into its input.
    """

    name: str
    module: nn.Module
    in_shape: Shape
    out_shape: Shape
    borrowed: tuple[str, ...] = ()
    in_axis: int = 0
    out_axis: int = 0
    writes: bool = False

    def build(self) -> nn.Module:
        """The module itself, with the network's own parameters."""
        return self.module

    def rebuild(self, *, in_channels: int, stride: int, groups: int = 1) -> RebuiltBlock:
        """The same configuration, fresh weights, for ``in_channels`` and ``stride`` (``rebuilding.rebuilt``)."""
        return rebuilt(self, in_channels, stride, groups)

    def behind(self, shape: Shape, axis: int = 0) -> RebuiltBlock:
        """The same configuration, fresh weights, behind features of ``shape`` with channels on ``axis``.

        Channels, positions and the order of axes are adapted in front of it (``rebuilding_adapter.Adapter``).
        """
        return rebuilt_behind(self, shape, axis)

    def shape(self, shape: Shape) -> Shape:
        """Shape of the output of one sample. Raises LocalgradError when the block does not run on ``shape``."""
        if shape == self.in_shape:
            return self.out_shape
        dtype = next((p.dtype for p in self.module.parameters()), torch.get_default_dtype())
        try:
            return tuple(run_on_meta(meta_copy(self.module), (1, *shape), dtype).shape[1:])
        except Exception as error:
            raise LocalgradError(
                f"block {self.name!r} does not run on an input of shape {shape}; it was traced with {self.in_shape}. "
                f"torch says: {error}."
            ) from error

    def relink(self, model: nn.Module) -> None:
        """Take the borrowed tensors from ``model`` again."""
        for path in self.borrowed:
            *parents, leaf = path.split(".")
            setattr(self.module.get_submodule(".".join(parents)), leaf, get_path(model, path))


def wrap_atoms(model: nn.Module, traced: Traced, name: str, group: Sequence[Atom]) -> WrappedBlock:
    """The group's calls as a module: the submodule itself, a Sequential of them, or a graph module."""
    source, result = group[0].source, group[-1].result
    nodes = [node for atom in group for node in atom.nodes]
    before, after = traced.tensor(source), traced.tensor(result)
    assert before is not None and after is not None  # what an atom is cut at
    shapes = tuple(before.shape[1:]), tuple(after.shape[1:])
    chained = zip(nodes, [source, *nodes], strict=False)
    if nodes[-1] is result and all(n.op == "call_module" and n.args == (b,) and not n.kwargs for n, b in chained):
        modules = [model.get_submodule(str(node.target)) for node in nodes]
        if len(modules) == 1:
            return WrappedBlock(name, modules[0], shapes[0], shapes[1])
        layers = nn.Sequential()
        for node, module in zip(nodes, modules, strict=True):
            layers.add_module(node.name, module)
        layers.training = model.training  # not train(): the modules inside keep their own flags
        return WrappedBlock(name, layers, shapes[0], shapes[1])
    graph = _subgraph(traced, source, nodes, result)
    root: dict[str, object] = {}
    for node in graph.nodes:
        if node.op in ("call_module", "get_attr"):
            root[str(node.target)] = True if node.target == FLAG else get_path(model, str(node.target))
    borrowed = [str(n.target) for n in graph.nodes if n.op == "get_attr" and n.target != FLAG]
    made = fx.GraphModule(root, graph, "Block")
    made.training = model.training
    return WrappedBlock(name, made, shapes[0], shapes[1], tuple(borrowed))


def with_axes(blocks: Sequence[WrappedBlock]) -> list[WrappedBlock]:
    """The blocks of a network in order, head included, with what ``channels.look`` finds out about each."""
    looks = [look(block.module, block.in_shape) for block in blocks]
    borders = [channel_axis(block.out_shape, looks[k].calls, looks[k + 1].calls) for k, block in enumerate(blocks[:-1])]
    axes = [0, *borders, 0]
    return [
        replace(block, in_axis=axes[k], out_axis=axes[k + 1], writes=looks[k].writes) for k, block in enumerate(blocks)
    ]


def _subgraph(traced: Traced, source: fx.Node, nodes: Sequence[fx.Node], result: fx.Node) -> fx.Graph:
    """The calls ``nodes`` as a graph from ``source`` to ``result``."""
    graph = fx.Graph()
    own = {source: graph.placeholder("h")}

    def find(node: fx.Node) -> fx.Node:
        if node not in own:
            if node.op == "get_attr":
                own[node] = graph.node_copy(node)
            else:
                assert is_batch_size(node, traced)  # nothing else crosses a border
                own[node] = graph.call_method("size", (own[source], 0))
        return own[node]

    for node in nodes:
        own[node] = graph.node_copy(node, find)
    graph.output(own[result])
    return graph


def get_path(root: nn.Module, path: str) -> object:
    """The module, parameter or buffer under a dotted path."""
    found: object = root
    for part in path.split("."):
        found = getattr(found, part)
    return found
