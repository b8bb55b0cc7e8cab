"""LocalNetwork: a network cut into units. ``localize`` makes one."""

import copy
from collections.abc import Callable, Sequence
from typing import final

from torch import Tensor, nn

from localgrad.backbones.module import check_wrapped, cut_wrapped, relink, wrap
from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.objective import UnitSpec
from localgrad.partition import Cut
from localgrad.rng import derive_seed, seeded
from localgrad.spec import Backbone, Partition, chain
from localgrad.unit import Unit


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


def build_model(backbone: Backbone, seed: int) -> tuple[nn.Module, list[nn.Module]]:
    """The plain network and its blocks, the head last: freshly initialised, or the foreign network as it is."""
    if backbone.source is not None:
        return backbone.source.module, [block.build() for block in (*backbone.blocks, backbone.head)]
    paths = (*backbone.block_names, backbone.head_name)
    blocks: list[nn.Module] = []
    for name, block in zip(paths, (*backbone.blocks, backbone.head), strict=True):
        with seeded(derive_seed(seed, "model", name)):
            module = block.build()
            backbone.initialise(module)
        blocks.append(module)
    return chain(paths, blocks), blocks


@final
class LocalNetwork(nn.Module):
    """A network and the auxiliary networks of its units.

    ``model`` is the plain network; ``forward`` runs it. ``aux`` holds the auxiliary networks by unit and objective.
    ``units`` is an ordered ``nn.ModuleList`` of views on both; it owns nothing, so every parameter has one name in
    ``state_dict``, the same for every partition: ``model.<block>...`` or ``aux.<unit>.<objective>...``.

    Initial weights of every block and auxiliary network are a function of (seed, its name). A wrapped foreign network
    is ``model`` itself, with the weights and the ``state_dict`` keys that it has.
    """

    model: nn.Module
    units: nn.ModuleList

    def __init__(self, backbone: Backbone, specs: Sequence[UnitSpec], *, seed: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.seed = seed
        self.model, blocks = build_model(backbone, seed)
        self.training = self.model.training
        head = blocks.pop()

        units: list[Unit] = []
        paths: list[str] = []
        auxnets: list[nn.Module] = []
        for spec in specs:
            own: dict[str, nn.Module] = {}
            built: dict[int, nn.Module] = {id(backbone.head): head}
            for objective in spec.objectives:
                if id(objective.aux) not in built:
                    path = f"{spec.name}.{objective.name}"
                    with seeded(derive_seed(seed, "aux", path)):
                        aux = objective.aux.build()
                        spec.initialise(aux)
                    built[id(objective.aux)] = aux
                    paths.append(path)
                    auxnets.append(aux)
                own[objective.name] = built[id(objective.aux)]
            if spec.initialise_head is not None and backbone.source is None:
                spec.initialise_head(head)
            sources = [blocks[follow.block] for follow in spec.follows]
            for follow, source in zip(spec.follows, sources, strict=True):
                own[follow.objective].get_submodule(follow.part).load_state_dict(source.state_dict())
            body = nn.Sequential(*blocks[spec.span.start : spec.span.stop])
            units.append(Unit(spec, body, own, sources))
        self.aux = nest(paths, auxnets)
        # Set past nn.Module's registration: the units are views, their modules belong to `model` and `aux`.
        self.__dict__["units"] = nn.ModuleList(units)

    def forward(self, x: Tensor) -> Tensor:
        """The plain network, x_BCHW to logits_BK; no unit, no auxiliary network."""
        out: Tensor = self.model(x)
        return out

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

    @property
    def needs(self) -> frozenset[str]:
        """Fields of a Batch that any unit reads."""
        return frozenset().union(*(unit.spec.needs for unit in self.unit_list()))

    def export(self) -> nn.Module:
        """A copy of the plain network with the trained weights and no trace of units or auxiliary networks."""
        return copy.deepcopy(self.model)


def localize(
    model: Backbone | nn.Module,
    method: Method,
    modules: int | None = None,
    *,
    partition: Partition | Cut | None = None,
    example: Tensor | None = None,
    seed: int = 0,
) -> LocalNetwork:
    """Cut ``model`` into units that learn by ``method``.

    ``model`` is a Backbone, or any classification network with an ``example`` batch (B, C, H, W): its own modules and
    weights are then used in place (``backbones.module.wrap``). ``modules=K`` takes the papers' table for this network
    (or says which Ks there are), equal MACs for a foreign one; ``partition`` takes any cut or explicit spans instead.
    Initial weights are a function of ``seed`` and the names of blocks; a foreign network keeps its own.

    Raises LocalgradError when the network cannot be cut, or the cut does not fit the network or the method.
    """
    if not isinstance(model, Backbone | nn.Module):
        raise LocalgradError(
            f"localize: model must be a Backbone such as backbones.resnet32(), or an nn.Module with example=, "
            f"got {type(model).__name__}."
        )
    if isinstance(method, type):
        raise LocalgradError(f"localize: method must be an instance, got the class: write {method.__name__}().")
    if isinstance(model, Backbone):
        if example is not None:
            raise LocalgradError(f"localize: {model.name} knows its images, {model.image}: leave example out.")
        backbone = model
    elif example is None:
        raise LocalgradError(
            f"localize: {type(model).__name__} is an nn.Module, so it needs an example batch to be traced with: "
            "example=torch.zeros(1, 3, 224, 224)."
        )
    else:
        backbone = wrap(model, example)
    spans = find_partition(backbone, method, modules, partition)
    check_wrapped(backbone, spans)
    return LocalNetwork(backbone, method.units(backbone, spans), seed=seed)


def find_partition(
    backbone: Backbone, method: Method, modules: int | None, partition: Partition | Cut | None
) -> Partition:
    """The partition asked for, checked to cover every block once, in order."""
    if partition is None:
        return cut_wrapped(backbone, method.cut(backbone, modules))(backbone)
    spans = partition if isinstance(partition, Partition) else partition(backbone)
    if modules is not None and modules != len(spans):
        raise LocalgradError(f"modules={modules} contradicts partition, which has {len(spans)} spans: give only one.")
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
