"""LocalNetwork: a network cut into units. ``localize`` makes one."""

import copy
from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.partition import Cut
from localgrad.rng import derive_seed, seeded
from localgrad.spec import Backbone, Partition, chain
from localgrad.unit import Unit, UnitSpec


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


@final
class LocalNetwork(nn.Module):
    """A network and the auxiliary networks of its units.

    ``model`` is the plain network; ``forward`` runs it. ``aux`` holds the auxiliary networks by unit and objective.
    ``units`` is an ordered ``nn.ModuleList`` of views on both; it owns nothing, so every parameter has one name in
    ``state_dict``, the same for every partition: ``model.<block>...`` or ``aux.<unit>.<objective>...``.

    Initial weights of every block and auxiliary network are a function of (seed, its name).
    """

    units: nn.ModuleList

    def __init__(self, backbone: Backbone, specs: Sequence[UnitSpec], *, seed: int = 0) -> None:
        super().__init__()
        self.backbone = backbone
        self.seed = seed
        blocks: list[nn.Module] = []
        for name, block in zip(
            (*backbone.block_names, backbone.head_name), (*backbone.blocks, backbone.head), strict=True
        ):
            with seeded(derive_seed(seed, "model", name)):
                module = block.build()
                backbone.initialise(module)
            blocks.append(module)
        self.model = chain((*backbone.block_names, backbone.head_name), blocks)
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
            body = nn.Sequential(*blocks[spec.span.start : spec.span.stop])
            units.append(Unit(spec, body, own))
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
    model: Backbone,
    method: Method,
    modules: int | None = None,
    *,
    partition: Partition | Cut | None = None,
    seed: int = 0,
) -> LocalNetwork:
    """Cut ``model`` into units that learn by ``method``.

    ``modules=K`` takes the papers' table for this network (or says which Ks there are); ``partition`` takes any cut or
    explicit spans instead. Initial weights are a function of ``seed`` and the names of blocks.

    Raises LocalgradError when the cut does not fit the network or the method.
    """
    spans = find_partition(model, method, modules, partition)
    return LocalNetwork(model, method.units(model, spans), seed=seed)


def find_partition(
    backbone: Backbone, method: Method, modules: int | None, partition: Partition | Cut | None
) -> Partition:
    """The partition asked for, checked to cover every block once, in order."""
    if partition is None:
        return method.cut(backbone, modules)(backbone)
    spans = partition if isinstance(partition, Partition) else partition(backbone)
    if modules is not None and modules != len(spans):
        raise LocalgradError(f"modules={modules} contradicts partition, which has {len(spans)} spans: give only one.")
    stop = 0
    for span in spans.spans:
        if span.start != stop or span.stop < span.start:
            raise LocalgradError(
                f"partition: spans must follow each other from block 0, got {[(s.start, s.stop) for s in spans.spans]}."
            )
        stop = span.stop
    if stop != len(backbone.blocks):
        raise LocalgradError(
            f"partition: spans must end at block {len(backbone.blocks)} of {backbone.name}, got {stop}."
        )
    return spans
