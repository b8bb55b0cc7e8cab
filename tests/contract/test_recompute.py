"""Recomputation inside units: every method trains as without it, bit for bit, dropout and BatchNorm included."""

from localgrad import Sequential
from localgrad.method import Method

from ..conftest import changed, copy_of, random_batch, sgd, tiny_resnet, with_dropout
from .cases import every_method, localized


@every_method("recompute")
def test_the_same_as_without(method: Method) -> None:
    backbone = with_dropout(tiny_resnet())
    results = []
    for recompute in (False, True):
        net = localized(method, backbone, recompute=recompute)
        loop = Sequential(net, sgd)
        losses = [loop.step(random_batch(backbone, seed=index)).losses for index in range(2)]
        results.append((losses, copy_of(net)))
        bodies = [segment for unit in net.unit_list() for segment in unit.body_segments]
        assert any(segment.recomputed for segment in bodies) == recompute
    (losses, weights), (same, same_weights) = results
    assert losses == same
    assert not changed(weights, same_weights)
