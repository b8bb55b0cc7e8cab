"""LocalNetwork: a network cut into units. ``localize`` makes one."""

import copy
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import final, get_args

import torch
from torch import Tensor, nn

from localgrad.backbones.cuts import check_cuts, cut_blocks
from localgrad.backbones.module import check_wrapped, cut_wrapped, relink, wrap_and_cut
from localgrad.ensemble import EnsembleMode, layerwise_ensemble, mean_probabilities
from localgrad.errors import LocalgradError, nearest
from localgrad.grouping import GroupedBlock, SideBySide, group_name, with_groups, with_head
from localgrad.method import Method, regrouped
from localgrad.objective import Follow, UnitSpec, recomputed
from localgrad.partition import Cut
from localgrad.rng import derive_seed, seeded
from localgrad.segments import Parts, plan_segments, whole_parts
from localgrad.spec import Backbone, Block, Partition, chain
from localgrad.unit import Unit, forward_units


def nest(paths: Sequence[str], modules: Sequence[nn.Module]) -> nn.ModuleDict:
    """Modules under dotted paths as nested ``nn.ModuleDict``s."""
    root = nn.ModuleDict()
    for path, module in zip(paths, modules, strict=True):
        *parents, leaf = path.split(".")
        node = root
        for parent in parents:
            if parent not in node:
                node[parent] = nn.ModuleDict()
            child = node[parent]
            assert isinstance(child, nn.ModuleDict)
            node = child
        node[leaf] = module
    return root


Wanted = Callable[[int, int], bool]
"""Whether block i, as far as neuron group g makes it, gets weights; the head is the block after the last."""


def everything(_block: int, _group: int) -> bool:
    """All blocks get weights."""
    return True


def where(real: bool) -> AbstractContextManager[object]:
    """The device to build on: the usual one, or meta, where nothing is allocated."""
    return nullcontext() if real else torch.device("meta")


def build_model(backbone: Backbone, seed: int, wanted: Wanted = everything) -> tuple[nn.Module, list[nn.Module]]:
    """The plain network and its blocks, the head last: freshly initialised, or the foreign network as it is.

    Blocks that are not ``wanted`` are on the meta device; of a foreign network all are as they are.
    """
    if backbone.source is not None:
        return backbone.source.module, [block.build() for block in (*backbone.blocks, backbone.head)]
    paths = (*backbone.block_names, backbone.head_name)
    blocks: list[nn.Module] = []
    for index, (name, block) in enumerate(zip(paths, (*backbone.blocks, backbone.head), strict=True)):
        if isinstance(block, GroupedBlock):
            parts = []
            for group in range(len(block.parts)):
                with where(wanted(index, group)):
                    parts.append(build_group(backbone, block, name, group, seed))
            blocks.append(block.joined(parts))
        else:
            with where(wanted(index, 0)):
                blocks.append(build_block(backbone, block, name, seed))
    return chain(paths, blocks), blocks


def build_block(backbone: Backbone, block: Block, name: str, seed: int) -> nn.Module:
    """A block whose initial weights are a function of ``seed`` and its name."""
    with seeded(derive_seed(seed, "model", name)):
        module = block.build()
        backbone.initialise(module)
    return module


def build_group(backbone: Backbone, block: GroupedBlock, name: str, group: int, seed: int) -> nn.Module:
    """What one neuron group makes of a block, with initial weights that are a function of ``seed`` and its name.

    They are spread as those of the grouped convolution of all groups, as in GN-DGL's code: a rule by the number of
    output channels means those of the layer.
    """
    name, fused = group_name(name, group), block.fused()
    part = build_block(backbone, block.parts[group], name, seed)
    if fused is not None and not any(parameter.is_meta for parameter in part.parameters()):
        block.start_weights(part, build_block(backbone, fused, name, seed), group)
    return part


def own_blocks(spec: UnitSpec, blocks: Sequence[nn.Module]) -> list[nn.Module]:
    """The blocks of a unit's span, or what its neuron group makes of them."""
    found = []
    for block in blocks[spec.span.start : spec.span.stop]:
        found.append(block.get_submodule(f"g{spec.group}") if isinstance(block, SideBySide) else block)
    return found


def owns_block(backbone: Backbone, specs: Sequence[UnitSpec], owned: Collection[int], block: int, group: int) -> bool:
    """Whether one of the ``owned`` units trains a block, as far as the neuron group makes it, or uses the head."""
    for place in owned:
        spec = specs[place]
        if block < len(backbone.blocks):
            mine = spec.span.start <= block < spec.span.stop and (spec.group == group or not spec.span.groups)
        else:
            mine = any(objective.aux is backbone.head for objective in spec.objectives)
        if mine:
            return True
    return False


def recompute_in_segments(backbone: Backbone, units: Sequence[Unit]) -> None:
    """Give the units whose specs ask for it the segments of body and auxiliary networks that they recompute."""
    asking = [unit for unit in units if unit.spec.recompute is not None]
    inputs = [backbone.image, *backbone.shapes()] if asking else []
    cascades = max(unit.spec.reach for unit in units) > 1
    parts = []
    for unit in asking:
        spec, seen = unit.spec, None
        assert spec.recompute is not None
        behind = inputs[spec.span.stop]
        if spec.shares_features and spec.span.groups:
            seen = (spec.sees(spec.span.groups), *behind[1:])
        # Cascades end above the unit; groups learn when all of them have looked.
        shares = spec.shares_features or spec.shares_outputs
        parts.append(
            Parts(
                recompute=spec.recompute,
                body=unit.body,
                auxnets=tuple(unit.plain_auxnets()),
                shape=inputs[spec.span.start],
                seen=seen,
                dtype=next((p.dtype for p in unit.parameters()), torch.get_default_dtype()),
                tail_from=2 + len(unit.auxnets) if shares else int(cascades),
                alone=not cascades and not shares,
            )
        )
    for unit, found in zip(asking, plan_segments(parts), strict=True):
        unit.recompute_in(found.body, found.auxnets)


def path_of(backbone: Backbone, follow: Follow) -> str:
    """Name of the block that a part of an auxiliary network follows."""
    assert follow.block is not None
    return backbone.block_names[follow.block]


@final
class LocalNetwork(nn.Module):
    """A network and the auxiliary networks of its units.

    ``model`` is the plain network; ``forward`` runs it. ``aux`` holds the auxiliary networks by unit and objective.
    ``units`` is an ordered ``nn.ModuleList`` of views on both; it owns nothing, so every parameter has one name in
    ``state_dict``, the same for every partition: ``model.<block>...`` or ``aux.<unit>.<objective>...``. Where neuron
    groups make a block it is ``model.<block>.g<group>...``; ``backbone`` is then the network made of groups.

    Initial weights of every block and auxiliary network are a function of (seed, its name). A wrapped foreign network
    is ``model`` itself, with the weights and the ``state_dict`` keys that it has.

    ``only`` are the units, by their place, that this process trains: the others are on the meta device, where they take
    no memory. A foreign network loses the weights of those. ``owned`` are the places of the units with weights.
    """

    model: nn.Module
    units: nn.ModuleList

    def __init__(
        self,
        backbone: Backbone,
        specs: Sequence[UnitSpec],
        *,
        seed: int = 0,
        only: Collection[int] | None = None,
    ) -> None:
        super().__init__()
        backbone = with_groups(backbone, list(dict.fromkeys(spec.span for spec in specs)))
        for spec in specs:
            if spec.head is not None:
                backbone = with_head(backbone, spec.head)
        self.backbone = backbone
        self.seed = seed
        self.owned = frozenset(range(len(specs)) if only is None else only)
        self.model, blocks = build_model(backbone, seed, partial(owns_block, backbone, specs, self.owned))
        self.training = self.model.training
        head = blocks.pop()

        units: list[Unit] = []
        paths: list[str] = []
        auxnets: list[nn.Module] = []
        for place, spec in enumerate(specs):
            own: dict[str, nn.Module] = {}
            built: dict[int, nn.Module] = {id(backbone.head): head}
            for objective in spec.objectives:
                if id(objective.aux) not in built:
                    path = f"{spec.name}.{objective.name}"
                    with seeded(derive_seed(seed, "aux", path)), where(place in self.owned):
                        aux = objective.aux.build()
                        spec.initialise(aux)
                    built[id(objective.aux)] = aux
                    paths.append(path)
                    auxnets.append(aux)
                own[objective.name] = built[id(objective.aux)]
            if spec.initialise_head is not None and backbone.source is None:
                spec.initialise_head(head)
            sources = []
            for follow in spec.follows:
                aux = own[follow.objective]
                if follow.block is None:
                    assert follow.other is not None
                    sources.append(aux.get_submodule(follow.other))
                    aux.get_submodule(follow.part).load_state_dict(sources[-1].state_dict())
                    continue
                block = blocks[follow.block]
                if place in self.owned:
                    start = block
                    if any(weight.is_meta for weight in block.parameters()):  # another process trains it
                        start = build_block(backbone, backbone.blocks[follow.block], path_of(backbone, follow), seed)
                    aux.get_submodule(follow.part).load_state_dict(start.state_dict())
                sources.append(block if follow.other is None else aux.get_submodule(follow.other))
            body = nn.Sequential(*own_blocks(spec, blocks))
            units.append(Unit(spec, body, own, sources))
        recompute_in_segments(backbone, units)
        self.aux = nest(paths, auxnets)
        # Set past nn.Module's registration: the units are views, their modules belong to `model` and `aux`.
        self.__dict__["units"] = nn.ModuleList(units)
        if backbone.source is not None and len(self.owned) < len(units):
            for place in set(range(len(units))) - self.owned:
                units[place].to("meta")
            relink(backbone)

    def forward(self, x: Tensor) -> Tensor:
        """The plain network, x_BCHW to logits_BK; no unit, no auxiliary network.

        Raises LocalgradError for anything but images of the network's channels as floats.
        """
        self.check_images(x)
        out: Tensor = self.model(x)
        return out

    def ensemble(self, x: Tensor, mode: EnsembleMode = "layerwise") -> Tensor:
        """Probabilities_BK for images x_BCHW from the heads of all units; what GN-DGL's papers report.

        ``layerwise`` weighs module j (from 0, the network's classifier last) by 2^j, ``last`` takes the mean over the
        heads of the last module that has layers. Heads that do not classify are left out. Call ``net.eval()`` before,
        as for ``forward``. Raises LocalgradError for an unknown mode, and for ``last`` where only the network's own
        classifier classifies.
        """
        self.check_images(x)
        units = self.unit_list()
        seen = forward_units(units, x)
        return self.vote([self.class_logits(unit, h, features) for unit, h, features in seen], mode)

    def check_images(self, x: object) -> None:
        """Raise LocalgradError unless ``x`` is a batch that the network reads; a foreign network judges for itself."""
        image = self.backbone.image
        if self.backbone.source is not None:
            return
        if isinstance(x, Tensor) and x.ndim == 1 + len(image) and x.shape[1] == image[0] and x.is_floating_point():
            return
        got = f"{x.dtype} of shape {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise LocalgradError(
            f"{self.backbone.name} reads images (B, {image[0]}, H, W) as floats, got {got}. The batch axis comes "
            "first; convert pixels with x.float() / 255 and the data's normalisation."
        )

    def class_logits(self, unit: Unit, h: Tensor, features: Sequence[Tensor] = ()) -> Tensor | None:
        """logits_BK of the unit's own head on its output ``h`` (``features`` of all its groups); None without one."""
        for outputs in unit.outputs(h, features).values():
            # The own head comes first; objectives that share it give the same logits again. A decoder's image and
            # features for a contrastive loss are no classes.
            if "logits" in outputs and outputs["logits"].shape[1:] == (self.backbone.num_classes,):
                return outputs["logits"]
        return None

    def vote(self, logits: Sequence[Tensor | None], mode: EnsembleMode) -> Tensor:
        """The ensemble, probabilities_BK, of one ``class_logits`` per unit."""
        if mode not in get_args(EnsembleMode):
            raise LocalgradError(
                f"ensemble: mode {str(mode)!r} is unknown. {nearest(str(mode), get_args(EnsembleMode))}"
            )
        modules: dict[int, list[Tensor]] = {}
        last = 0
        for unit, own in zip(self.unit_list(), logits, strict=True):
            if own is not None:
                modules.setdefault(unit.spec.index, []).append(own)
                last = unit.spec.index if len(unit.span) else last
        if mode == "last" and last not in modules:
            raise LocalgradError(
                "ensemble: mode 'last' takes the heads of modules that have layers, and none of them classifies. Take "
                "mode='layerwise', or a method with classifiers in its modules."
            )
        return mean_probabilities(modules[last]) if mode == "last" else layerwise_ensemble(list(modules.values()))

    def train(self, mode: bool = True) -> "LocalNetwork":
        """Set training or evaluation mode, also on the units, which are views."""
        super().train(mode)
        self.units.train(mode)
        return self

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "LocalNetwork":
        """What ``to`` and its kin do; the units follow where a foreign network's tensors were replaced."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        relink(self.backbone)
        return self

    def unit_list(self) -> list[Unit]:
        """The units, typed."""
        return [unit for unit in self.units if isinstance(unit, Unit)]

    def kept_whole(self) -> dict[str, str]:
        """Modules that ``recompute=True`` recomputes or keeps as a whole, by name: why it cannot cut inside of them.

        Those of units that recompute; several parts with weights are inside of each. Empty without ``recompute=True``.
        """
        names = {module: name for name, module in self.named_modules()}
        found: dict[str, str] = {}
        for unit in self.unit_list():
            if unit.spec.recompute is not None and unit.spec.recompute.segments is None:
                for chain in (unit.body, *unit.plain_auxnets()):
                    found |= {names[part]: reason for part, reason in whole_parts(chain) if part in names}
        return found

    @property
    def classifies(self) -> bool:
        """Whether the network ends in classes: it does unless no loss reads labels, and then in features."""
        return "y" in self.needs

    @property
    def needs(self) -> frozenset[str]:
        """Fields of a Batch that any unit reads."""
        return frozenset().union(*(unit.spec.needs for unit in self.unit_list()))

    def export(self) -> nn.Module:
        """A copy of the plain network with the trained weights and no trace of units or auxiliary networks."""
        return copy.deepcopy(self.model)


def in_sequence(modules: Sequence[object]) -> nn.Sequential:
    """A list of modules as one network. Raises LocalgradError for an empty list and for anything else in it."""
    for index, module in enumerate(modules):
        if not isinstance(module, nn.Module):
            raise LocalgradError(
                f"localize: a list must hold the modules of a network in their order, got {type(module).__name__} at "
                f"index {index}."
            )
    if len(modules) < 2:
        raise LocalgradError(f"localize: a list needs at least two modules, got {len(modules)}.")
    return nn.Sequential(*(module for module in modules if isinstance(module, nn.Module)))


def localize(
    model: Backbone | nn.Module | Sequence[nn.Module],
    method: Method,
    modules: int | None = None,
    *,
    partition: Partition | Cut | None = None,
    cuts: Sequence[str] | None = None,
    groups: int | None = None,
    example: Tensor | None = None,
    seed: int = 0,
    recompute: bool = False,
) -> LocalNetwork:
    """Cut ``model`` into units that learn by ``method``.

    ``model`` is a Backbone, or any classification network with an ``example`` batch (B, C, H, W): its own modules and
    weights are then used in place (``backbones.module.wrap``); a list of modules is an nn.Sequential of them.
    ``modules=K`` takes the papers' table for this network (or says which Ks there are), equal MACs for a foreign one;
    ``partition`` takes any cut or explicit spans instead.
    ``cuts`` names the borders: a unit ends behind each of these submodules (blocks of a Backbone), in any order, so
    there is one unit more than names; of a foreign network any submodule behind which exactly one tensor is alive.
    ``groups=G`` cuts the modules into G neuron groups, where the method takes them (GNDGL).
    Initial weights are a function of ``seed`` and the names of blocks; a foreign network keeps its own.
    ``recompute`` recomputes activations in the backward pass where that lowers the live memory of a step: same results,
    more time (``segments.py``).

    Raises LocalgradError when the network cannot be cut, the cut does not fit the network or the method, or the method
    cannot recompute.
    """
    if isinstance(model, list | tuple):
        model = in_sequence(model)
    if not isinstance(model, Backbone | nn.Module):
        raise LocalgradError(
            f"localize: model must be a Backbone such as backbones.resnet32(), an nn.Module or a list of modules with "
            f"example=, got {type(model).__name__}."
        )
    cuts = None if cuts is None else check_cuts(cuts)
    if isinstance(method, type):
        raise LocalgradError(f"localize: method must be an instance, got the class: write {method.__name__}().")
    if isinstance(model, Backbone):
        if example is not None:
            raise LocalgradError(f"localize: {model.name} knows its images, {model.image}: leave example out.")
        backbone, named = model, cut_blocks(model, cuts or ())
    elif example is None:
        raise LocalgradError(
            f"localize: {type(model).__name__} is an nn.Module, so it needs an example batch to be traced with: "
            "example=torch.zeros(1, 3, 224, 224)."
        )
    else:
        backbone, named = wrap_and_cut(model, example, cuts or ())
    if not isinstance(method, Method):
        raise LocalgradError(
            f"localize: method must be a value such as methods.DGL(), got {method!r}, which has no needs, reach, cut "
            "and units."
        )
    if modules is not None and type(modules) is not int:
        raise LocalgradError(f"localize: modules must be a whole number, got {modules!r}.")
    if not (partition is None or isinstance(partition, Partition) or callable(partition)):
        raise LocalgradError(
            f"localize: partition must be a cut such as equal_blocks(4), or a Partition of spans, got {partition!r}."
        )
    if cuts is not None and partition is not None:
        raise LocalgradError("localize: cuts and partition both say where to cut: give only one.")
    method = regrouped(method, groups)
    spans = find_partition(backbone, method, modules, partition if cuts is None else named)
    check_wrapped(backbone, spans)
    return LocalNetwork(backbone, recomputed(method.units(backbone, spans), recompute), seed=seed)


def find_partition(
    backbone: Backbone, method: Method, modules: int | None, partition: Partition | Cut | None
) -> Partition:
    """The partition asked for, checked to cover every block once, in order."""
    if partition is None:
        return cut_wrapped(backbone, method.cut(backbone, modules))(backbone)
    spans = partition if isinstance(partition, Partition) else partition(backbone)
    if modules is not None and modules != len(spans):
        raise LocalgradError(
            f"modules={modules} contradicts partition, which has {len(spans)} spans: give only one ({spans.origin})."
        )
    stop = 0
    for index, span in enumerate(spans.spans):
        if span.start != stop or span.stop < span.start:
            raise LocalgradError(
                f"partition: spans must follow each other from block 0, got {[(s.start, s.stop) for s in spans.spans]}."
            )
        if len(span) == 0 and index != len(spans) - 1:
            raise LocalgradError(f"partition: only the last span may be empty, got an empty span {index}.")
        stop = span.stop
    if stop != len(backbone.blocks):
        raise LocalgradError(
            f"partition: spans must end at block {len(backbone.blocks)} of {backbone.name}, got {stop}."
        )
    return spans
