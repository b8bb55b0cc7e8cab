"""Every channel of small placements, by hand."""

from localgrad.placement import Kind, Placement, Transfer, Wire, transfers, unit_shapes
from tests.distributed.cases import CASES, IMAGE


def channels(case: str, *hosts: int, labels: bool = True) -> list[tuple[str, int, int, int, int]]:
    """Kind, unit, source, target and count of each."""
    found = transfers(CASES[case](), Placement(hosts), labels=labels)
    return [(str(one.kind), one.unit, one.source, one.target, one.count) for one in found]


def test_dgl_sends_outputs_over_borders_of_stages() -> None:
    assert channels("dgl", 0, 0, 0, 0) == []
    assert channels("dgl", 0, 0, 1, 1) == [("output", 1, 0, 1, 1)]
    assert channels("dgl", 0, 1, 2, 3) == [("output", unit, unit, unit + 1, 1) for unit in range(3)]
    (found,) = transfers(CASES["dgl"](), Placement((0, 0, 1, 1)))
    assert found.shape == unit_shapes(CASES["dgl"]())[1]
    assert (found.extras, found.image, found.backward) == (("y",), (), False)


def test_labels_stay_where_every_stage_reads_its_own() -> None:
    (found,) = transfers(CASES["dgl"](), Placement((0, 0, 1, 1)), labels=False)
    assert found.extras == ()


def test_infopro_sends_the_image_as_far_as_it_is_needed() -> None:
    net = CASES["infopro"]()
    first, second = transfers(net, Placement((0, 1, 2)))
    assert (first.extras, first.image) == (("image", "y"), IMAGE)
    # The last unit has no reconstruction.
    assert net.unit_list()[2].spec.needs <= {"y"}
    assert (second.extras, second.image) == (("y",), ())


def test_groups_tell_each_other_features_and_logits() -> None:
    # Two groups in each of two spans, the second on one stage.
    net = CASES["gndgl"]()
    assert [unit.spec.index for unit in net.unit_list()] == [0, 0, 1, 1, 2]
    kinds = channels("gndgl", 0, 1, 2, 2, 2)
    assert kinds == [
        ("output", 0, 0, 2, 1),
        ("features", 0, 0, 1, 1),
        ("logits", 0, 0, 1, 1),
        ("output", 1, 1, 2, 1),
        ("features", 1, 1, 0, 1),
        ("logits", 1, 1, 0, 1),
    ]
    found = transfers(net, Placement((0, 1, 2, 2, 2)))
    # Labels go with the first group alone.
    assert [one.extras for one in found if one.kind is Kind.OUTPUT] == [("y",), ()]
    assert [one.shape for one in found if one.kind is Kind.LOGITS] == [(4,), (4,)]
    assert unit_shapes(net)[0][0] + unit_shapes(net)[1][0] == net.backbone.shapes()[net.unit_list()[0].span.stop - 1][0]


def test_groups_that_share_nothing() -> None:
    assert {kind for kind, *_ in channels("gndgl-apart", 0, 1, 2, 2, 2)} == {"output"}


def test_cascades_send_gradients_down() -> None:
    units = CASES["mlaan"]().unit_list()
    reaches = [sorted({objective.reach for objective in unit.spec.objectives}) for unit in units]
    assert reaches == [[1], [1], [1, 3], [1, 3], [1, 3]]
    down = {
        (unit, source, target): count
        for kind, unit, source, target, count in channels("mlaan", 0, 1, 2, 3, 4)
        if kind == "cotangent"
    }
    # Cascades over units 0 to 2, 1 to 3 and 2 to 4: as many as cross each border.
    assert down == {(0, 1, 0): 1, (1, 2, 1): 2, (2, 3, 2): 2, (3, 4, 3): 1}


def test_bytes() -> None:
    output = Transfer(Kind.OUTPUT, 0, 0, 1, (8, 4, 4), extras=("y",))
    assert output.bytes(10) == 10 * (8 * 16 * 4 + 8)
    assert output.bytes(10, Wire.BFLOAT16) == 10 * (8 * 16 * 2 + 8)
    assert output.bytes(10, Wire.INT8) == 10 * (8 * 16 + 4 + 8)
    image = Transfer(Kind.OUTPUT, 0, 0, 1, (8, 4, 4), extras=("image", "y"), image=(3, 8, 8))
    assert image.bytes(1) - output.bytes(1) == 3 * 64 * 4
    # Gradients stay in float32.
    down = Transfer(Kind.COTANGENT, 0, 1, 0, (8, 4, 4), count=2)
    assert down.bytes(10, Wire.INT8) == 2 * 10 * 8 * 16 * 4 and down.backward
    assert Transfer(Kind.WEIGHTS, 3, 1, 0, (1000,)).bytes(64) == 4000
