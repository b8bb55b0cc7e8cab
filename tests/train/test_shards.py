"""Checkpoints of many processes: each saves its own units, any other number of processes goes on, bit for bit."""

from pathlib import Path

import pytest
import torch

from localgrad import LocalgradError, LocalNetwork, Sequential
from localgrad.method import Method
from localgrad.train.checkpoint import Progress, optimizer_tensors, restore, save_checkpoint
from localgrad.train.shard_steps import found_steps, read_step
from localgrad.train.shards import load_shard_state, own_parameter_names, own_state, read_shard
from localgrad.train.tensors import read_tensors
from localgrad.update import OptimizerUpdate, Precision
from tests.conftest import changed, copy_of, sgd
from tests.contract.cases import every_method, localized
from tests.train.by_hand import FACTS, UNITS, Rank, batch, make_rank, network, save_rank, save_ranks, shares, trained


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_file_holds_its_own_units_only(tmp_path: Path) -> None:
    loop = trained()
    paths = save_ranks(tmp_path, loop, 3)
    assert paths == [tmp_path / "checkpoints" / "step-00000002" / f"rank-{rank}.safetensors" for rank in range(3)]
    names = [unit.name for unit in loop.net.unit_list()]
    seen: list[str] = []
    for rank, path in enumerate(paths):
        header, tensors = read_tensors(path, {"localgrad shard 1"}, "a shard")
        held = [names[place] for place in shares(3)[rank]]
        assert (header["rank"], header["ranks"], header["units"], header["network"]) == (rank, 3, held, names)
        assert header["facts"] == FACTS
        assert header["scalers"] == {name: {} for name in held}
        seen += [name for name in tensors if not name.startswith("random.")]
    whole = {f"weights.{name}" for name in loop.net.state_dict()}
    whole |= optimizer_tensors(loop.net, loop.optimizers).keys()
    assert len(seen) == len(whole)
    assert set(seen) == whole


def test_units_own_everything_once() -> None:
    net = network()
    named = [name for place in range(UNITS) for name in own_state(net, [place])]
    assert sorted(named) == sorted(net.state_dict())
    parameters = [name for place in range(UNITS) for name in own_parameter_names(net, [place])]
    assert sorted(parameters) == sorted(name for name, _ in net.named_parameters())


@every_method("resume")
def test_units_of_every_method_own_everything_once(method: Method) -> None:
    """Each alone in its process, too: the rest is on the meta device."""
    net = localized(method)
    units = net.unit_list()
    named = [name for place in range(len(units)) for name in own_state(net, [place])]
    assert sorted(named) == sorted(net.state_dict())
    last = len(units) - 1
    backbone = net.backbone
    while backbone.changed_from is not None:
        backbone = backbone.changed_from
    alone = LocalNetwork(backbone, [unit.spec for unit in units], only=[last])
    assert own_state(alone, [last]).keys() == own_state(net, [last]).keys()
    classifier = any(name.startswith(f"model.{net.backbone.head_name}.") for name in own_state(net, [last]))
    assert classifier == net.classifies


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_as_one_checkpoint(tmp_path: Path, ranks: int) -> None:
    """The shards read back are what one process would have written, header and tensors."""
    loop = trained()
    save_ranks(tmp_path, loop, ranks)
    header, tensors = read_step(tmp_path, 2)
    save_checkpoint(tmp_path / "single", loop, FACTS, Progress())
    before, single = read_tensors(tmp_path / "single", {"localgrad checkpoint 1"}, "one")
    assert same(tensors, single)
    assert {**header, "progress": None} == {**before, "progress": None}
    progress = Progress(**header["progress"])
    assert progress.sums == {str(place): {"ce": place + 0.5} for place in range(UNITS)}
    assert progress.seen == {str(place): 16 for place in range(UNITS)}
    assert (progress.step, progress.metrics_bytes, progress.best, progress.last) == (2, 77, {"epoch": 1}, {"epoch": 1})


def test_one_process_goes_on(tmp_path: Path) -> None:
    save_ranks(tmp_path, trained(2), 3)
    loop = Sequential(network(seed=1), sgd, seed=0)
    restore(*read_step(tmp_path, 2), loop, dict(FACTS), tmp_path)
    assert loop.steps == 2
    for step in (2, 3):
        loop.step(batch(step))
    whole = trained(4)
    assert not changed(copy_of(loop.net), copy_of(whole.net))
    assert same(optimizer_tensors(loop.net, loop.optimizers), optimizer_tensors(whole.net, whole.optimizers))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_other_numbers_of_processes_go_on(tmp_path: Path, ranks: int) -> None:
    """Saved by three; each new one holds its own units only, the rest on the meta device."""
    save_ranks(tmp_path, trained(2), 3)
    processes = [make_rank(places) for places in shares(ranks)]
    stood = [process.load(tmp_path, 2) for process in processes]
    assert all(progress == stood[0] for progress in stood)
    for step in (2, 3):
        h = batch(step).x
        for process in processes:
            h = process.step(h, batch(step))
    for rank, process in enumerate(processes):
        process.save(tmp_path / "later", rank, ranks, Progress(step=4))
    whole = trained(4)
    _, tensors = read_step(tmp_path / "later", 4)
    expected = {f"weights.{name}": value for name, value in copy_of(whole.net).items()}
    expected |= optimizer_tensors(whole.net, whole.optimizers)
    assert same({name: value for name, value in tensors.items() if not name.startswith("random.")}, expected)


def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    """Tensors of files that hold a unit asked for; the header is that of the whole run."""
    paths = save_ranks(tmp_path, trained(), 4)
    names = [read_shard(path).units[0] for path in paths]
    paths[2].write_bytes(paths[2].read_bytes()[:-1] + b"!")
    header, tensors = read_step(tmp_path, 2, [names[1]])
    assert {name for name in tensors if name.startswith("weights.")} == {
        f"weights.{name}" for name in own_state(network(), [1])
    }
    assert len(header["progress"]["sums"]) == UNITS
    with pytest.raises(LocalgradError, match=r"rank-2\.safetensors cannot be read .* it is damaged"):
        read_step(tmp_path, 2, names[2:])
    with pytest.raises(LocalgradError, match=r"step-00000002: no unit is named nobody\.$"):
        read_step(tmp_path, 2, ["nobody"])
    with pytest.raises(LocalgradError, match=r"there is no checkpoint of step 3 below .*/checkpoints\.$"):
        read_step(tmp_path, 3)


def test_a_process_cannot_save_what_it_does_not_hold(tmp_path: Path) -> None:
    process = make_rank([0, 1])
    process.places = [1, 2]
    unit = process.names[1]
    with pytest.raises(
        LocalgradError, match=rf"units \S+, {unit}: \d+ of their \d+ tensors have no values in this process, such as "
    ):
        process.save(tmp_path, 0, 2, Progress())
    assert list(tmp_path.iterdir()) == []


def test_everything_that_does_not_fit_is_listed(tmp_path: Path) -> None:
    save_ranks(tmp_path, trained(), 2)
    header, tensors = read_step(tmp_path, 2)
    process = make_rank([0])
    first, second, *_ = own_state(process.net, [0])
    tensors[f"weights.{first}"] = torch.zeros(7)
    del tensors[f"weights.{second}"]
    tensors["weights.model.other"] = torch.zeros(1)
    before = copy_of(process.net.units[0])
    with pytest.raises(LocalgradError) as raised:
        load_shard_state(process.net, [0], process.updates, header, tensors, "the file")
    lines = str(raised.value).splitlines()
    assert lines[:3] == [
        "the file does not fit this network:",
        f"  missing: {second}",
        "  unexpected: model.other",
    ]
    assert lines[3].startswith(f"  shape of {first}: expected (")
    assert not changed(before, copy_of(process.net.units[0]))


def test_one_optimizer_for_all_units_is_for_one_process(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "single", Sequential(network(), sgd, update="fused"), FACTS, Progress())
    header, tensors = read_tensors(tmp_path / "single", {"localgrad checkpoint 1"}, "one")
    process = make_rank([0])
    with pytest.raises(LocalgradError, match=r"expected an optimiser for each of the 4 units, got 1\. It was trained"):
        load_shard_state(process.net, [0], process.updates, header, tensors, "the file")


def test_the_same_step_before_and_after_an_evaluation(tmp_path: Path) -> None:
    """A file of another position is not replaced: it may be all that is left of the earlier one."""
    loop = trained()
    save_ranks(tmp_path, loop, 2, epoch=0, batch=5)
    path = save_rank(tmp_path, loop, 2, 0, epoch=1, batch=0)
    assert path.name == "rank-0.1.safetensors"
    assert [(found.position, found.complete) for found in found_steps(tmp_path)] == [
        ((2, 0, 5), True),
        ((2, 1, 0), False),
    ]
    assert read_step(tmp_path, 2)[0]["progress"]["batch"] == 5
    save_rank(tmp_path, loop, 2, 1, epoch=1, batch=0)
    assert read_step(tmp_path, 2)[0]["progress"]["epoch"] == 1
    assert save_rank(tmp_path, loop, 2, 0, epoch=1, batch=0) == path


def test_the_same_step_from_another_number_of_processes(tmp_path: Path) -> None:
    """Resumed by two and killed when one of them has saved: nothing of what four had saved is lost."""
    loop = trained()
    save_ranks(tmp_path, loop, 4)
    assert save_rank(tmp_path, loop, 2, 1, places=[3]).name == "rank-1.1.safetensors"
    (found,) = found_steps(tmp_path)
    assert found.complete
    header, tensors = read_step(tmp_path, 2)
    assert header["progress"]["metrics_bytes"] == 77
    assert {f"weights.{name}" for name in loop.net.state_dict()} <= tensors.keys()


def test_scalers_go_by_the_unit(tmp_path: Path) -> None:
    """Saved by two processes with the scales 2, 4, 8, 16; found again by a third number of them."""

    def processes(ranks: int) -> list[Rank]:
        made = [make_rank(places) for places in shares(ranks)]
        for process in made:
            process.updates = [
                OptimizerUpdate(update.optimizer, precision=Precision.FLOAT16) for update in process.updates
            ]
        return made

    def scale(update: OptimizerUpdate) -> object:
        return update.scaler_state()["scale"]

    for rank, process in enumerate(processes(2)):
        for place, update in zip(process.places, process.updates, strict=True):
            assert update.scaler is not None
            update.scaler.load_state_dict({**update.scaler_state(), "scale": 2.0 ** (place + 1)})
        process.save(tmp_path, rank, 2, Progress(step=2))
    found: list[object] = []
    for process in processes(3):
        assert {scale(update) for update in process.updates} == {65536.0}
        process.load(tmp_path, 2)
        found += [scale(update) for update in process.updates]
    assert found == [2.0, 4.0, 8.0, 16.0]
