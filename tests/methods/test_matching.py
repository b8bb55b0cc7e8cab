"""What another method's auxiliary networks cost, unit by unit, and heads that are made to cost the same."""

from localgrad.auxnets import ConvFC, conv_linear_macs
from localgrad.backbones import resnet32
from localgrad.methods import DGL, AugLocal
from localgrad.methods.matching import enlarged, reference
from localgrad.partition import papers
from localgrad.spec import AuxSpec, Shape


def test_reference_has_the_methods_own_units() -> None:
    backbone = resnet32()
    compared = reference(AugLocal(depth=4), backbone, papers(16)(backbone))
    assert [len(span) for span in compared.partition.spans] == [1] * 12 + [4]
    assert len(compared.auxnets) == len(compared.shapes) == len(compared.macs) == 12
    assert compared.shapes == backbone.shapes()[:12]
    for index in (0, 5, 11):
        assert compared.macs[index] == conv_linear_macs(compared.auxnets[index], compared.shapes[index])


def test_equal_units_are_solved_for_once_and_every_head_is_the_closest() -> None:
    backbone = resnet32()
    compared = reference(DGL(head="cnn"), backbone, papers(16)(backbone))
    seen: list[Shape] = []

    def make(shape: Shape, width: int) -> AuxSpec:
        seen.append(shape)
        return ConvFC(shape[0], 10, width, stride=1, fcs=1)

    heads = enlarged(compared, make)
    assert len(heads) == 15
    assert len(set(heads)) == 3
    assert seen == sorted(seen, key=lambda shape: shape[0])
    for head, shape, macs in zip(heads, compared.shapes, compared.macs, strict=True):
        per_channel = shape[1] * shape[2] * 9 * shape[0] + 10
        assert isinstance(head, ConvFC)
        assert abs(head.conv_channels * per_channel - macs) <= per_channel / 2
