"""Tiny runs, real child processes, and comparisons of what runs wrote."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from tests.train.processes import Launcher

EXPERIMENT = '''
"""A user's own recipe, with a data set of its own, and signals at exact moments where the environment asks for it."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from localgrad.backbones import cifar_resnet
from localgrad.data import Augment, ImageSet, Split
from localgrad.methods import DGL, AugLocal, Backprop, Checkpointing
from localgrad.train import SGD, Adam, Constant, Run

torch.set_num_threads(1)


@dataclass(frozen=True)
class Noise:
    count: int = 40
    channels: int = 1
    classes: int = 4
    name: str = "noise"

    @property
    def num_classes(self):
        return self.classes

    @property
    def image(self):
        return (self.channels, 8, 8)

    def problems(self):
        return []

    def split(self, count, seed):
        draw = torch.Generator().manual_seed(seed)
        images = torch.randint(0, 256, (count, *self.image), dtype=torch.uint8, generator=draw)
        return Split(images, torch.arange(count) % self.classes)

    def load(self):
        c = self.channels
        names = tuple(map(str, range(self.classes)))
        augment = Augment(pad=1, flip=True)
        return ImageSet(self.name, self.split(self.count, 0), self.split(22, 1), names, (0.5,) * c, (0.3,) * c, augment)


def asked(name):
    """How often something happens before a signal is sent, and which: SIGNAL_AT_STEP=7:SIGINT."""
    words = os.environ.get(name)
    return (0, None) if words is None else (int(words.split(":")[0]), getattr(signal, words.split(":")[1]))


class Sender:
    def __init__(self, name):
        self.left, self.number = asked(name)

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0 and self.number is not None:
            os.kill(os.getpid(), self.number)


AT_STEP = Sender("SIGNAL_AT_STEP")
AT_SYNC = Sender("SIGNAL_AT_SYNC")
AT_EVALUATION = Sender("SIGNAL_AT_EVALUATION")
real_fsync = os.fsync


def fsync(handle):
    real_fsync(handle)
    AT_SYNC()


os.fsync = fsync


@dataclass(frozen=True)
class Signalling:
    """An optimiser that counts the steps of the first unit."""

    inner: object
    made = []

    @property
    def lr(self):
        return self.inner.lr

    def problems(self):
        return self.inner.problems()

    def __call__(self, parameters):
        optimizer = self.inner(parameters)
        if not self.made:
            optimizer.register_step_post_hook(AT_STEP)
        self.made.append(1)
        return optimizer


METHODS = {"backprop": Backprop(), "dgl": DGL(), "auglocal": AugLocal(2), "checkpointing": Checkpointing(2)}


def tiny(
    method: str = "dgl", adam: bool = False, epochs: int = 3, seed: int = 0, count: int = 40, width: float = 0.5
) -> Run:
    """A network of four blocks on 40 images: 5 batches of 8 per epoch."""
    return Run(
        backbone=cifar_resnet(8, 4, width=width, image=(1, 8, 8)),
        method=METHODS[method],
        data=Noise(count),
        optimizer=Signalling(Adam(0.01) if adam else SGD(0.05)),
        schedule=Constant(),
        batch_size=8,
        epochs=epochs,
        seed=seed,
    )


def three_channels(seed: int = 0) -> Run:
    return replace(tiny(seed=seed), data=Noise(channels=3))


def five_classes(seed: int = 0) -> Run:
    return replace(tiny(seed=seed), data=Noise(classes=5))


def many_problems(seed: int = 0) -> Run:
    return replace(five_classes(), modules=9, epochs=0, val_fraction=1.5, accumulate=99, data=Noise(40, 3, 5))


def no_run(seed: int = 0):
    return {"epochs": 3}


def untyped(epochs=2, seed=0):
    return tiny(epochs=epochs, seed=seed)


def failing(seed: int = 0) -> Run:
    return 1 // seed
'''


class Stopping:
    """A reporter that sends SIGTERM to its own process at one step, from 1, of the whole run."""

    def __init__(self, step: int) -> None:
        self.left = step

    def step(self, done: int) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)

    def line(self, text: str) -> None:
        pass

    @contextmanager
    def epoch(self, title: str, steps: int) -> Iterator[None]:
        yield


class Lines(Stopping):
    """A reporter that remembers lines."""

    def __init__(self, step: int = -1) -> None:
        super().__init__(step)
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(autouse=True, scope="session")
def one_thread_in_children() -> Iterator[None]:
    """For the server of the children, and for commands started in earnest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Launcher]:
    """Starts commands in a folder that holds ``exp.py``."""
    (tmp_path / "exp.py").write_text(EXPERIMENT)
    launcher = Launcher(tmp_path)
    try:
        yield launcher
    finally:
        launcher.close()


def header(folder: Path) -> dict[str, Any]:
    """The checkpoint's JSON document."""
    with safe_open(folder / "checkpoint.safetensors", framework="pt") as file:
        return json.loads(file.metadata()["localgrad"])


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a checkpoint: weights, optimiser state, random state."""
    with safe_open(folder / "checkpoint.safetensors", framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of the metrics, without the time that they took."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def assert_same_run(one: Path, other: Path) -> None:
    """Two runs ended in the same state bit for bit, and recorded the same numbers, each once."""
    here, there = tensors(one), tensors(other)
    assert here.keys() == there.keys()
    assert any(name.startswith("optimizer.") for name in here)
    assert "random.cpu" in here
    assert [name for name in here if not torch.equal(here[name], there[name])] == []
    assert rows(one) == rows(other)
    times = {"seconds", "metrics_bytes"}
    progress = [{k: v for k, v in header(folder)["progress"].items() if k not in times} for folder in (one, other)]
    assert progress[0] == progress[1]
    assert header(one)["facts"] == header(other)["facts"]
    leftovers = [path.name for path in (*one.iterdir(), *other.iterdir()) if path.name.endswith(".partial")]
    assert leftovers == []


def lines_in(path: Path) -> int:
    """Whole lines of a file that may not be there yet."""
    return path.read_bytes().count(b"\n") if path.exists() else 0


def tree(folder: Path) -> dict[str, bytes]:
    """All files below a folder, but for what commands printed."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("output-") and "__pycache__" not in path.parts
    }
