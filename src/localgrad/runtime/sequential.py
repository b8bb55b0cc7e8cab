"""The Sequential runtime: one process, one mini-batch at a time, unit after unit."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from torch import Tensor, nn
from torch.optim import Optimizer

from localgrad.errors import LocalgradError
from localgrad.network import LocalNetwork
from localgrad.runtime.checks import (
    Mode,
    check_batch,
    check_engine,
    check_optimizer,
    check_settings,
    check_single_row,
    check_trainable,
)
from localgrad.runtime.compiled import Compiler, compiled_units
from localgrad.runtime.fused import fused_spans
from localgrad.runtime.graphs import CudaGraphs, GraphedStep
from localgrad.runtime.overlap import Overlap, check_draws, drawing_unit
from localgrad.runtime.speed_checks import backend_name, check_compile, check_graph, check_streams
from localgrad.runtime.streams import CudaQueues, Streams
from localgrad.runtime.units import step_units
from localgrad.spec import Batch, Shape
from localgrad.unit import Terms, Unit
from localgrad.update import OptimizerUpdate, Part, Precision, free_gradients

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@final
@dataclass(frozen=True)
class Step:
    """What one training step gave: the loss terms of every unit as detached tensors (no device is waited for)."""

    terms: dict[int, Terms]

    @property
    def losses(self) -> dict[int, dict[str, float]]:
        """``{unit: {term: value}}`` as numbers."""
        return {unit: {name: float(value) for name, value in terms.items()} for unit, terms in self.terms.items()}


@final
class Sequential:
    """Trains a LocalNetwork: each unit forward, backward, update, its graph and gradients freed; then the next.

    ``optimizer(parameters)`` makes an optimiser, one per unit; with ``update="fused"`` one over all units, which steps
    after the last unit (fewer, larger kernels; all gradients alive). ``accumulate`` splits every mini-batch into so
    many parts whose gradients add up to that of the mean loss. ``clip`` bounds the gradient norm of each unit.
    ``workers`` CPU threads may step that many units at the same time, each operation on one thread (``overlap.py``):
    the results are those of ``torch.set_num_threads(1)``, bit for bit. Neuron groups of a span and cascades run as
    ``units.py`` and ``cascades.py`` say. Whatever is drawn inside a step depends on (seed, unit, step) only; ``seed``
    defaults to the network's. A step trains: a network in evaluation mode is put back into training mode.

    ``compile`` runs the blocks of units through torch.compile, True by inductor, or by the backend it names
    (``compiled.py``): equal to eager to rounding, random draws included; meant for a GPU, on the CPU it is slower. The
    first step compiles, every kind of block once. What cannot be compiled runs eagerly, with a CompileWarning;
    ``reasons`` lists all that does. Smaller batches than those before, such as the last one of an epoch, run eagerly.
    On a GPU ``graph=True`` captures the fourth step in a CUDA graph and replays it from there on (``graphs.py``), and
    ``streams=N`` lets N units overlap (``streams.py``), best both together. A graph takes no unit that draws random
    numbers, and sets the learning rate of an optimiser as a tensor.
    """

    def __init__(
        self,
        net: LocalNetwork,
        optimizer: MakeOptimizer,
        *,
        update: Mode = "unit",
        precision: Precision | str = Precision.FLOAT32,
        accumulate: int = 1,
        clip: float | None = None,
        seed: int | None = None,
        workers: int = 1,
        compile: bool | str = False,  # noqa: A002  (the word of torch.compile)
        graph: bool = False,
        streams: int = 1,
    ) -> None:
        check_settings(net, optimizer, update, precision, accumulate, clip, workers)
        check_engine(net, Precision(precision), workers)
        check_compile(compile, workers)
        check_graph(net, graph, Precision(precision))
        check_streams(net, streams)
        foreign = net.backbone.source is not None
        self.net = net
        self.fused_spans = fused_spans(net)
        backend = backend_name(compile)
        self.compiler = None if backend is None else Compiler(backend)
        self.units = None if self.compiler is None else compiled_units(net, self.compiler, self.fused_spans)
        self.overlap = Overlap(workers, private=foreign) if workers > 1 else None
        self.draws_checked = False
        self.precision = Precision(precision)
        self.accumulate = accumulate
        self.steps = 0
        self.single_rows: set[Shape] = set()
        device = next(net.parameters()).device
        own_seed = net.seed if seed is None else seed
        units = net.unit_list()

        def make(parameters: Sequence[nn.Parameter], deferred: bool) -> OptimizerUpdate:
            made = optimizer(parameters)
            check_optimizer(made, parameters)
            return OptimizerUpdate(
                made, seed=own_seed, precision=self.precision, device=device, clip=clip, deferred=deferred
            )

        for unit in units:
            if not unit.trained_parameters():
                raise LocalgradError(
                    f"Sequential: unit {unit.name!r} has no parameter that requires a gradient. Freeze single blocks, "
                    "or merge the unit with the next one."
                )
        if update == "fused":
            everything = [parameter for unit in units for parameter in unit.trained_parameters()]
            self.updates = [make(everything, True)] * len(units)
        else:
            self.updates = [make(unit.trained_parameters(), False) for unit in units]
        self.fused = update == "fused"
        self.streams = Streams(streams, CudaQueues(device), private=foreign) if streams > 1 else None
        self.graph = GraphedStep(net, self.optimizers, self._train, CudaGraphs(device)) if graph else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """What runs eagerly though ``compile`` was asked for, and why."""
        return () if self.compiler is None else tuple(self.compiler.reasons)

    @property
    def optimizers(self) -> list[Optimizer]:
        """The optimisers in the order of the units; a single one when fused."""
        return [update.optimizer for update in dict.fromkeys(self.updates)]

    def step(self, batch: Batch) -> Step:
        """Train every unit on one mini-batch. Nothing is left to call.

        ``batch.step`` names the random draws; None takes the number of steps made so far.
        Raises LocalgradError when the batch does not fit the network.
        """
        check_batch(self.net, batch, self.precision)
        check_trainable(batch, self.accumulate)
        shape = tuple(batch.x.shape[1:])
        if len(batch.x) < 2 * self.accumulate and shape not in self.single_rows:
            check_single_row(self.net, shape)
            self.single_rows.add(shape)
        # Gradients that somebody else left, or a step that was interrupted, are no part of this step.
        for made in self.optimizers:
            free_gradients(made)
        if not self.net.training:
            self.net.train()
        if batch.step is None:
            batch = replace(batch, step=self.steps)
        if self.compiler is not None:
            _, first = split(batch, self.accumulate)[0]
            self.compiler.prepare(self._units(), self.updates[0], first)
        if self.graph is None:
            terms = self._train(batch)
        else:
            self._check_graph(batch)
            terms = self.graph(batch)
        self.steps += 1
        return Step(terms)

    def _train(self, batch: Batch) -> dict[int, Terms]:
        """Train every unit on all parts of a mini-batch."""
        sums: dict[int, Terms] = {}
        for part, piece in split(batch, self.accumulate):
            for index, terms in self._step_units(piece, part).items():
                before = sums.get(index, {})
                sums[index] = terms if part.weight == 1.0 else add_terms(before, terms, part.weight)
        if self.fused:
            self.updates[0].finish()
        return sums

    def _units(self) -> Sequence[Unit]:
        """The network's units, or the views on them whose blocks are compiled."""
        return self.net.unit_list() if self.units is None else self.units

    def _step_units(self, batch: Batch, part: Part) -> dict[int, Terms]:
        units, draws = self._units(), self.graph is None
        if self.streams is not None:
            return self.streams.step(units, self.updates, batch, part, draws=draws)
        if self.overlap is not None:
            if not self.draws_checked:
                check_draws(units, batch)
                self.draws_checked = True
            return self.overlap.step(units, self.updates, batch, part)
        return step_units(units, self.updates, batch, part, fused=self.fused_spans, draws=draws)

    def _check_graph(self, batch: Batch) -> None:
        """Raise LocalgradError before the first step when a unit draws: a graph would repeat one draw for ever."""
        if not self.draws_checked:
            name = drawing_unit(self.net.unit_list(), batch)
            if name is not None:
                raise LocalgradError(
                    f"Sequential: unit {name!r} draws random numbers in its step (dropout?), which must be a function "
                    "of the step, and graph=True repeats one step. Leave graph out."
                )
            self.draws_checked = True

    def set_lr(self, lr: float) -> None:
        """Set the learning rate of every parameter group."""
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr  # a graph takes it into the tensor that it reads


def add_terms(before: Terms, terms: Terms, weight: float) -> Terms:
    """Loss terms of the parts of a mini-batch, weighted by the parts' shares."""
    return {name: before.get(name, 0.0) + weight * value for name, value in terms.items()}


def split(batch: Batch, parts: int) -> list[tuple[Part, Batch]]:
    """The mini-batch in at most ``parts`` pieces of nearly equal size, with their shares."""
    if parts == 1:
        return [(Part(), batch)]
    rows = len(batch.x)
    pieces = []
    sizes = [len(chunk) for chunk in batch.x.tensor_split(min(parts, rows))]
    # `views` has two rows per image, which stay together.
    chunks: dict[str, tuple[Tensor, ...]] = {
        name: value.split([size * (len(value) // rows) for size in sizes])
        for name in ("x", "y", "image", "views")
        if (value := getattr(batch, name)) is not None
    }
    count = len(sizes)
    for index in range(count):
        fields: dict[str, Any] = {name: chunk[index] for name, chunk in chunks.items()}
        piece = replace(batch, **fields)
        pieces.append((Part(index, len(piece.x) / rows, index == count - 1), piece))
    return pieces
