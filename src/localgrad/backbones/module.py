"""Any ``nn.Module`` as a Backbone: its own modules, used in place, cut where exactly one tensor is alive."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from localgrad.backbones.atoms import block_name, find_atoms, first_call, group_atoms
from localgrad.backbones.cuts import check_cuts, check_paths, cut_atoms, partition_at
from localgrad.backbones.sizes import fix_sizes
from localgrad.backbones.trace import Traced, trace
from localgrad.backbones.wrapped import WrappedBlock, get_path, with_axes, wrap_atoms
from localgrad.blocks import he_fan_out
from localgrad.errors import LocalgradError
from localgrad.partition import Cut, EqualMacs, PaperTable
from localgrad.spec import Backbone, Block, Partition, Source


def wrap(model: nn.Module, example: Tensor, cuts: Sequence[str] = ()) -> Backbone:
    """``model`` as a Backbone that uses its modules and parameters in place, weights as they are.

    ``example`` is a batch (B, C, H, W) as the network reads it; only shape and dtype matter. A block is a repeated
    submodule (``layer1.0``), or a layer with weights and the norms and weightless layers behind it; its name is the
    path of the former. The head begins at the pooling or flattening behind the last feature map. The children of a
    plain ``nn.Sequential`` are taken whole, unless they make a single block. ``cuts`` are paths of submodules that a
    block ends behind in any case; borders inside submodules that otherwise are one block may be among them.

    Nothing is computed on data, no buffer changes, no random number is drawn. Raises LocalgradError when the network
    does not run on the example, gives no logits_BK, cannot be traced at its top level, has no block before the head, or
    no border where one was named.
    """
    return wrap_and_cut(model, example, cuts)[0]


def wrap_and_cut(model: nn.Module, example: Tensor, cuts: Sequence[str] = ()) -> tuple[Backbone, Partition]:
    """What ``wrap`` gives, and its spans that end behind the submodules ``cuts``, in any order."""
    if not isinstance(model, nn.Module):
        raise LocalgradError(f"localize: expected a Backbone or an nn.Module, got {type(model).__name__}.")
    if not isinstance(example, Tensor) or example.ndim < 2:
        got = f"shape {tuple(example.shape)}" if isinstance(example, Tensor) else type(example).__name__
        raise LocalgradError(f"localize: example must be a batch, a tensor of shape (B, C, H, W), got {got}.")
    check_weights(model)
    cuts = check_cuts(cuts)
    check_paths(model, cuts)
    whole = type(model) is nn.Sequential and not any("." in cut for cut in cuts)
    found = _wrap(model, trace(model, example, cuts=cuts, whole_children=whole), example, cuts)
    if whole and not cuts and len(found[0].blocks) < 2:
        return _wrap(model, trace(model, example), example, cuts)
    return found


def check_weights(model: nn.Module) -> None:
    """Raise LocalgradError unless weights have the dtype that auxiliary networks will have, torch's default."""
    usual = torch.get_default_dtype()
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and weight.dtype != usual:
            raise LocalgradError(
                f"localize: {name!r} of {type(model).__name__} is {weight.dtype}, and auxiliary networks are made in "
                f"{usual}. Give the network in {usual} (model.to({usual})) and convert what localize returns, "
                "net.to(dtype); to train in bfloat16, keep float32 weights and take Sequential(precision='bfloat16')."
            )


def _wrap(model: nn.Module, traced: Traced, example: Tensor, cuts: Sequence[str]) -> tuple[Backbone, Partition]:
    atoms, crossings = find_atoms(traced)
    ends = cut_atoms(model, traced, atoms, cuts)
    groups = group_atoms(model, traced, atoms, ends.values())
    if len(groups) < 2:
        raise LocalgradError(
            f"localize: {type(model).__name__} has no block before its head, so it cannot be cut"
            f"{_crossing_text(crossings)}."
        )
    last = {id(group[-1]): index for index, group in enumerate(groups)}
    at = [last[id(atoms[end])] for end in ends.values()]
    traced, groups = fix_sizes(traced, groups)
    names: list[str] = []
    for index, group in enumerate(groups):
        name = block_name(model, group, "head" if index == len(groups) - 1 else first_call(group))
        taken = sum(other == name or other.startswith(f"{name}_call") for other in names)
        names.append(f"{name}_call{taken + 1}" if taken else name)
    blocks = with_axes([wrap_atoms(model, traced, name, group) for name, group in zip(names, groups, strict=True)])
    logits = traced.tensor(traced.result)
    assert logits is not None  # checked by trace
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    backbone = Backbone(
        name=type(model).__name__,
        arguments=(("wraps", kind),),
        blocks=tuple(blocks[:-1]),
        block_names=tuple(names[:-1]),
        head=blocks[-1],
        head_name=names[-1],
        num_classes=logits.shape[1],
        image=tuple(example.shape[1:]),
        initialise=he_fan_out,
        source=Source(model, crossings),
    )
    return backbone, partition_at(backbone, at, cuts)


def _crossing_text(crossings: Sequence[str]) -> str:
    """Why there are no more cuts: the first place where several values are alive."""
    if not crossings:
        return ""
    more = f"; and so in {len(crossings) - 1} more places" if len(crossings) > 1 else ""
    return f" (a border needs exactly one tensor alive, but two or more cross {crossings[0]}{more})"


def _why_not_more(crossings: Sequence[str]) -> str:
    """What would have to change in a network for more blocks."""
    if crossings:
        return f"There are no more borders{_crossing_text(crossings)}."
    return "A block is a repeated submodule, or a layer with weights and all that follows it up to the next."


def cut_wrapped(backbone: Backbone, cut: Cut) -> Cut:
    """The cut for a wrapped network: equal MACs where a method asks for a paper's table, which no paper has for it.

    Raises LocalgradError, naming the tensors that cross, when there are fewer blocks than modules.
    """
    if backbone.source is None or not isinstance(cut, PaperTable):
        return cut
    if not 1 <= cut.modules <= len(backbone.blocks):
        upto = "1" if len(backbone.blocks) == 1 else f"1 to {len(backbone.blocks)}"
        raise LocalgradError(
            f"modules={cut.modules}: {backbone.name} can be cut into at most {len(backbone.blocks)} units, one per "
            f"block ({', '.join(backbone.block_names)}). Take modules={upto}. "
            + _why_not_more(backbone.source.crossings)
        )
    return EqualMacs(cut.modules)


def check_wrapped(backbone: Backbone, partition: Partition) -> None:
    """Raise LocalgradError when a parameter or buffer of a wrapped network would belong to two units.

    A buffer that blocks only read, such as a table of positions that the top level hands to each, may.
    """
    if backbone.source is None:
        return
    names = {
        id(tensor): path
        for tensors in (
            backbone.source.module.named_parameters(remove_duplicate=False),
            backbone.source.module.named_buffers(remove_duplicate=False),
        )
        for path, tensor in tensors
    }
    owner: dict[int, tuple[str, bool]] = {}
    for index, span in enumerate(partition.spans):
        last = index == len(partition) - 1
        unit = backbone.head_name if last and not len(span) else backbone.block_names[span.stop - 1]
        for block in (*backbone.blocks[span.start : span.stop], *([backbone.head] if last else [])):
            module, read = block.build(), _read_buffers(block)
            for tensor in (*module.parameters(), *module.buffers()):
                only_read = id(tensor) in read
                first, was_read = owner.setdefault(id(tensor), (unit, only_read))
                if first != unit and not (only_read and was_read):
                    raise LocalgradError(
                        f"localize: {names.get(id(tensor), 'a tensor')!r} of {backbone.name} is used by the units "
                        f"{first!r} and {unit!r}; each would train it by its own loss. Cut elsewhere, so that one unit "
                        "holds both uses, or give each a copy of its own."
                    )


def _read_buffers(block: Block) -> frozenset[int]:
    """The buffers that a block reads as values, by their ids."""
    if not isinstance(block, WrappedBlock):
        return frozenset()
    found = (get_path(block.module, path) for path in block.borrowed)
    return frozenset(id(tensor) for tensor in found if not isinstance(tensor, nn.Parameter))


def relink(backbone: Backbone) -> None:
    """Point blocks at the network's current tensors where they borrow some, after a move replaced them."""
    for block in (*backbone.blocks, backbone.head):
        if isinstance(block, WrappedBlock) and backbone.source is not None:
            block.relink(backbone.source.module)
