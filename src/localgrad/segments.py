"""Which runs of a unit's layers are recomputed: the ones that give the least live memory, and no more than needed.

A unit works through a *tape* of pieces: those of its body, then those of every auxiliary network; the backward pass
goes back over it. A piece is a layer with weights and what follows up to the next. The tape is cut into segments of
which only the inputs are kept, but for its tail, which keeps all: its backward pass begins at once.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise, takewhile
from math import prod
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from localgrad.count import weightless_copy
from localgrad.forward_calls import Call, forward_calls, has_hooks, has_weights, why_whole
from localgrad.recompute import Recompute, Segment, Staged, apply_layer, equal_segments
from localgrad.spec import Shape

# BatchNorm over vectors needs two samples.
_ROWS = 2


@final
@dataclass(frozen=True)
class Piece:
    """Layers that stay together, and bytes of ``_ROWS`` samples.

    ``entering`` is what the layers read that did not enter an earlier piece; ``kept`` what they keep for the backward
    pass beside it and their output; ``again`` is their output, if that is kept, and so made a second time when they are
    recomputed; ``largest`` the largest tensor that enters or comes out, as large as its gradient.
    ``trailing`` layers only change the output in place, as a ReLU does: they need not be recomputed with the others.
    ``chain`` counts the body (0) and the auxiliary networks. ``in_place``: these or later layers change what enters, so
    that only a copy of it could be recomputed from. ``passing`` is the part of ``entering`` that no layer keeps: it is
    held only as the input of a recomputed segment.
    """

    layers: tuple[nn.Module, ...]
    trailing: tuple[nn.Module, ...]
    entering: int
    kept: int
    again: int
    largest: int
    chain: int = 0
    in_place: bool = False
    passing: int = 0


def layers_of(module: nn.Module) -> list[nn.Module]:
    """The layers that ``module`` applies one after another.

    Plain ``nn.Sequential``s without hooks are opened, and other modules where ``forward_calls`` can.
    """
    if has_hooks(module) or isinstance(module, Call):
        return [module]
    if type(module) is nn.Sequential:
        return [layer for child in module for layer in layers_of(child)]
    if isinstance(module, Staged):
        return [layer for stage in module.stages() for layer in layers_of(stage)]
    return forward_calls(module)


def whole_parts(module: nn.Module) -> Iterator[tuple[nn.Module, str]]:
    """The layers of ``module`` that could not be opened though they have several parts with weights, and why."""
    for layer in layers_of(module):
        part = layer.target if isinstance(layer, Call) else layer
        reason = why_whole(part) if isinstance(part, nn.Module) else None
        if reason is not None:
            yield part, reason


def whole_words(found: Mapping[str, str]) -> list[str]:
    """One line per reason about modules that are kept whole (``LocalNetwork.kept_whole``), by name."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in found.items():
        by_reason.setdefault(reason, []).append(name)
    return [
        f"recompute cannot cut inside of {len(names)} module{'s' * (len(names) > 1)} ({', '.join(names[:3])}"
        f"{', ...' if len(names) > 3 else ''}), recomputed or kept as a whole: {reason}."
        for reason, names in by_reason.items()
    ]


def _storages(value: Any) -> dict[int, torch.UntypedStorage]:
    """The storages of all tensors in ``value``, which stay alive, so that no id is given twice."""
    return {id(one): one for one in (leaf.untyped_storage() for leaf in tree_leaves(value))}


def _bytes(storages: dict[int, torch.UntypedStorage]) -> int:
    return sum(storage.nbytes() for storage in storages.values())


def _versions(value: Any) -> list[tuple[Tensor, int]]:
    return [(leaf, leaf._version) for leaf in tree_leaves(value)]


def _may_begin(layer: nn.Module) -> bool:
    """Whether a piece may begin at this layer: one with weights, in a module that was opened also a norm."""
    return has_weights(layer) or (isinstance(layer, Call) and next(layer.parameters(), None) is not None)


@final
@dataclass(frozen=True)
class _Ran:
    """One layer's run on the meta device: storages that entered, came out, and were kept for the backward pass.

    ``changed`` is what it changed in place of what entered; ``only``: and returned nothing else.
    """

    layer: nn.Module
    entering: dict[int, torch.UntypedStorage]
    out: dict[int, torch.UntypedStorage]
    kept: dict[int, torch.UntypedStorage]
    changed: dict[int, torch.UntypedStorage]

    @property
    def in_place(self) -> bool:
        return bool(self.changed)

    @property
    def only(self) -> bool:
        return self.in_place and self.out.keys() == self.entering.keys()


def run_layer(layer: nn.Module, h: Any) -> tuple[_Ran, Any]:
    """Run a copy of ``layer`` in training mode on tensors of the meta device: nothing is computed, nothing drawn."""
    copied = weightless_copy(layer, "meta").train()
    entering, versions = _storages(h), _versions(h)
    own = _storages([*copied.parameters(), *copied.buffers()])
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept.update(_storages(tensor))
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = apply_layer(copied, h)
    kept = {key: storage for key, storage in kept.items() if key not in own}
    changed = _storages([leaf for leaf, version in versions if leaf._version != version])
    return _Ran(layer, entering, _storages(out), kept, changed), out


def pieces_of(module: nn.Module, shape: Shape, dtype: torch.dtype, chain: int = 0) -> tuple[list[Piece], Shape]:
    """The pieces of ``module`` on samples of ``shape``, and the shape of what comes out, () for several tensors."""
    # Not a leaf: layers may change it in place, as they may in training.
    h: Any = torch.empty((_ROWS, *shape), dtype=dtype, device="meta").requires_grad_().clone()
    runs: list[list[_Ran]] = []
    for layer in layers_of(module):
        ran, h = run_layer(layer, h)
        if not runs or (_may_begin(layer) and not ran.in_place):
            runs.append([])
        runs[-1].append(ran)
    found, entered = list[Piece](), dict[int, torch.UntypedStorage]()
    kept = {key for run in runs for ran in run for key in ran.kept}
    for index, run in enumerate(runs):
        changed = {key for later in runs[index:] for ran in later for key in ran.changed}
        passing = {key: one for key, one in run[0].entering.items() if key not in entered and key not in kept}
        copies = not changed.isdisjoint(run[0].entering)
        found.append(replace(_piece(run, entered, chain), in_place=copies, passing=_bytes(passing)))
        entered |= run[0].entering
    return found, tuple(h.shape[1:]) if isinstance(h, Tensor) else ()


def _piece(run: Sequence[_Ran], entered: Mapping[int, torch.UntypedStorage], chain: int) -> Piece:
    """One piece of layers that ran; what ``entered`` an earlier one is counted there."""
    enters = run[0].entering
    trailing = list(takewhile(lambda ran: ran.only and ran.entering.keys().isdisjoint(enters), reversed(run[1:])))
    layers = run[: len(run) - len(trailing)]
    outs = layers[-1].out
    kept = {key: one for ran in layers for key, one in ran.kept.items() if key not in enters}
    return Piece(
        layers=tuple(ran.layer for ran in layers),
        trailing=tuple(ran.layer for ran in reversed(trailing)),
        entering=_bytes({key: one for key, one in enters.items() if key not in entered}),
        kept=_bytes({key: one for key, one in kept.items() if key not in outs}),
        again=_bytes({key: one for key, one in outs.items() if key in kept}),
        largest=max(one.nbytes() for one in (enters | outs).values()),
        chain=chain,
    )


@final
class Known:
    """Pieces of modules that look the same, which are measured once: networks repeat their blocks."""

    def __init__(self) -> None:
        self.found: dict[Hashable, tuple[list[Piece], Shape]] = {}

    def pieces(self, module: nn.Module, shape: Shape, dtype: torch.dtype, chain: int) -> tuple[list[Piece], Shape]:
        """``pieces_of``, with the module's own layers."""
        weights = tuple((name, parameter.shape) for name, parameter in module.named_parameters())
        key = (repr(module), weights, tuple(map(type, module.modules())), shape, dtype)
        if key not in self.found:
            self.found[key] = pieces_of(module, shape, dtype)
        pieces, out = self.found[key]
        layers = iter(layers_of(module))
        return [
            replace(
                piece, layers=tuple(islice(layers, len(piece.layers))),
                trailing=tuple(islice(layers, len(piece.trailing))), chain=chain,
            )
            for piece in pieces
        ], out  # fmt: skip


@final
@dataclass(frozen=True)
class Tape:
    """The pieces of a unit in the order of its forward pass.

    ``tail_from`` is the first piece that may keep its activations: others run between it and the backward pass before.
    ``output`` are bytes of the body's output: the next unit reads it, so it is held beside what is made again.
    """

    pieces: tuple[Piece, ...]
    tail_from: int = 0
    output: int = 0

    def runs(self, start: int) -> Iterator[tuple[int, int]]:
        """For every stop behind ``start`` in turn, the most bytes that the pieces between hold on the way back.

        Without the input of the first: what one gives and the next reads is counted once. The backward pass of a piece
        finds what later ones kept freed; the body's output is held.
        """
        before = most = 0
        for index, piece in enumerate(self.pieces[start:], start):
            before += piece.kept + (piece.entering - piece.passing if index > start else 0)
            own = before + 2 * piece.largest + (self.output if piece.chain == 0 else 0)
            yield index + 1, max(most, own)
            # Behind the body's last piece that is the body's output itself.
            most = max(most, own + (piece.again if index != self.last_of_body else 0))

    @property
    def last_of_body(self) -> int:
        """Index of the body's last piece; -1 without one."""
        return sum(piece.chain == 0 for piece in self.pieces) - 1

    def kept_by(self, start: int, stop: int) -> int:
        """Bytes of the pieces from start to stop when nothing is recomputed."""
        if start == stop:
            return 0
        return self.entering(start) - self.pieces[start].passing + dict(self.runs(start))[stop]

    def entering(self, start: int) -> int:
        """Bytes of a segment's input, kept by it alone."""
        return self.pieces[start].entering

    def may_start(self, start: int) -> bool:
        """Whether a recomputed segment may begin here: only a chain begins with a copy of what enters."""
        own = self.pieces[start]
        return not own.in_place or start == 0 or self.pieces[start - 1].chain != own.chain

    def cheapest(self, limit: int) -> tuple[int, ...] | None:
        """Starts of the recomputed segments, then that of the tail, with the longest tail for which ``limit`` holds.

        None when no cut stays below it. O(n^2).
        """
        n = len(self.pieces)
        # held[i]: the least bytes of inputs of segments before piece i; came[i]: where the last of them starts.
        held: list[int | None] = [0] + [None] * n
        came = [0] * (n + 1)
        for start in range(n):
            before = held[start]
            if before is None or not self.may_start(start):
                continue
            now = before + self.entering(start)
            for stop, own in self.runs(start):
                last = self.pieces[stop - 1]
                if last.chain != self.pieces[start].chain or now + own > limit:
                    break
                if now + own + last.again <= limit and (held[stop] is None or now < (held[stop] or 0)):
                    held[stop], came[stop] = now, start
        for tail in range(self.tail_from, n + 1):
            before = held[tail]
            if before is not None and before + self.kept_by(tail, n) <= limit:
                starts, at = [tail], tail
                while at:
                    at = came[at]
                    starts.append(at)
                return tuple(reversed(starts))
        return None

    def least(self) -> int:
        """The least bytes that any cut needs."""
        most = sum(piece.entering + piece.kept + piece.again + 2 * piece.largest for piece in self.pieces)
        low, high = 0, self.output + most
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.cheapest(middle) is not None else (middle + 1, high)
        return high

    def segments(self, limit: int, chain: int) -> tuple[Segment, ...]:
        """The segments of one chain, within ``limit``, which is at least ``least()``."""
        starts = self.cheapest(limit)
        assert starts is not None
        *_, tail = starts
        return tuple(self._chain_segments(sorted({*starts, len(self.pieces)}), tail, chain))

    def _chain_segments(self, borders: Sequence[int], tail: int, chain: int) -> Iterator[Segment]:
        for start, stop in pairwise(borders):
            own = [piece for piece in self.pieces[start:stop] if piece.chain == chain]
            if own:
                recomputed = start < tail
                layers = [layer for piece in own for layer in (*piece.layers, *piece.trailing)]
                trailing = own[-1].trailing if recomputed else ()
                yield Segment(tuple(layers[: len(layers) - len(trailing)]), recomputed, recomputed and own[0].in_place)
                if trailing:
                    yield Segment(trailing, recomputed=False)


def body_tape(modules: Sequence[nn.Module], shapes: Sequence[Shape]) -> tuple[Tape, list[int]]:
    """The pieces of modules that follow each other, each with the shape that enters it, and where each one starts.

    The last start is the number of pieces.
    """
    known, pieces, starts = Known(), list[Piece](), [0]
    for module, shape in zip(modules, shapes, strict=True):
        dtype = next((p.dtype for p in module.parameters()), torch.get_default_dtype())
        pieces += known.pieces(module, shape, dtype, 0)[0]
        starts.append(len(pieces))
    return Tape(tuple(pieces)), starts


@final
@dataclass(frozen=True)
class Parts:
    """What the segments of one unit are chosen by.

    ``shape`` is that of one sample that enters the body, ``seen`` of one that the auxiliary networks look at, None: the
    body's output. ``tail_from`` is the first chain, of body (0) and auxiliary networks, that may keep its activations.
    ``alone``: nothing of other units is alive when this one learns.
    """

    recompute: Recompute
    body: nn.Sequential
    auxnets: tuple[nn.Module, ...]
    shape: Shape
    seen: Shape | None
    dtype: torch.dtype
    tail_from: int
    alone: bool

    def tape(self, known: Known) -> Tape:
        """The pieces of body and auxiliary networks."""
        pieces, out = known.pieces(self.body, self.shape, self.dtype, 0)
        output = _ROWS * prod(out) * self.dtype.itemsize if pieces else 0
        seen = out if self.seen is None else self.seen
        for chain, aux in enumerate(self.auxnets, start=1):
            first, *more = known.pieces(aux, seen, self.dtype, chain)[0]
            # All of them look at the same features.
            pieces += [first if chain == 1 else replace(first, entering=0), *more]
        before = [index for index, piece in enumerate(pieces) if piece.chain >= self.tail_from]
        return Tape(tuple(pieces), min(before, default=len(pieces)), output)


@final
@dataclass(frozen=True)
class Segments:
    """Those of one unit: of its body, and of every auxiliary network."""

    body: tuple[Segment, ...]
    auxnets: tuple[tuple[Segment, ...], ...]


def plan_segments(units: Sequence[Parts]) -> list[Segments]:
    """The segments of every unit.

    Those that stand alone need not stay below the largest of them: there, what fits beside it is kept.
    """
    known = Known()
    tapes = [None if unit.recompute.segments is not None else unit.tape(known) for unit in units]
    least = [0 if tape is None else tape.least() for tape in tapes]
    largest = max((own for own, unit in zip(least, units, strict=True) if unit.alone), default=0)
    found = []
    for unit, tape, own in zip(units, tapes, least, strict=True):
        if tape is None:
            whole = tuple((Segment((aux,), recomputed=False),) for aux in unit.auxnets)
            found.append(Segments(equal_segments(list(unit.body), unit.recompute.segments or 1), whole))
        else:
            limit = largest if unit.alone else own
            body, *auxnets = (tape.segments(limit, chain) for chain in range(1 + len(unit.auxnets)))
            found.append(Segments(body, tuple(auxnets)))
    return found
