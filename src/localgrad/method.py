"""What a local learning method is, and the shape that most supervised ones share."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from localgrad.auxnets import views_of
from localgrad.errors import LocalgradError
from localgrad.facts import Plain
from localgrad.losses import cross_entropy
from localgrad.objective import Objective, UnitSpec
from localgrad.partition import Cut
from localgrad.recompute import Recompute
from localgrad.spec import AuxSpec, Backbone, Partition, Shape


@runtime_checkable
class Method(Protocol):
    """One paper: where it cuts a network, and the units with their losses. Implementations are frozen dataclasses."""

    @property
    def needs(self) -> frozenset[str]:
        """Fields of a Batch that the losses read: a subset of {"y", "image", "views", "pair_similarity"}."""
        ...

    @property
    def reach(self) -> int:
        """How many consecutive units one loss may update; 1 for all but cascades."""
        ...

    def cut(self, backbone: Backbone, modules: int | None) -> Cut:
        """The cut to use for ``modules`` when the user gives no partition. Raises LocalgradError on what cannot be."""
        ...

    def units(self, backbone: Backbone, partition: Partition) -> tuple[UnitSpec, ...]:
        """The units in the order of the network. Raises LocalgradError when the partition does not suit the method."""
        ...


@runtime_checkable
class GroupedMethod(Method, Protocol):
    """A method that cuts spans into neuron groups, too."""

    def with_groups(self, groups: int) -> Method:
        """The method with another number of groups. Raises LocalgradError on what cannot be."""
        ...


@runtime_checkable
class ViewsMethod(Method, Protocol):
    """A method whose losses compare views of the images."""

    def view_problems(self, views: Plain, data: str) -> Iterator[str]:
        """What of the method was found with other views than these (their facts), or on other data (its name)."""
        ...


@runtime_checkable
class GuidedMethod(Method, Protocol):
    """A method whose losses read how similar a pretrained network finds the views: ``Batch.pair_similarity``."""

    @property
    def pretrained(self) -> Path | None:
        """The folder of the run that made that network."""
        ...

    def guide(self, backbone: Backbone) -> tuple[UnitSpec, ...]:
        """The units of that network."""
        ...


def regrouped(method: Method, groups: int | None) -> Method:
    """The method with ``groups`` neuron groups; None leaves it as it is. Raises LocalgradError if it knows none."""
    if groups is None:
        return method
    if not isinstance(method, GroupedMethod):
        raise LocalgradError(
            f"groups={groups}: {type(method).__name__} trains every module whole; neuron groups are those of GN-DGL. "
            "Take methods.GNDGL(), or leave groups out."
        )
    return method.with_groups(groups)


def unit_name(backbone: Backbone, stop: int, start: int) -> str:
    """A unit is named by its last block; an empty span (a classifier of its own) by the head."""
    return backbone.block_names[stop - 1] if stop > start else backbone.head_name


def supervised_units(
    backbone: Backbone,
    partition: Partition,
    aux_for: Callable[[int, Shape], AuxSpec],
    *,
    recompute: Recompute | None = None,
    viewed: bool = True,
) -> tuple[UnitSpec, ...]:
    """One unit per span with cross-entropy; the last one ends in the backbone's own head.

    ``aux_for(j, shape)`` describes the auxiliary network of unit j, which sees its output as ``shape`` (C, H, W), or
    as a vector (C,) where it is neither map nor vector itself (``auxnets.View``). ``viewed=False``: the auxiliary
    networks read all features as they are.
    """
    if any(span.groups for span in partition.spans):
        raise LocalgradError("partition: this method trains spans whole, got spans with neuron groups.")
    views, units = views_of(backbone), []
    last = len(partition) - 1
    for j, span in enumerate(partition.spans):
        aux: AuxSpec = backbone.head
        if j != last:
            view = views[span.stop - 1]
            aux = view.of(aux_for(j, view.shape)) if viewed else aux_for(j, view.features)
        name = unit_name(backbone, span.stop, span.start)
        objective = Objective("task", aux, cross_entropy)
        units.append(UnitSpec(j, name, span, (objective,), recompute=recompute))
    return tuple(replace(unit, initialise=backbone.initialise_aux or backbone.initialise) for unit in units)
