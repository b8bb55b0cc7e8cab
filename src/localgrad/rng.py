"""Random numbers as a function of names and counts, never of what ran before.

Initial weights depend on (seed, name); what a step draws depends on (seed, unit, step). So any runtime, in any order
and on any number of processes, draws the same numbers.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed from a key of integers and strings; stable over processes, machines and versions."""
    digest = hashlib.blake2b(
        "\x1f".join(f"{'str' if isinstance(part, str) else 'int'}:{part}" for part in key).encode(), digest_size=8
    )
    return int.from_bytes(digest.digest(), "little") >> 1


def _generators(device: torch.device | None) -> list[torch.Generator]:
    generators = [torch.default_generator]
    if device is not None and device.type == "cuda":
        index = device.index if device.index is not None else torch.cuda.current_device()
        generators.append(torch.cuda.default_generators[index])
    return generators


def random_states(device: torch.device | None = None) -> list[Tensor]:
    """The random states of this process: of the CPU, and of ``device`` if CUDA."""
    return [generator.get_state() for generator in _generators(device)]


def same_states(before: list[Tensor], after: list[Tensor]) -> bool:
    """Whether nothing was drawn between two calls of ``random_states``."""
    return all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


@final
class Stream:
    """A random state of its own (CPU, and ``device`` if CUDA), made from ``seed``, entered as often as needed.

    Each block entered goes on where the last one stopped; the states found are restored after it.
    """

    def __init__(self, seed: int, device: torch.device | None = None) -> None:
        self.seed = seed
        self.generators = _generators(device)
        self.own: list[Tensor] | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Run a block under the stream's random states."""
        found = [generator.get_state() for generator in self.generators]
        if self.own is None:
            for generator in self.generators:
                generator.manual_seed(self.seed)
        else:
            self._set(self.own)
        try:
            yield
        finally:
            self.own = [generator.get_state() for generator in self.generators]
            self._set(found)

    def _set(self, states: list[Tensor]) -> None:
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Run a block under random states made from ``seed``; restore the states found (CPU, and ``device`` if CUDA)."""
    with Stream(seed, device).entered():
        yield
