"""What happens in every mini-batch of a plan, task by task: computing of the stages, messages between them.

A stage works on one mini-batch at a time, on its units in the order of the network: forward, look, learn
(``distributed.worker``, ``distributed.cascades``). Messages travel while stages compute; queues at both ends of a
channel hold back who is too fast (``distributed.wire``).
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import final

from localgrad.placement import Kind, Transfer
from localgrad.planning.balance import reduce_seconds
from localgrad.planning.loads import INBOX, OUTBOX
from localgrad.planning.period import Wait
from localgrad.planning.plan import Plan, UnitCost
from localgrad.planning.simulate_conditions import LOOK_SHARE
from localgrad.planning.simulate_local import TRIPS

Ends = tuple[int, int]
"""Source and target stage of a message."""


@final
@dataclass(frozen=True)
class Task:
    """Something that takes ``seconds`` in every mini-batch: computing of a ``stage``, or a message on its ``way``."""

    seconds: float
    stage: int | None = None
    way: Ends | None = None


@final
@dataclass(frozen=True)
class Events:
    """All tasks of a mini-batch, in an order in which they can happen, and what waits for what."""

    tasks: tuple[Task, ...]
    waits: tuple[Wait, ...]


def stage_seconds(plan: Plan) -> tuple[float, ...]:
    """Computing of every stage per mini-batch, its replicas' sums of gradients included."""
    placement, found = plan.placement, [0.0] * plan.placement.stages
    for stage, unit in zip(placement.hosts, plan.costs, strict=True):
        found[stage] += unit.seconds / plan.speeds[stage] * plan.rows / plan.batch_size
        found[stage] += reduce_seconds(unit, placement.replicas, plan.link)
    return tuple(found)


def events(plan: Plan) -> Events:
    """The event graph of one mini-batch."""
    found = _Graph(plan)
    if max((reach for unit in plan.costs for reach in unit.reaches), default=1) > 1:
        _cascades(found)
    else:
        _spans(found)
    return found.finished()


@final
class _Graph:
    """Tasks and waits while they are collected."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.hosts = plan.placement.hosts
        self.tasks: list[Task] = []
        self.waits: list[Wait] = []
        self.newest: dict[int, int] = {}
        self.oldest: dict[int, int] = {}
        self.sent: dict[Transfer, list[int]] = defaultdict(list)
        self.makers: dict[int, int] = {}
        self.takers: dict[int, int] = {}
        self.channels: dict[tuple[Kind, int], list[Transfer]] = defaultdict(list)
        for transfer in plan.transfers:
            self.channels[transfer.kind, transfer.unit].append(transfer)

    def seconds(self, place: int) -> float:
        """Computing of a unit on its stage, without what its replicas send each other."""
        share = self.plan.rows / self.plan.batch_size
        return self.plan.costs[place].seconds / self.plan.speeds[self.hosts[place]] * share

    def compute(self, stage: int, seconds: float, *, of: list[int] | None = None) -> int:
        """The next task of a stage, which waits for its last one and for the messages ``of``."""
        task = len(self.tasks)
        self.tasks.append(Task(seconds, stage=stage))
        if stage in self.newest:
            before = self.newest[stage]
            self.waits.append(Wait(before, task, self.tasks[before].seconds))
        self.oldest.setdefault(stage, task)
        self.newest[stage] = task
        for message in of or ():
            self.waits.append(Wait(message, task, self.tasks[message].seconds))
            self.takers[message] = task
        return task

    def send(self, transfer: Transfer, source: int) -> int:
        """One message of a channel, made by the task ``source``."""
        link, size = self.plan.link, transfer.bytes(self.plan.rows, self.plan.wire) / transfer.count
        seconds = TRIPS * link.latency + size / link.bytes_per_second
        task = len(self.tasks)
        self.tasks.append(Task(seconds, way=(transfer.source, transfer.target)))
        self.waits.append(Wait(source, task, self.tasks[source].seconds))
        self.makers[task] = source
        self.sent[transfer].append(task)
        return task

    def send_all(self, kind: Kind, place: int, source: int, inbox: dict[int, list[int]]) -> None:
        """The messages of this kind about a unit, into the inboxes of those that get them."""
        for transfer in self.channels[kind, place]:
            inbox[transfer.target].append(self.send(transfer, source))

    def finished(self) -> Events:
        """With what one mini-batch makes the next one wait for."""
        for stage, first in self.oldest.items():
            last = self.newest[stage]
            self.waits.append(Wait(last, first, self.tasks[last].seconds, delay=1))
        for messages in self.sent.values():
            self._in_turn(messages)
        # Messages between the same two stages share their link; weights that are sent late wait for nothing.
        sums: dict[Ends, float] = defaultdict(float)
        for transfer in self.plan.transfers:
            size = transfer.bytes(self.plan.rows, self.plan.wire)
            sums[transfer.source, transfer.target] += size / self.plan.link.bytes_per_second
        for way, seconds in sums.items():
            self.waits.append(Wait(len(self.tasks), len(self.tasks), seconds, delay=1))
            self.tasks.append(Task(seconds, way=way))
        return Events(tuple(self.tasks), tuple(self.waits))

    def _in_turn(self, messages: list[int]) -> None:
        """One channel carries a message at a time, its ends hold so many; ``messages`` are those of a mini-batch."""
        count = len(messages)
        for index, message in enumerate(messages):
            made = self.tasks[self.makers[message]].seconds

            def earlier(by: int, index: int = index) -> tuple[int, int]:
                """The message so many before this one, and in which mini-batch."""
                return messages[(index - by) % count], -((index - by) // count)

            before, delay = earlier(1)
            self.waits.append(Wait(before, message, self.tasks[before].seconds, delay))
            # Taken out of the inbox, a message makes room for another one.
            taken, delay = earlier(INBOX)
            self.waits.append(Wait(self.takers[taken], message, 0.0, delay))
            # Who sends waits until an earlier message has left.
            left, delay = earlier(OUTBOX)
            self.waits.append(Wait(left, self.makers[message], self.tasks[left].seconds - made, delay))


def _spans(graph: _Graph) -> None:
    """Units of their own and neuron groups: span after span."""
    costs = graph.plan.costs
    inputs: dict[int, list[int]] = defaultdict(list)
    for span in dict.fromkeys(unit.span for unit in costs):
        members = [place for place, unit in enumerate(costs) if unit.span == span]
        outputs: dict[int, list[int]] = defaultdict(list)
        sideways = any(graph.channels[kind, place] for kind in (Kind.FEATURES, Kind.LOGITS) for place in members)
        phases = _Phases(graph, outputs, inputs)
        if sideways:
            phases.together(members)
        else:
            for place in members:
                phases.forward(place)
                phases.rest(place, 1.0, [])
        inputs = outputs


@final
class _Phases:
    """The phases of the units of one span."""

    def __init__(self, graph: _Graph, outputs: dict[int, list[int]], inputs: dict[int, list[int]]) -> None:
        self.graph = graph
        self.outputs = outputs
        self.inputs = inputs

    def forward(self, place: int) -> int:
        """The body; its output goes on."""
        graph = self.graph
        stage = graph.hosts[place]
        seconds = graph.seconds(place) * graph.plan.costs[place].forward
        task = graph.compute(stage, seconds, of=self.inputs.pop(stage, []))
        graph.send_all(Kind.OUTPUT, place, task, self.outputs)
        return task

    def rest(self, place: int, share: float, arrived: list[int], *, last: bool = True) -> int:
        """This share of what a unit does after its body's forward pass; in the ``last`` one gradients are added up."""
        graph = self.graph
        seconds = graph.seconds(place) * (1 - graph.plan.costs[place].forward) * share
        if last:
            seconds += reduce_seconds(graph.plan.costs[place], graph.plan.placement.replicas, graph.plan.link)
        return graph.compute(graph.hosts[place], seconds, of=arrived)

    def together(self, members: list[int]) -> None:
        """Groups that send each other features and logits."""
        features: dict[int, list[int]] = defaultdict(list)
        logits: dict[int, list[int]] = defaultdict(list)
        for place in members:
            self.graph.send_all(Kind.FEATURES, place, self.forward(place), features)
        for place in members:
            looked = self.rest(place, LOOK_SHARE, features.pop(self.graph.hosts[place], []), last=False)
            self.graph.send_all(Kind.LOGITS, place, looked, logits)
        for place in members:
            self.rest(place, 1 - LOOK_SHARE, logits.pop(self.graph.hosts[place], []))


def _cascades(graph: _Graph) -> None:
    """Losses that go down several units; a unit is finished when the last cascade over it has come down."""
    costs, hosts = graph.plan.costs, graph.hosts
    places = range(len(costs))
    lowest = [last - max(costs[last].reaches, default=1) + 1 for last in places]
    finished_by = [max(last for last in places[place:] if lowest[last] <= place or last == place) for place in places]
    work = [cascade_work(graph, place) for place in places]
    arrived: dict[int, list[int]] = defaultdict(list)
    inputs: dict[int, list[int]] = defaultdict(list)
    for last in places:
        outputs: dict[int, list[int]] = defaultdict(list)
        made = graph.compute(hosts[last], work[last].body, of=inputs.pop(hosts[last], []))
        graph.send_all(Kind.OUTPUT, last, made, outputs)
        inputs = outputs
        graph.compute(hosts[last], work[last].aux)
        for reach in costs[last].reaches:
            coming: list[int] = []
            for place in range(last, max(0, last - reach + 1), -1):
                made = graph.compute(hosts[place], work[place].body, of=coming)
                down = graph.channels[Kind.COTANGENT, place - 1]
                coming = [graph.send(transfer, made) for transfer in down]
            arrived[max(0, last - reach + 1)] += coming
        for place in [place for place in places[: last + 1] if finished_by[place] == last]:
            seconds = work[place].body + reduce_seconds(costs[place], graph.plan.placement.replicas, graph.plan.link)
            graph.compute(hosts[place], seconds, of=arrived.pop(place, []))


@final
@dataclass(frozen=True)
class CascadeWork:
    """Seconds of a unit's parts: ``body`` of its forward pass, of every gradient at its input and of that of its
    parameters, which take about as many MACs; ``aux`` of its auxiliary networks."""

    body: float
    aux: float


def cascade_work(graph: _Graph, place: int) -> CascadeWork:
    """A unit's seconds in parts that add up to all of them."""
    costs, seconds = graph.plan.costs, graph.seconds(place)
    passes = 2 + crossings(costs, place)
    body = min(graph.plan.costs[place].forward, 1 / passes) * seconds
    return CascadeWork(body, seconds - passes * body)


def crossings(costs: tuple[UnitCost, ...], place: int) -> int:
    """How many cascades go on below a unit."""
    return sum(
        place > 0 and last - reach + 1 < place for last in range(place, len(costs)) for reach in costs[last].reaches
    )
