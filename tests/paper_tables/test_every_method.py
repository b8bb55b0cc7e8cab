"""Every method on one network."""

import localgrad as lg
from localgrad.paper_tables import auglocal_flops, every_method


def test_all_methods_are_there() -> None:
    nets = every_method(lg.backbones.resnet32(), 8)
    assert next(iter(nets)) == "backprop"
    # Without labels a step reads two views of every image: not to be compared with the others.
    for method in set(lg.methods.__all__) - {"DGSSL"}:
        known = {"Backprop": "backprop", "Checkpointing": "checkpointing", "GNDGL": "GN-DGL"}
        assert any(name.startswith(known.get(method, method)) for name in nets), method
    assert all(parameter.is_meta for net in nets.values() for parameter in net.parameters())


def test_flops_of_one_depth() -> None:
    found = auglocal_flops(lg.backbones.resnet110(), (2,), (0.5,))
    assert abs(found.macs[0][0] / 1e9 - 0.63) < 0.006  # table 7
