"""The sections of the page, one file for what belongs together; a section without data says what would add it."""

from collections.abc import Sequence

from localgrad.report.groups import Group
from localgrad.report.read import Record
from localgrad.report.sections.depth import depth
from localgrad.report.sections.distributed import plans
from localgrad.report.sections.inside import memory, reach, similarity
from localgrad.report.sections.learning import learning, per_unit
from localgrad.report.sections.outside import feature_maps, transfer
from localgrad.report.sections.section import Section
from localgrad.report.sections.tradeoff import tradeoff


def figure_sections(groups: Sequence[Group], records: Sequence[Record]) -> list[Section]:
    """All sections with figures, in the order of the page; those of which there is no data are left out."""
    found = (
        tradeoff(groups),
        learning(groups),
        per_unit(groups),
        depth(groups),
        similarity(groups, records),
        memory(groups),
        reach(groups),
        plans(groups, records),
        transfer(groups),
        feature_maps(groups),
    )
    return [section for section in found if section is not None]
