"""Any ``nn.Module`` as a Backbone: its own modules, used in place, cut where exactly one tensor is alive."""

from collections.abc import Sequence

from torch import Tensor, nn

from localgrad.backbones.atoms import block_name, find_atoms, group_atoms
from localgrad.backbones.trace import Traced, trace
from localgrad.backbones.wrapped import WrappedBlock, wrap_atoms
from localgrad.blocks import he_fan_out
from localgrad.errors import LocalgradError
from localgrad.partition import Cut, EqualMacs, PaperTable
from localgrad.spec import Backbone, Partition, Source


def wrap(model: nn.Module, example: Tensor) -> Backbone:
    """``model`` as a Backbone that uses its modules and parameters in place, weights as they are.

    ``example`` is a batch (B, C, H, W) as the network reads it; only shape and dtype matter. A block is a repeated
    submodule (``layer1.0``), or a layer with weights and the norms and weightless layers behind it; its name is the
    path of the former. The head begins at the pooling or flattening behind the last feature map. The children of a
    plain ``nn.Sequential`` are taken whole, unless they make a single block.

    Nothing is computed on data, no buffer changes, no random number is drawn. Raises LocalgradError when the network
    does not run on the example, gives no logits_BK, cannot be traced at its top level or has no block before the head.
    """
    if not isinstance(model, nn.Module):
        raise LocalgradError(f"localize: expected a Backbone or an nn.Module, got {type(model).__name__}.")
    if not isinstance(example, Tensor) or example.ndim < 2:
        got = f"shape {tuple(example.shape)}" if isinstance(example, Tensor) else type(example).__name__
        raise LocalgradError(f"localize: example must be a batch, a tensor of shape (B, C, H, W), got {got}.")
    whole = type(model) is nn.Sequential
    backbone = _wrap(model, example, trace(model, example, whole_children=whole))
    if whole and len(backbone.blocks) < 2:
        return _wrap(model, example, trace(model, example))
    return backbone


def _wrap(model: nn.Module, example: Tensor, traced: Traced) -> Backbone:
    atoms, crossings = find_atoms(traced)
    groups = group_atoms(model, traced, atoms)
    if len(groups) < 2:
        raise LocalgradError(
            f"localize: {type(model).__name__} has no block before its head, so it cannot be cut"
            f"{_crossing_text(crossings)}."
        )
    names: list[str] = []
    for index, group in enumerate(groups):
        name = block_name(model, group, "head" if index == len(groups) - 1 else "block")
        taken = sum(other == name or other.startswith(f"{name}_call") for other in names)
        names.append(f"{name}_call{taken + 1}" if taken else name)
    blocks = [wrap_atoms(model, traced, name, group) for name, group in zip(names, groups, strict=True)]
    logits = traced.tensor(traced.result)
    assert logits is not None  # checked by trace
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    return Backbone(
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
    """Raise LocalgradError when the units of a wrapped network could not be trained on their own.

    What passes a border must be a feature map (C, H, W), since auxiliary networks for tokens and vectors do not exist
    yet; and no parameter or buffer may belong to two units.
    """
    if backbone.source is None:
        return
    shapes, image = backbone.shapes(), backbone.image
    square = len(image) == 3 and image[1] == image[2]
    for span in partition.spans[:-1]:
        shape, name = shapes[span.stop - 1], backbone.block_names[span.stop - 1]
        if len(shape) != 3 or (square and shape[1] != shape[2]):
            kind = "channels last" if len(shape) == 3 else "tokens or vectors"
            raise LocalgradError(
                f"localize: the border behind block {name!r} of {backbone.name} carries features of shape {shape}, "
                f"expected (C, H, W), got {kind}. Auxiliary networks for such features are not supported yet: cut at "
                "feature maps only, or take modules=1 or Backprop()."
            )
    names = {
        id(tensor): path
        for tensors in (
            backbone.source.module.named_parameters(remove_duplicate=False),
            backbone.source.module.named_buffers(remove_duplicate=False),
        )
        for path, tensor in tensors
    }
    owner: dict[int, str] = {}
    for index, span in enumerate(partition.spans):
        last = index == len(partition) - 1
        unit = backbone.head_name if last and not len(span) else backbone.block_names[span.stop - 1]
        for block in (*backbone.blocks[span.start : span.stop], *([backbone.head] if last else [])):
            module = block.build()
            for tensor in (*module.parameters(), *module.buffers()):
                if owner.setdefault(id(tensor), unit) != unit:
                    raise LocalgradError(
                        f"localize: {names.get(id(tensor), 'a tensor')!r} of {backbone.name} is used by the units "
                        f"{owner[id(tensor)]!r} and {unit!r}; each would train it by its own loss. Cut elsewhere, so "
                        "that one unit holds both uses, or give each a copy of its own."
                    )


def relink(backbone: Backbone) -> None:
    """Point blocks at the network's current tensors where they borrow some, after a move replaced them."""
    for block in (*backbone.blocks, backbone.head):
        if isinstance(block, WrappedBlock) and backbone.source is not None:
            block.relink(backbone.source.module)
