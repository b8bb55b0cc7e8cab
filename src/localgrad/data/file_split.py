"""A split whose images stay in their files."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from localgrad.data.scan import Entry


@dataclass(frozen=True, eq=False)
class FileSplit:
    """Image files and their classes: ``paths_N`` relative to ``root``, ``labels_N`` int64.

    The paths are one array of bytes, because a million Python strings would be copied into every worker process.
    """

    root: Path
    paths_N: npt.NDArray[np.bytes_]
    labels_N: Tensor

    def __len__(self) -> int:
        return len(self.labels_N)

    def path(self, index: int) -> str:
        """Path of one file, relative to the root."""
        return os.fsdecode(bytes(self.paths_N[index]))

    def take(self, index_M: Tensor) -> "FileSplit":
        """The samples ``index_M`` (int64), in that order, as a new split."""
        return FileSplit(self.root, self.paths_N[index_M.numpy()], self.labels_N[index_M])


def file_split(root: Path, entries: Sequence[Entry]) -> FileSplit:
    """The split of a folder's listing."""
    paths_N = np.array([os.fsencode(entry.path) for entry in entries], dtype=np.bytes_)
    return FileSplit(root, paths_N, torch.tensor([entry.label for entry in entries], dtype=torch.int64))
