"""Tables by name."""

import pytest

from localgrad.errors import LocalgradError
from localgrad.reported import find_table, rows, table_name, tables


def test_every_row_is_in_one_table() -> None:
    assert sum(map(len, tables().values())) == len(rows()) == 992
    assert list(tables())[:4] == ["dgl:parallel", "dgl:sequential", "predsim:README", "infopro:2"]
    assert len(tables()) == len({(row.paper, row.table) for row in rows()})


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("auglocal:1", "auglocal:1"),
        ("AugLocal:T1", "auglocal:1"),
        ("auglocal:10", "auglocal:10"),
        ("thesis:3.4", "thesis:3.4"),
        ("gndgl-v2:fig 3-5", "gndgl-v2:fig3-5"),
        ("predsim:readme", "predsim:README"),
    ],
)
def test_names(name: str, found: str) -> None:
    got, own = find_table(name)
    assert got == found and {table_name(row.paper, row.table) for row in own} == {found}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mlaan:7", r"mlaan:7: there is no such table\. Did you mean mlaan:1 .*There are: mlaan:1, mlaan:2, m"),
        ("mlaan", r"reproduce mlaan: there is no such table\. There are: mlaan:1, mlaan:2, mlaan:3, mlaan:4, "),
        ("auglocl:1", r"Did you mean auglocal:1 .*Papers: dgl, predsim, infopro, .*`localgrad recipes` lists the"),
        ("x", r"there is no such table\. A table is PAPER:TABLE, such as auglocal:1\. Papers: dgl, "),
    ],
)  # fmt: skip
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(LocalgradError, match=message):
        find_table(name)
