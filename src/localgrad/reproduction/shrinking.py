"""From a paper's Run to one for two CPU cores and minutes: the same method, everything else scaled down. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import final

from localgrad.data import Augment, Data, Prefix
from localgrad.errors import LocalgradError
from localgrad.method import Method
from localgrad.methods import DGSSL, AugLocal, InfoPro
from localgrad.methods.infopro_lambdas import SCHEDULES, Lambdas, published
from localgrad.network import find_partition
from localgrad.partition import Cut, EqualBlocks, EqualMemory
from localgrad.recipes.digits import VIEWS
from localgrad.reproduction.networks import small_network
from localgrad.spec import Backbone, Partition
from localgrad.train import SGD, Adam, Constant, Cosine, MultiStep, Run
from localgrad.train.optim import OptimizerSpec
from localgrad.train.schedule import Schedule

BATCH = 64
"""Images per step. Learning rates of SGD fall in proportion."""


@final
@dataclass(frozen=True)
class Small:
    """What a run is scaled down to: the data, the level of the network (``networks.RESNETS``), the epochs."""

    data: Data
    level: int
    epochs: int


def shrink(run: Run, small: Small) -> Run:
    """``run`` on small data, with a small network of its kind, few epochs and small batches.

    The method stays with all its settings; InfoPro's weights are those that the paper has for its network. K stays
    where the small network has as many blocks; one module per block stays that; else it falls in proportion. Schedules
    keep their shares of the epochs. Raises LocalgradError for a network or setting that has no small version.
    """
    data = _augmented(small.data, run.data)
    assert data.image is not None
    backbone = small_network(run.backbone, data.image, small.level)
    modules, partition = _cut(run, backbone)
    rate = BATCH / run.batch_size if isinstance(run.optimizer, SGD) else 1.0
    method = small_method(run)
    if isinstance(method, AugLocal):
        method = replace(method, depth=min(method.depth, len(backbone.blocks)))
    grey = data.image[0] == 1
    return replace(
        run,
        backbone=backbone,
        method=method,
        modules=modules,
        partition=partition,
        data=data,
        epochs=small.epochs,
        batch_size=BATCH,
        optimizer=_slower(run.optimizer, rate),
        schedule=_shorter(run.schedule, run.epochs, small.epochs, rate),
        views=VIEWS if run.views is not None and grey else run.views,
        drop_last=run.drop_last or isinstance(method, DGSSL),
        # The finished run is judged; looking on the way would cost minutes of the budget.
        knn_every=0,
        linear_every=0,
        origin=None,
        out=None,
    )


def small_modules(modules: int, blocks: int, small_blocks: int) -> int:
    """K of a network of ``small_blocks`` blocks that stands for one of ``blocks``, cut into ``modules``."""
    if modules >= blocks:
        return small_blocks
    return modules if modules <= small_blocks else max(1, round(modules * small_blocks / blocks))


def modules_of(run: Run) -> int | None:
    """The paper's K, None where the method's default cuts."""
    if isinstance(run.partition, Partition):
        return len(run.partition)
    found = run.modules if run.partition is None else getattr(run.partition, "modules", None)
    assert found is None or isinstance(found, int)
    return found


def _cut(run: Run, backbone: Backbone) -> tuple[int | None, Partition | Cut | None]:
    """``modules`` and ``partition`` of the small Run: the paper's own where only the images differ."""
    modules = modules_of(run)
    if modules is None or backbone.name == run.backbone.name:
        return run.modules, run.partition
    count = small_modules(modules, len(run.backbone.blocks), len(backbone.blocks))
    balanced = isinstance(run.method, InfoPro) and run.method.split == "balanced"
    return None, EqualMemory(count) if balanced else EqualBlocks(count)


def small_method(run: Run) -> Method:
    """The method without what only the paper's own network and data tell: weights of losses become explicit."""
    method = run.method
    if isinstance(method, InfoPro):
        heads = {"head": "1c2f", "decoder": "2c"} if method.head == "imagenet" else {}
        lambdas = method.lambdas or _schedule(run, method)
        # With weights of its own no data set is looked up: runs of several data sets are one.
        return replace(method, lambdas=lambdas, dataset="cifar10", **heads)  # type: ignore[arg-type]
    if isinstance(method, AugLocal):
        recon = method.reconstruction
        if recon is not None and recon.lambdas is None:
            setting = published(
                "auglocal", "softmax", recon.dataset, run.backbone.name, "standard", modules_of(run) or 0
            )
            method = replace(method, reconstruction=replace(recon, lambdas=SCHEDULES[setting]))
        # Its classifier on flattened maps is ImageNet's.
        return replace(method, classifier="pooled")
    return method


def _schedule(run: Run, method: InfoPro) -> Lambdas:
    count = len(find_partition(run.backbone, method, run.modules, run.partition))
    setting = published(method.source, method.loss, method.dataset, run.backbone.name, method.split, count)
    return SCHEDULES[setting]


def _augmented(data: Data, papers: Data) -> Data:
    """``data`` with cutout in proportion, where the paper's images have it."""
    cutout = getattr(getattr(papers, "augment", None), "cutout", 0)
    whole = data.whole if isinstance(data, Prefix) else data
    augment = getattr(whole, "augment", None)
    if not cutout or not isinstance(augment, Augment) or papers.image is None or data.image is None:
        return data
    side = max(1, round(cutout * data.image[1] / papers.image[1]))
    cut = replace(whole, augment=replace(augment, cutout=side))  # type: ignore[type-var]
    return replace(data, whole=cut) if isinstance(data, Prefix) else cut


def _slower(optimizer: OptimizerSpec, rate: float) -> OptimizerSpec:
    return replace(optimizer, lr=optimizer.lr * rate) if isinstance(optimizer, SGD | Adam) else optimizer


def _shorter(schedule: Schedule, epochs: int, small: int, rate: float) -> Schedule:
    """The same shape over fewer epochs; no epoch has rate 0."""
    if isinstance(schedule, Cosine):
        warmup = round(schedule.warmup_epochs * small / epochs)
        # Without a ramp its rate says nothing, and runs of several data sets are one.
        return Cosine(warmup, schedule.warmup_lr * rate if warmup else 0.0, from_zero=True)
    if isinstance(schedule, MultiStep):
        gamma = schedule.gamma
        shares = [m if 0 < m < 1 else m / epochs for m in schedule.milestones]
        kept = [index for index, share in enumerate(shares) if 0 < share < 1]
        return MultiStep(
            tuple(shares[index] for index in kept),
            tuple(gamma[index] for index in kept) if isinstance(gamma, tuple) else gamma,
        )
    if isinstance(schedule, Constant):
        return schedule
    raise LocalgradError(f"there is no shorter version of the schedule {type(schedule).__name__}")


def changes(run: Run, small: Run) -> Iterator[str]:
    """What the small Run has in place of the paper's, a few words each, the paper's in brackets."""
    images = "x".join(map(str, small.backbone.image))
    own = "" if small.backbone.name == run.backbone.name else f" ({run.backbone.name})"
    yield f"{small.backbone.name}{own}"
    yield f"{small.data.name} {images} ({run.data.name} {'x'.join(map(str, run.backbone.image))})"
    before, now = (_count(one) for one in (run, small))
    if before != now:
        yield f"K={now} ({before})"
    depths = [getattr(one.method, "depth", None) for one in (run, small)]
    if depths[0] != depths[1]:
        yield f"d={depths[1]} ({depths[0]})"
    yield f"{small.epochs} epoch{'' if small.epochs == 1 else 's'} ({run.epochs})"
    yield f"batch {small.batch_size} ({run.batch_size})"
    yield f"lr {small.optimizer.lr:g} ({run.optimizer.lr:g})"
    if getattr(run.data, "classes_per_batch", None) is not None:
        yield "batches of all classes (of few)"


def _count(run: Run) -> int:
    return len(find_partition(run.backbone, run.method, run.modules, run.partition))
