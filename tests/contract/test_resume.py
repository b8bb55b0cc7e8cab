"""A checkpoint holds everything that the next step depends on."""

from dataclasses import replace
from pathlib import Path

from localgrad import Sequential
from localgrad.method import Method
from localgrad.train.checkpoint import Progress, load_checkpoint, save_checkpoint

from ..conftest import changed, copy_of, random_batch, sgd
from .cases import every_method, short


@every_method("resume")
def test_a_resumed_step_is_the_same(method: Method, tmp_path: Path) -> None:
    loops = [Sequential(short(method, seed=seed), sgd, seed=0) for seed in (0, 1)]
    batches = [replace(random_batch(loops[0].net.backbone, seed=step), step=step) for step in range(3)]
    for batch in batches[:2]:
        loops[0].step(batch)
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, loops[0], {}, Progress(step=2))
    assert changed(copy_of(loops[0].net), copy_of(loops[1].net))
    assert load_checkpoint(path, loops[1], {}).step == 2
    losses = [loop.step(batches[2]).losses for loop in loops]
    assert losses[0] == losses[1]
    assert not changed(copy_of(loops[0].net), copy_of(loops[1].net))
    states = [[optimizer.state_dict()["state"] for optimizer in loop.optimizers] for loop in loops]
    for one, other in zip(*states, strict=True):
        assert one.keys() == other.keys()
        for key, values in one.items():
            assert all(bool((values[name] == other[key][name]).all()) for name in values)
