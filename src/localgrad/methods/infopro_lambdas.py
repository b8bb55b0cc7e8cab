"""The weights of InfoPro's two losses along the network, and the schedules that the papers' codes use (methods.md 5).

The weights were tuned per setting: data set, network, number of modules K and split. A setting that nobody published
has no schedule, and none is guessed.
"""

from dataclasses import dataclass
from math import isfinite
from typing import Literal, final

from localgrad.errors import LocalgradError

Source = Literal["infopro", "auglocal", "mlaan"]
"""Whose experiments: InfoPro's own, or InfoPro as AugLocal's or MLAAN's comparison runs it (methods.md 12, row 12)."""

Task = Literal["contrast", "softmax"]
"""InfoPro's task loss: supervised contrast, or cross-entropy."""

Balance = Literal["standard", "balanced"]
"""The split: modules of equally many blocks, or of equal memory (InfoPro*)."""

Pair = tuple[float, float]
"""(weight of the reconstruction loss, weight of the task loss)."""


@final
@dataclass(frozen=True)
class Lambdas:
    """Weights (reconstruction, task) of the first and of the last local module; linear in the module between them.

    Raises LocalgradError for anything but pairs of numbers of at least 0.
    """

    first: Pair
    last: Pair

    def __post_init__(self) -> None:
        for name in ("first", "last"):
            pair = getattr(self, name)
            if not isinstance(pair, tuple | list) or len(pair) != 2 or not all(map(_is_weight, pair)):
                raise LocalgradError(
                    f"Lambdas: {name} must be (reconstruction weight, task weight), two numbers of at least 0, "
                    f"got {pair!r}."
                )
            object.__setattr__(self, name, tuple(pair))

    def at(self, module: int, modules: int) -> Pair:
        """The weights (reconstruction, task) of local module 0 .. ``modules`` - 2; the last module has plain loss."""
        ratio = module / (modules - 2) if modules > 2 else 0.0
        (recon, task), (last_recon, last_task) = self.first, self.last
        return recon * (1 - ratio) + last_recon * ratio, task * (1 - ratio) + last_task * ratio


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value) and value >= 0


@final
@dataclass(frozen=True)
class Setting:
    """What a schedule was tuned for. ``dataset`` or ``modules`` None: any."""

    source: Source
    loss: Task
    dataset: str | None
    networks: tuple[str, ...]
    balance: Balance
    modules: int | None

    def covers(self, source: str, loss: str, dataset: str, network: str, balance: str, modules: int) -> bool:
        """Whether the schedule is for this."""
        return (
            (self.source, self.loss, self.balance) == (source, loss, balance)
            and network in self.networks
            and self.dataset in (None, dataset)
            and self.modules in (None, modules)
        )


def _rows(
    source: Source,
    loss: Task,
    dataset: str,
    network: str,
    balance: Balance,
    weights: dict[int, tuple[float, float, float, float]],
) -> dict[Setting, Lambdas]:
    """``weights`` by K: reconstruction and task of the first module, reconstruction and task of the last."""
    return {
        Setting(source, loss, dataset, (network,), balance, modules): Lambdas((a, b), (c, d))
        for modules, (a, b, c, d) in weights.items()
    }


_R32, _R110 = "resnet32", "resnet110"

SCHEDULES: dict[Setting, Lambdas] = {
    # InfoPro's commands. All of them train with contrast on small images; its softmax weights are not published.
    **_rows("infopro", "contrast", "cifar10", _R32, "standard", {
        2: (5, 1, 0, 0), 4: (6, 0, 1, 2), 8: (5, 0, 0, 2), 16: (5, 0.05, 0.2, 0.5),
    }),
    **_rows("infopro", "contrast", "cifar10", _R110, "standard", {
        2: (5, 0.5, 0, 0), 4: (1, 0, 0, 1), 8: (5, 0, 0, 1), 16: (5, 0, 0.5, 1),
    }),
    **_rows("infopro", "contrast", "cifar10", _R110, "balanced", {
        2: (5, 0.1, 0, 0), 3: (5, 0, 5, 0.1), 4: (5, 0, 5, 0.1),
    }),
    **_rows("infopro", "contrast", "stl10", _R110, "standard", {
        2: (10, 1, 0, 0), 4: (20, 0.2, 5, 2), 8: (20, 0.2, 5, 1), 16: (20, 0.5, 10, 0.1),
    }),
    **_rows("infopro", "contrast", "stl10", _R110, "balanced", {
        2: (20, 1, 0, 0), 3: (20, 0.5, 5, 2), 4: (20, 0.5, 10, 1),
    }),
    **_rows("infopro", "contrast", "svhn", _R110, "standard", {
        2: (1, 0.1, 0, 0), 4: (5, 0, 0.5, 1), 8: (5, 0, 0.5, 2), 16: (5, 0.2, 0.5, 1),
    }),
    # The last pair is not given: with K=2 there is only one local module.
    **_rows("infopro", "softmax", "imagenet", "imagenet_resnet101", "balanced", {2: (5, 0.75, 0, 0)}),
    **_rows("infopro", "softmax", "imagenet", "imagenet_resnet152", "balanced", {2: (5, 1, 0, 0)}),
    **_rows("infopro", "softmax", "imagenet", "imagenet_resnext101_32x8d", "balanced", {2: (5, 0.75, 0, 0)}),
    # AugLocal's comparison: cross-entropy with weights tuned for contrast.
    **_rows("auglocal", "softmax", "cifar10", _R32, "standard", {16: (5, 0.05, 0.2, 0.5)}),
    **_rows("auglocal", "softmax", "cifar10", _R110, "standard", {55: (5, 0, 0.5, 1)}),
    # MLAAN's: the same for every data set and K. (Its code interpolates by stage instead of module, a slip.)
    Setting("mlaan", "softmax", None, (_R32, _R110), "standard", None): Lambdas((5, 0.5), (0, 0)),
}  # fmt: skip


def published(source: Source, loss: Task, dataset: str, network: str, balance: Balance, modules: int) -> Setting:
    """The setting of ``SCHEDULES`` for this. Raises LocalgradError that says which there are and how to give one."""
    for setting in SCHEDULES:
        if setting.covers(source, loss, dataset, network, balance, modules):
            return setting
    raise LocalgradError(
        f"InfoPro: no lambda schedule is published for dataset={dataset!r}, {network}, K={modules}, {balance} split, "
        f"loss={loss!r}, source={source!r}. {how_to_give_one()} There are: {'; '.join(_listed())}."
    )


def how_to_give_one() -> str:
    """What to write to have a schedule of one's own."""
    return (
        "Give one: lambdas=Lambdas(first=(5, 0.5), last=(0, 0)), pairs of (reconstruction, task) weights; on the "
        'command line the recipes of InfoPro take --first "[5,0.5]" --last "[0,0]".'
    )


def _listed() -> list[str]:
    """All settings; those that differ in K only together, and those of one source."""
    networks: dict[tuple[str, str], dict[str, list[str]]] = {}
    for setting in SCHEDULES:
        name = f"{setting.dataset or 'any data set'} {' and '.join(setting.networks)}"
        name += " balanced" if setting.balance == "balanced" else ""
        by_name = networks.setdefault((setting.source, setting.loss), {})
        by_name.setdefault(name, []).append("any" if setting.modules is None else str(setting.modules))
    return [
        f"for source={source!r}, loss={loss!r}: "
        + ", ".join(f"{name} K={'/'.join(ks)}" for name, ks in by_name.items())
        for (source, loss), by_name in networks.items()
    ]
