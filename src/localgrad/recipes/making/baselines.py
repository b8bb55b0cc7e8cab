"""Recipes of backpropagation and gradient checkpointing."""

from pathlib import Path

from localgrad.methods import Backprop, Checkpointing
from localgrad.recipes.making.setting import Recipe, Setting
from localgrad.train import Run


def backprop(at: Setting) -> Recipe:
    """End-to-end backpropagation at a setting."""

    def backprop(
        width: float = 1,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """End-to-end backpropagation.

        Args:
            width: factor on all channels
        """
        return at.run(Backprop(), None, epochs, seed, data_root, download, width=width)

    return at.named(backprop)


def checkpointing(at: Setting) -> Recipe:
    """Backpropagation with recomputed activations at a setting."""

    def checkpointing(
        segments: int | None = None,
        width: float = 1,
        epochs: int = at.protocol.epochs,
        seed: int = 0,
        data_root: Path | None = None,
        download: bool = False,
    ) -> Run:
        """Backpropagation with recomputed activations, the memory baseline.

        Args:
            segments: segments that are recomputed; the square root of the number of blocks by default
            width: factor on all channels
        """
        return at.run(Checkpointing(segments), None, epochs, seed, data_root, download, width=width)

    return at.named(checkpointing)
