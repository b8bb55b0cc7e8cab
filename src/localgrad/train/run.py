"""Run: everything a training needs, as one frozen object of specs. A recipe is a function that returns one."""

from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import torch

from localgrad.data import Data, DataError, Views
from localgrad.errors import LocalgradError, RunError
from localgrad.facts import plain
from localgrad.method import Method, ViewsMethod, regrouped
from localgrad.network import LocalNetwork, find_partition
from localgrad.objective import recomputed
from localgrad.partition import Cut
from localgrad.runtime.speed_checks import check_compile
from localgrad.spec import Backbone, Partition
from localgrad.train.optim import SGD, OptimizerSpec
from localgrad.train.runtimes import DistributedSpec, RuntimeSpec, kind_problems, runtime_problems
from localgrad.train.schedule import Cosine, Schedule
from localgrad.update import Precision


@dataclass(frozen=True)
class Origin:
    """Where a Run came from: the recipe's reference, its keywords, and what the command line changed in the Run."""

    recipe: str
    arguments: dict[str, object] = field(default_factory=dict)
    overrides: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One training. Everything is data: nothing is built, read or written before ``train``.

    ``modules`` or ``partition`` cut the backbone (neither: the method's default), ``groups`` cuts modules into neuron
    groups where the method takes them (None: the method's own number). ``batch_size`` is what one step
    trains on; ``accumulate`` splits it into parts. ``workers`` CPU threads step units at the same time. ``compile``,
    on a GPU ``graph`` and ``streams``, make steps faster, as ``localgrad.Sequential`` says.
    ``recompute`` recomputes activations in the backward pass where that saves memory; results stay the same.
    ``val_fraction`` of the training split is held out, stratified, and the best epoch is then chosen on it; with 0
    the best test epoch is recorded beside the last one, which is the headline. ``reset_optimizer`` forgets what the
    optimisers know (momentum) wherever the learning rate falls, as codes do that make new ones there. ``drop_last``
    leaves the short last batch of every epoch out of training. ``views`` says how two views of every image are drawn,
    for a method that compares them. ``knn_every`` and ``linear_every``: after so many epochs (0: never), and after the
    last one, nearest neighbours and linear classifiers judge the frozen features of every unit (``train/frozen.py``);
    the training stays the same bit for bit. ``runtime`` is ``"sequential"``, ``QueuedSpec(...)`` or
    ``GreedySpec()``, where ``epochs`` are every unit's own, or ``DistributedSpec(...)``. ``init_from`` is an
    exported file, a run folder or a checkpoint to take the network's weights from. ``out`` is the run's folder.
    ``device`` "auto"
    takes CUDA where there is one.
    """

    backbone: Backbone
    method: Method
    data: Data
    epochs: int
    optimizer: OptimizerSpec = field(default_factory=SGD)
    schedule: Schedule = field(default_factory=Cosine)
    modules: int | None = None
    partition: Partition | Cut | None = None
    groups: int | None = None
    batch_size: int = 128
    seed: int = 0
    precision: Precision = Precision.FLOAT32
    channels_last: bool = True
    recompute: bool = False
    update: Literal["unit", "fused"] = "unit"
    accumulate: int = 1
    workers: int = 1
    compile: bool | str = False
    graph: bool = False
    streams: int = 1
    clip: float | None = None
    reset_optimizer: bool = False
    drop_last: bool = False
    views: Views | None = None
    knn_every: int = 0
    linear_every: int = 0
    val_fraction: float = 0.0
    init_from: Path | None = None
    runtime: RuntimeSpec = "sequential"
    device: str = "auto"
    out: Path | None = None
    origin: Origin | None = None

    def network(self, only: Collection[int] | None = None) -> LocalNetwork:
        """The network with its initial weights, on the CPU; of the units ``only``, where that is given.

        Raises LocalgradError when method or cut do not fit.
        """
        method = regrouped(self.method, self.groups)
        spans = find_partition(self.backbone, method, self.modules, self.partition)
        units = recomputed(method.units(self.backbone, spans), self.recompute)
        return LocalNetwork(self.backbone, units, seed=self.seed, only=only)

    def torch_device(self) -> torch.device:
        """The device that ``device`` names."""
        if self.device == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return torch.device(self.device)

    def facts(self) -> dict[str, object]:
        """All settings as nested plain data: saved, compared on resume, printed. Without ``out`` and ``origin``."""
        # Which process trains what changes no result.
        runtime = self.runtime
        if isinstance(runtime, DistributedSpec):
            everything = plain(replace(self, runtime="sequential"))
            if isinstance(everything, dict) and (changes := runtime.changes()):
                everything["runtime"] = plain({"kind": "DistributedSpec", **changes})
        else:
            everything = plain(self)
        assert isinstance(everything, dict)
        if self.views is None:
            del everything["views"]
        for name in ("knn_every", "linear_every"):
            if not everything[name]:
                del everything[name]
        # Steps in a graph and on streams are the same steps; compiled ones are to rounding.
        for name in ("graph", "streams") if self.compile else ("compile", "graph", "streams"):
            del everything[name]
        return {name: value for name, value in everything.items() if name not in ("out", "origin", "kind")}

    def check(self) -> None:
        """Raise RunError with all problems that can be seen before any work."""
        problems = list(self.problems())
        if problems:
            raise RunError(problems)

    def problems(self, *, resumed: bool = False, data: bool = True) -> Iterator[str]:
        """Everything that is wrong, each as one sentence or two. A ``resumed`` run needs no ``init_from`` any more.

        ``data=False`` leaves out what is wrong with the data set: it will not be read.
        """
        wrong = list(self._type_problems())
        if wrong:
            # Nothing else can be judged.
            yield from wrong
            return
        yield from self._number_problems()
        yield from self.optimizer.problems()
        yield from self._device_problems()
        yield from self._speed_problems()
        if self.init_from is not None and not resumed and not self.init_from.exists():
            yield f"init_from: {self.init_from} does not exist."
        try:
            with torch.device("meta"):
                net = self.network()
            yield from runtime_problems(self.runtime, vars(self), net)
        except LocalgradError as error:
            yield str(error)
        yield from self._view_problems()
        if not data:
            return
        try:
            yield from self.data.problems()
        except DataError as error:
            yield str(error)
        yield from fit_problems(self.backbone, self.data.name, self.data.image, self.data.num_classes)

    def _type_problems(self) -> Iterator[str]:
        """Values of a kind that no setting has, as a recipe without annotations lets through."""
        whole = ("epochs", "batch_size", "accumulate", "workers", "streams", "seed", "knn_every", "linear_every")
        for name in (*whole, "modules", "groups"):
            value = getattr(self, name)
            if (type(value) is not int) and not (name in ("modules", "groups") and value is None):
                yield f"{name} must be a whole number, got {value!r}."
        for name in ("reset_optimizer", "drop_last", "recompute", "graph"):
            value = getattr(self, name)
            if type(value) is not bool:
                yield f"{name} must be True or False, got {value!r}."
        yield from kind_problems(self.runtime)
        for name in ("val_fraction", "clip"):
            value = getattr(self, name)
            if type(value) not in (int, float) and not (name == "clip" and value is None):
                yield f"{name} must be a number, got {value!r}."

    def _number_problems(self) -> Iterator[str]:
        """Numbers that are out of range, or of which one forbids the other."""
        for name in ("epochs", "batch_size", "accumulate", "workers", "streams"):
            if getattr(self, name) < 1:
                yield f"{name} must be at least 1, got {getattr(self, name)}."
        for name in ("knn_every", "linear_every"):
            if getattr(self, name) < 0:
                yield f"{name} must be a number of epochs, or 0 for never, got {getattr(self, name)}."
        if self.accumulate > self.batch_size:
            yield f"accumulate={self.accumulate} must not be larger than batch_size={self.batch_size}, which it splits."
        if not 0 <= self.val_fraction < 1:
            yield f"val_fraction must be in [0, 1), got {self.val_fraction}."
        if self.clip is not None and not self.clip > 0:
            yield f"clip must be above 0, got {self.clip}."
        if self.clip is not None and self.update == "fused":
            yield "clip is per unit, update='fused' has one optimiser for all units: leave one of them out."

    def _view_problems(self) -> Iterator[str]:
        """Views that the method needs, or does not read."""
        name = type(self.method).__name__
        if "views" not in self.method.needs:
            if self.views is not None:
                yield f"views: {name} reads images, no views of them. Leave views out."
            return
        if self.views is None:
            yield f"{name} compares two views of every image: say how they are drawn, views=localgrad.data.Views()."
            return
        yield from self.views.problems((self.data.image or self.backbone.image)[0])
        if isinstance(self.method, ViewsMethod):
            yield from self.method.view_problems(plain(self.views), self.data.name)
        if "pair_similarity" in self.method.needs and self.accumulate > 1:
            yield f"accumulate={self.accumulate} splits batches, of which {name} compares all pairs: leave it out."

    def _speed_problems(self) -> Iterator[str]:
        """Compiled and captured steps that there cannot be."""
        try:
            check_compile(self.compile, self.workers, who="Run")
        except LocalgradError as error:
            yield str(error)
        asked = [
            name
            for name, usual in (("compile", False), ("graph", False), ("streams", 1))
            if getattr(self, name) != usual
        ]
        if asked and self.runtime != "sequential":
            yield f"{' and '.join(asked)}: only runtime='sequential' has that. Leave it out, or take that runtime."
        if self.graph and self.precision is Precision.FLOAT16:
            yield "graph=True cannot capture float16, whose loss scale changes in every step: take bfloat16."
        with suppress(RuntimeError):  # an unknown device is a problem of its own
            device = self.torch_device()
            if device.type == "cpu":
                for name, fast in (("graph=True", self.graph), (f"streams={self.streams}", self.streams > 1)):
                    if fast:
                        yield f"{name} is for a GPU, and the run is on the CPU: leave it out."

    def _device_problems(self) -> Iterator[str]:
        try:
            device = self.torch_device()
        except RuntimeError:
            yield f"device {self.device!r} is unknown: take auto, cpu, cuda or cuda:N."
            return
        if device.type == "cuda" and not torch.cuda.is_available():
            yield f"device {self.device!r}: this machine's torch finds no CUDA device. Take cpu or auto."
        if self.workers > 1 and device.type != "cpu":
            yield f"workers={self.workers} are threads of the CPU, the run is on {device}: leave workers out."
        if self.precision is Precision.FLOAT16 and device.type == "cpu":
            yield "precision float16 needs a GPU; on the CPU take bfloat16."


def fit_problems(
    backbone: Backbone, data_name: str, image: tuple[int, int, int] | None, num_classes: int | None
) -> Iterator[str]:
    """Where a backbone and a data set disagree; None in the data is not known yet and checked after loading."""
    if image is not None and image[0] != backbone.image[0]:
        yield (
            f"{backbone.name} reads images of {backbone.image[0]} channels, {data_name} has {image[0]} "
            f"(image shape {tuple(image)}). Make the backbone with image={tuple(image)}."
        )
    if num_classes is not None and num_classes != backbone.num_classes:
        yield (
            f"{backbone.name} has {backbone.num_classes} classes, {data_name} has {num_classes}. "
            f"Make the backbone with num_classes={num_classes}."
        )
