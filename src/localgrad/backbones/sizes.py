"""Sizes that cross a border: numbers made from the size of the images, such as the rows and columns of tokens."""

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor, fx

from localgrad.backbones.atoms import Atom
from localgrad.backbones.trace import Traced
from localgrad.errors import LocalgradError
from localgrad.spec import Shape


def expect_shape(h: Tensor, shape: Shape) -> Tensor:
    """``h`` as it is. Raises LocalgradError unless a sample has ``shape``."""
    if tuple(h.shape[1:]) != tuple(shape):
        raise LocalgradError(
            f"features of shape {tuple(h.shape[1:])} came to a block that was traced with {tuple(shape)}. Sizes of the "
            "example's images are fixed in it, because they cross the border before it: train on images of that size, "
            "or localize with an example of yours."
        )
    return h


def fix_sizes(traced: Traced, groups: Sequence[Sequence[Atom]]) -> tuple[Traced, list[list[Atom]]]:
    """The same groups of atoms; in those that read sizes made before them, these are numbers of the trace.

    Such a group begins with a check of its input's shape. The nodes of the trace are changed.
    """
    values, fixed = dict(traced.values), []
    for group in groups:
        own = {node for atom in group for node in atom.nodes}
        foreign = {
            before
            for node in own
            for before in node.all_input_nodes
            if before in traced.sizes and before not in own and before.op != "get_attr"
        }
        if not foreign:
            fixed.append(list(group))
            continue

        def number(node: fx.Node, foreign: set[fx.Node] = foreign) -> fx.node.Argument:
            return values[node] if node in foreign else node  # type: ignore[return-value]

        source, first = group[0].source, group[0].nodes[0]
        before = traced.tensor(source)
        assert before is not None  # what an atom is cut at
        with first.graph.inserting_before(first):
            check = first.graph.call_function(expect_shape, (source, tuple(before.shape[1:])))
        values[check] = before
        for node in own:
            node.args, node.kwargs = fx.node.map_arg((node.args, node.kwargs), number)
            node.replace_input_with(source, check)
        fixed.append([replace(group[0], nodes=(check, *group[0].nodes)), *group[1:]])
    return replace(traced, values=values), fixed
