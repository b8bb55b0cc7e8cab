"""Blocks of units through torch.compile: every kind of block is compiled once, wherever it occurs.

A unit's body and its auxiliary networks are taken apart into blocks, and blocks of the same structure that read inputs
of the same shape share one compiled function, whose weights are arguments. A unit itself would be larger: its functions
would fuse nothing more but the ReLU between two blocks, and hardly two units of AugLocal are the same.

Before the first step every kind runs once, forward and backward, on copies of the buffers and without touching a
gradient: what cannot be compiled is found there, where nothing has been trained yet, and runs eagerly.

It is meant for a GPU. On the CPU inductor makes its own BatchNorm, which is slower than PyTorch's in the channels_last
format: forward and backward of a ResNet block took 2 (float32) to 4 times (bfloat16) as long as eagerly.
"""

import warnings
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from types import FunctionType
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from localgrad.network import LocalNetwork
from localgrad.recompute import kept_buffers
from localgrad.rng import derive_seed, seeded
from localgrad.spec import Batch
from localgrad.unit import Unit, network_input, spans
from localgrad.update import Update

Function = Callable[[nn.Module, Tensor], Any]

Kind = tuple[str, tuple[int, ...], tuple[int, ...], torch.dtype, bool]
"""Structure of a block; shape, strides and dtype of its input, and whether a gradient of that is wanted."""


class CompileWarning(UserWarning):
    """Something runs eagerly in a step that shall be compiled, and why."""


def call(module: nn.Module, h: Tensor) -> Any:
    """What is compiled."""
    return module(h)


def compile_call(backend: str, number: int) -> Function:
    """``call`` compiled by ``backend``, with a cache of its own: caches belong to code objects, and are small.

    Inductor draws random numbers as PyTorch does, not by its own rule, so that a step draws what it draws eagerly.
    """
    own = FunctionType(call.__code__.replace(co_name=f"call_{number}"), call.__globals__)
    options: dict[str, str | int | bool | Callable[..., Any]] = {"fallback_random": True}
    return torch.compile(
        own, backend=backend, fullgraph=True, dynamic=False, options=options if backend == "inductor" else None
    )


@final
class Piece(nn.Module):
    """A block that runs compiled where it trains. Parameters, buffers and whatever else one asks for are its own."""

    def __init__(self, block: nn.Module, compiler: "Compiler", where: str) -> None:
        super().__init__()
        self.block = block
        self.where = where
        self.structure = structure(block)
        self.compiler = compiler

    def __getattr__(self, name: str) -> Any:
        """Parts of auxiliary networks are looked up by their path, which does not know of pieces."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("block"), name)

    def forward(self, h: Tensor) -> Any:
        """The block on ``h``."""
        return self.compiler.run(self, h)


@final
class Compiler:
    """The compiled functions of one runtime by kind of block, and why others run eagerly (``reasons``)."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.functions: dict[Kind, Function | None] = {}
        self.apart: dict[tuple[Piece, Kind], Function | None] = {}
        self.made = 0
        self.prepared: dict[object, int] = {}
        self.rows = 0
        self.reasons: list[str] = []
        self.probing = False

    def run(self, piece: Piece, h: Tensor) -> Any:
        """The block of ``piece`` on ``h``: compiled; eagerly when that failed, or ``prepare`` saw nothing like it."""
        kind = (piece.structure, tuple(h.shape), h.stride(), h.dtype, h.requires_grad)
        if self.probing:
            self.try_kind(piece, kind, h)
            return piece.block(h)
        if kind not in self.functions and len(h) >= self.rows:
            self.functions[kind] = None
            self.tell(f"{piece.where}: {described(piece.block, h)} runs eagerly: the first step had no such input")
        function = self.apart.get((piece, kind), self.functions.get(kind))
        return piece.block(h) if function is None else function(piece.block, h)

    def try_kind(self, piece: Piece, kind: Kind, h: Tensor) -> None:
        """Have ``piece`` on inputs such as ``h`` compiled, by the function of its kind where that takes it.

        Blocks of a kind may differ in numbers that ``structure`` does not see. Torch compiles a function a few times
        only and refuses the next one, which then gets a function of its own.
        """
        if kind not in self.functions:
            self.functions[kind] = self.probe(piece, h, self.new_function())
            return
        shared = self.functions[kind]
        if shared is None or (piece, kind) in self.apart:
            return
        try:
            self.differentiate(piece, h, shared)
        except Exception:  # noqa: BLE001  (whatever a compiler raises, the block is tried alone)
            self.apart[piece, kind] = self.probe(piece, h, self.new_function())

    def new_function(self) -> Function:
        """``call``, not yet compiled."""
        self.made += 1
        return compile_call(self.backend, self.made - 1)

    def probe(self, piece: Piece, h: Tensor, function: Function) -> Function | None:
        """``function`` when it compiles the block, forward and backward; None and a reason when that fails."""
        try:
            self.differentiate(piece, h, function)
        except Exception as error:  # noqa: BLE001  (whatever a compiler raises, the block runs without it)
            self.tell(f"{piece.where}: {described(piece.block, h)} runs eagerly: {short(error)}")
            return None
        return function

    def differentiate(self, piece: Piece, h: Tensor, function: Function) -> None:
        """Run the block through ``function``, forward and backward; no gradient is kept."""
        leaf = h.detach().requires_grad_(h.requires_grad)
        outputs = [out for out in tree_leaves(function(piece.block, leaf)) if out.requires_grad]
        wanted = [weight for weight in (*piece.block.parameters(), leaf) if weight.requires_grad]
        if outputs and wanted:
            zeros = [torch.zeros_like(out) for out in outputs]
            torch.autograd.grad(outputs, wanted, zeros, allow_unused=True)

    def tell(self, reason: str) -> None:
        """Note why something runs eagerly, and warn."""
        self.reasons.append(reason)
        warnings.warn(f"compile={self.backend!r}: {reason}", CompileWarning, stacklevel=2)

    def prepare(self, units: Sequence[Unit], update: Update, batch: Batch) -> None:
        """Compile what a step of ``units`` on ``batch`` needs, if that is not done. Nothing else changes.

        Smaller batches than those seen, such as the last one of an epoch, run eagerly: they are too few to compile for.
        """
        x = network_input(units, batch)
        sample = (tuple(x.shape[1:]), x.stride()[1:], x.dtype)
        self.rows = max(len(x), self.prepared.get(sample, 0))
        if self.rows == self.prepared.get(sample):
            return
        self.prepared[sample] = self.rows
        device = x.device
        self.probing = True
        try:
            with kept_buffers(units), seeded(derive_seed("compile"), device), update.autocast(device):
                h = x
                for _, members in spans(units):
                    # Cascades ask for the gradient at a unit's input.
                    h = h.detach().requires_grad_(h is not x and max(unit.spec.reach for unit in units) > 1)
                    features = [unit(h) for unit in members]
                    for unit, own in zip(members, features, strict=True):
                        top = own.detach().requires_grad_(own.requires_grad)
                        given = {"h_in": h.detach(), **vars(batch)} if unit.asks else None
                        unit.outputs(top, features, given)
                    h = features[0] if len(features) == 1 else torch.cat(features, 1)
        finally:
            self.probing = False


def described(block: nn.Module, h: Tensor) -> str:
    """A block and the shape of its input, in words."""
    return f"{type(block).__name__} on {tuple(h.shape)}"


def short(error: Exception) -> str:
    """The first line of an error that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def structure(block: nn.Module) -> str:
    """What a block is made of; blocks that differ in more than weights may still share it, and compile twice then."""
    parts = [f"{name} {tuple(value.shape)} {value.requires_grad}" for name, value in block.named_parameters()]
    return "\n".join([repr(block), *parts])


def leaf_only(module: nn.Module) -> bool:
    """Whether a module holds no other one."""
    return next(module.children(), None) is None


def in_pieces(module: nn.Module, compiler: Compiler, where: str) -> nn.Module:
    """A module with its blocks as pieces: containers of blocks are opened, single layers stay as they are."""
    if leaf_only(module):
        return module
    if type(module) is nn.Sequential and not all(leaf_only(child) for child in module):
        return nn.Sequential(
            OrderedDict((name, in_pieces(child, compiler, where)) for name, child in module.named_children())
        )
    return Piece(module, compiler, where)


def compiled_unit(unit: Unit, compiler: Compiler, *, body: bool = True) -> Unit:
    """A view on ``unit`` whose blocks run compiled; with ``body=False`` those of the auxiliary networks only.

    Auxiliary networks that get more than the features stay as they are.
    """
    where = f"unit {unit.name!r}"
    blocks: Mapping[str, nn.Module] = dict(unit.body.named_children())
    if body:
        blocks = {name: in_pieces(block, compiler, where) for name, block in blocks.items()}
    pieces = {aux: in_pieces(aux, compiler, where) for aux in unit.plain_auxnets()}
    auxnets = {name: pieces.get(aux, aux) for name, aux in unit.auxnets.items()}
    return Unit(unit.spec, nn.Sequential(OrderedDict(blocks)), auxnets, unit.sources)


def compiled_units(net: LocalNetwork, compiler: Compiler, fused: Collection[int] = ()) -> list[Unit]:
    """Views on the units of ``net`` whose blocks run compiled; ``fused`` are the places of spans that run as one.

    What stays eager for what it is, not for an error, is told, too.
    """
    units, found = net.unit_list(), list[Unit]()
    if any(unit.spec.recompute is not None for unit in units):
        compiler.tell("units that recompute activations run eagerly: compiled blocks keep what their backward needs")
    if fused:
        compiler.tell("bodies of neuron groups that run as one grouped convolution do so eagerly")
    for start, members in spans(units):
        for unit in members:
            found.append(
                unit if unit.spec.recompute is not None else compiled_unit(unit, compiler, body=start not in fused)
            )
    return found
