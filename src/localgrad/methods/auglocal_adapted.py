"""AugLocal on foreign networks: later blocks, rebuilt with fresh weights and adapted to each other; a classifier."""

from localgrad.auxnets import (
    FlatMLP,
    Truncated,
    VectorMLP,
    View,
    pooled_first,
    pooled_shape,
    sequential,
    uniform,
    views_of,
)
from localgrad.blocks import PooledLinear
from localgrad.errors import LocalgradError, located
from localgrad.methods.auglocal_blocks import Selection
from localgrad.spec import AdaptableBlock, AuxSpec, Backbone, Block


def adapted_auxnet(
    backbone: Backbone, layer: int, rule: Selection, depth: int, *, head_bn: bool, flat: bool, aux_pool: int
) -> AuxSpec:
    """The auxiliary network of ``depth`` rebuilt blocks behind block ``layer`` of a foreign network.

    It ends in the mean over positions, [BatchNorm] and a linear layer; tokens are normed before the mean
    (``auxnets.View``). ``flat`` ends in FlatMLP instead. ``aux_pool`` averages maps first, and the blocks then work on
    smaller ones. Raises LocalgradError for rules that are not for foreign networks, and for ``aux_pool`` where a block
    runs on one size only.
    """
    own = views_of(backbone)[layer]
    # Maps with channels last are seen as (C, H, W), so that they can be averaged; tokens as they are.
    read = View(own.shape) if len(own.features) == 3 else own
    with located(f"AugLocal: the auxiliary network behind block {backbone.block_names[layer]!r} of {backbone.name}"):
        blocks, behind = adapted_blocks(rule, backbone, layer, read, depth)
        smaller = pooled_shape(read.features, aux_pool)
        if smaller != read.features:
            for block in blocks:
                smaller = block.shape(smaller)
    classes = backbone.num_classes
    classifier: AuxSpec
    if flat:
        classifier = FlatMLP(classes)
    elif len(behind.shape) == 3:
        classifier = behind.of(PooledLinear(behind.shape[0], classes, head_bn))
    else:
        classifier = behind.of(VectorMLP(behind.shape[0], classes, hidden=0, batch_norm=head_bn))
    aux = pooled_first(Truncated(blocks, classifier), read.features, aux_pool)
    return aux if read == own else own.of(aux)


def adapted_blocks(
    rule: Selection, backbone: Backbone, layer: int, read: View, depth: int
) -> tuple[tuple[Block, ...], View]:
    """``depth`` blocks of a foreign network behind block ``layer``, each adapted to the one before; what they leave.

    ``read`` is what the first of them reads. Every block works on features of the size that it has in the network, so
    channels and positions change where it needs them to. Raises LocalgradError for rules that change strides or make
    convolutions, which are for localgrad's own networks.
    """
    layers = len(backbone.blocks)
    match rule:
        case "uniform":
            chosen = uniform(layer, layers, depth)
        case "sequential":
            chosen = sequential(layer, layers, depth)
        case "repetitive":
            chosen = (layer,) * depth
        case _:
            raise LocalgradError(
                f"selection {rule!r} makes blocks of other strides or convolutions of its own, and {backbone.name} is "
                "a foreign network, whose blocks are taken as they are. Take 'uniform', 'sequential' or 'repetitive'."
            )
    blocks: list[Block] = []
    for index in chosen:
        block = backbone.blocks[index]
        if not isinstance(block, AdaptableBlock):
            raise LocalgradError(f"block {backbone.block_names[index]!r} cannot be rebuilt behind other features.")
        made = block.behind(read.features, read.axis)
        blocks.append(made)
        read = View(made.shape(read.features), made.out_axis)
    return tuple(blocks), read
