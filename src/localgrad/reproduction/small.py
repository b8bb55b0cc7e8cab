"""The recipe of a small run: which paper's recipe, scaled down to what. Every verb can make the run again from it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, final, get_args

from localgrad.data import CIFAR10, Data, Digits, ImageFolder, Prefix
from localgrad.data.cifar import AUGMENT, MEAN, STD
from localgrad.errors import LocalgradError, RunError, nearest
from localgrad.facts import plain
from localgrad.recipes.experiments import run_of
from localgrad.reproduction.shrinking import Small, shrink
from localgrad.train import Origin, Run

SmallData = Literal["digits", "cifar10", "cifar10-folder"]
"""scikit-learn's digits, the first images of CIFAR-10, or of an image folder that holds CIFAR-10."""

CLASSES = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"}
"""CIFAR-10's, as an image folder of it has them."""

TEST = 1000
"""Test images of a prefix."""


@final
@dataclass(frozen=True)
class SmallSetting:
    """What all runs of a table are scaled down to. ``images`` of the training split; 0: all."""

    data: SmallData
    level: int
    images: int
    epochs: int


def small(
    recipe: str,
    keywords: str = "{}",
    data: SmallData = "digits",
    level: int = 0,
    images: int = 0,
    epochs: int = 1,
    seed: int = 0,
    data_root: Path | None = None,
) -> Run:
    """A paper's recipe scaled down to a setting that is not the paper's.

    Args:
        recipe: name of the paper's recipe
        keywords: its keywords as a JSON object
        data: what it trains on
        level: 0, 1 or 2, from larger to smaller networks
        images: training images; 0 is all
        epochs: passes over them
        seed: of weights, order and augmentation
        data_root: folder of CIFAR-10
    """
    given = {name: _listed(value) for name, value in json.loads(keywords).items()}
    return small_run(recipe, given, SmallSetting(data, level, images, epochs), seed, data_root)


def small_run(
    recipe: str, keywords: Mapping[str, object], setting: SmallSetting, seed: int, data_root: Path | None
) -> Run:
    """The Run of ``small``, with its origin. Raises LocalgradError for what has no small version."""
    run = shrink(
        run_of(recipe, keywords, seed=seed), Small(small_data(setting, data_root), setting.level, setting.epochs)
    )
    arguments: dict[str, object] = {
        "recipe": recipe,
        "keywords": json.dumps({name: plain(value) for name, value in keywords.items()}),
        **{name: plain(value) for name, value in vars(setting).items()},
        "seed": seed,
        "data_root": None if data_root is None else str(data_root),
    }
    return replace(run, origin=Origin(f"{__name__}:{small.__name__}", arguments))


def small_data(setting: SmallSetting, data_root: Path | None) -> Data:
    """The data set of a setting."""
    match setting.data:
        case "digits":
            whole: Data = Digits()
        case "cifar10":
            whole = CIFAR10(data_root)
        case "cifar10-folder":
            assert data_root is not None
            whole = ImageFolder(data_root, 32, augment=AUGMENT, mean=MEAN, std=STD)
        case _:
            raise LocalgradError(f"data {setting.data!r} is unknown. {nearest(setting.data, get_args(SmallData))}")
    return whole if not setting.images else Prefix(whole, setting.images, TEST)


def found_data(data_root: Path | None) -> SmallData:
    """The digits without a ``data_root``, else CIFAR-10 there: published, or as an image folder of its classes.

    Raises RunError where it is neither.
    """
    if data_root is None:
        return "digits"
    leave = "Leave --data-root out to train on scikit-learn's digits."
    if not data_root.is_dir():
        what = "is no folder" if data_root.exists() else "does not exist"
        raise RunError([f"--data-root {data_root} {what}: expected a folder with CIFAR-10. {leave}"])
    problems = list(CIFAR10(data_root).problems())
    if not problems:
        return "cifar10"
    train = data_root / "train"
    try:
        classes = {path.name for path in train.iterdir() if path.is_dir()} if train.is_dir() else set()
    except OSError as error:
        raise RunError([f"--data-root: {train} cannot be read: {error.strerror or error}. {leave}"]) from error
    if classes == CLASSES:
        return "cifar10-folder"
    got = f"train/ there has {len(classes)} folders" if train.is_dir() else "there is no train/"
    raise RunError(
        [
            f"--data-root {data_root} has no CIFAR-10.\n{problems[0]}\nOr an image folder train/, test/ of its ten "
            f"classes ({', '.join(sorted(CLASSES))}): {got}. {leave} "
            "--download is of --budget paper only."
        ]
    )


def _listed(value: object) -> object:
    """JSON's lists are the recipes' tuples."""
    return tuple(map(_listed, value)) if isinstance(value, list) else value
