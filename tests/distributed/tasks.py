"""What the processes of the pool are asked to do."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, final

import pytest
import torch
from torch import Tensor

from localgrad.distributed import Address, Item, ItemKind, Replicas, Worker, World, train_cascades
from localgrad.distributed.replicas import replica_group
from localgrad.distributed.wire import Inbox, Message, Outbox
from localgrad.network import LocalNetwork
from localgrad.placement import Placement, Wire
from localgrad.train import DistributedSpec, train
from localgrad.update import OptimizerUpdate
from tests.distributed.cases import CASES, batches, optimizer
from tests.distributed.faults import FAULTS
from tests.distributed.runs import made

CPU = torch.device("cpu")


def make_worker(
    world: World,
    case: str,
    placement: Placement,
    wire: str = "float32",
    labels: bool = True,
    ema_delay: int | None = None,
) -> Worker:
    """The worker of this rank for a case."""
    with torch.device("meta"):
        whole = CASES[case]()
    specs = [unit.spec for unit in whole.unit_list()]
    backbone = whole.backbone.changed_from or whole.backbone
    mine = placement.units_of(placement.stage_of(world.rank))
    net = LocalNetwork(backbone, specs, seed=0, only=mine)
    net.train()
    updates = {place: OptimizerUpdate(optimizer(net.unit_list()[place].trained_parameters())) for place in mine}
    replicas = Replicas(world, placement.ranks_of(placement.stage_of(world.rank)), replica_group(placement))
    settings: dict[str, Any] = {"wire": Wire(wire), "labels": labels, "ema_delay": ema_delay}
    return Worker(world, net, placement, updates, replicas, device=CPU, **settings)


def train_steps(
    address: Address, case: str, hosts: tuple[int, ...], replicas: int, steps: int, options: dict[str, Any]
) -> dict[str, Any]:
    """Train ``steps`` steps; this rank's weights, loss terms and evaluation."""
    placement = Placement(hosts, replicas)
    losses: list[dict[int, dict[str, float]]] = []
    with World(address, timeout=20, device=CPU) as world:
        worker = make_worker(world, case, placement, **options)
        worker.late.begin(0)
        step = train_cascades if any(unit.spec.reach > 1 for unit in worker.units) else Worker.train
        loader = worker.is_source or not options.get("labels", True)
        items = [(Item(ItemKind.TRAIN, 0, i, i, len(b.x)), b) for i, b in enumerate(batches(steps))]
        for item, batch in items:
            if not worker.is_source:
                assert worker.next_item() == item
            terms = step(worker, item, worker.own_rows(batch) if loader else None)
            losses.append({u: {n: float(v) for n, v in t.items()} for u, t in terms.items()})
        for place in worker.inner:
            worker.replicas.follow_first(worker.units[place])
        worker.net.eval()
        (batch,) = batches(1)
        item = Item(ItemKind.TEST, rows=len(batch.x))
        _, mine, seen = worker.evaluate(item, worker.own_rows(batch) if loader else None)
        told = worker.pass_on(Item(ItemKind.FINISHED), {"ranks": {str(world.rank): losses[-1] != {}}})
        sent = sum(box.bytes for boxes in worker.out.values() for _, box in boxes)
    state: dict[str, Tensor] = {k: v for k, v in worker.net.state_dict().items() if not v.is_meta}
    momentum = {
        f"{place}.{index}.{name}": value
        for place, update in worker.inner.items()
        for index, own in update.optimizer.state_dict()["state"].items()
        for name, value in own.items()
        if isinstance(value, Tensor)
    }
    return {
        "weights": {name: value.numpy().copy() for name, value in state.items()},
        "momentum": {name: value.numpy().copy() for name, value in momentum.items()},
        "losses": losses,
        "logits": {unit: value.numpy().copy() for unit, value in mine.items()},
        "seen": sorted(seen),
        "told": told,
        "sent": sent,
        "reduced": worker.replicas.bytes,
        "error": worker.codec.error,
    }


@final
class Lines:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def step(self, done: int) -> None:
        """Nothing."""

    def line(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    @contextmanager
    def epoch(self, title: str, steps: int) -> Iterator[None]:
        """Nothing."""
        yield


def train_run(
    address: Address,
    name: str,
    out: Path,
    spec: DistributedSpec,
    resume: bool = False,
    faults: Mapping[int, str] | None = None,
    changes: Mapping[int | None, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """``train(run)`` as torchrun would have started it. ``faults`` are those of ranks, ``changes`` the settings of the
    run on a rank, or on all under None."""
    words = {
        "RANK": str(address.rank),
        "WORLD_SIZE": str(address.size),
        "MASTER_ADDR": address.host,
        "MASTER_PORT": str(address.port),
    }
    changes = changes or {}
    run = made(name, out, spec, **{**changes.get(None, {}), **changes.get(address.rank, {})})
    lines = Lines()
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for word, value in words.items():
            patch.setenv(word, value)
        if faults and address.rank in faults:
            stack.enter_context(FAULTS[faults[address.rank]]())
        result = train(run, resume=resume, reporter=lines)
    return {
        "lines": lines.lines,
        "finished": result.finished,
        "interrupted": result.interrupted,
        "last": result.last,
    }


def back_pressure(address: Address, count: int) -> dict[str, Any]:
    """Rank 0 sends as fast as it can, rank 1 begins to take when rank 0 can send no more."""
    item = Item(ItemKind.TRAIN)
    with World(address, timeout=20, device=CPU) as world:
        if address.rank == 1:
            inbox = Inbox(world, 0, 0, CPU)
            while world.told_number("stuck") is None:
                time.sleep(0.01)
            taken = [inbox.take() for _ in range(count)]
            inbox.take_end(Item(ItemKind.FINISHED))
            h = taken[0].tensors["h"]
            return {"order": [int(one.tensors["h"][0]) for one in taken], "bytes": h.numel() * h.element_size()}
        outbox, handed, since = Outbox(world, 1, 0), [0], [time.monotonic()]

        def stuck() -> None:
            while time.monotonic() - since[0] < 2:
                time.sleep(0.05)
            first.append(handed[0])
            world.tell("stuck", "1")

        first: list[int] = []
        watcher = threading.Thread(target=stuck)
        watcher.start()
        for index in range(count):
            outbox.put(Message(item, {"h": torch.full((1_000_000,), float(index))}))
            handed[0], since[0] = index + 1, time.monotonic()
        outbox.put(Message(Item(ItemKind.FINISHED)))
        watcher.join()
        outbox.close()
        return {"first": first[0], "bytes": outbox.bytes}
