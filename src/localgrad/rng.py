"""Random numbers as a function of names and counts, never of what ran before.

Initial weights depend on (seed, name); what a step draws depends on (seed, unit, step). So any runtime, in any order
and on any number of processes, draws the same numbers.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derive_seed(*key: int | str) -> int:
    """A 63-bit seed from a key of integers and strings; stable over processes, machines and versions."""
    digest = hashlib.blake2b(
        "\x1f".join(f"{'str' if isinstance(part, str) else 'int'}:{part}" for part in key).encode(), digest_size=8
    )
    return int.from_bytes(digest.digest(), "little") >> 1


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Run a block under random states made from ``seed``; restore the states found (CPU, and ``device`` if CUDA)."""
    generators = [torch.default_generator]
    if device is not None and device.type == "cuda":
        index = device.index if device.index is not None else torch.cuda.current_device()
        generators.append(torch.cuda.default_generators[index])
    states = [generator.get_state() for generator in generators]
    for generator in generators:
        generator.manual_seed(seed)
    try:
        yield
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)
