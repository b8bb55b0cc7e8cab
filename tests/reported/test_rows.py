"""The packaged figures are those collected from the papers."""

import json
from pathlib import Path

import pytest

from localgrad.reported import PAPERS, rows

SHARED = Path(__file__).parents[3] / "shared" / "reported.json"


def test_every_row_has_a_known_paper() -> None:
    assert len(rows()) == 992
    assert {row.paper for row in rows()} == PAPERS.keys()


def test_a_row_of_auglocals_first_table() -> None:
    (row,) = [
        row
        for row in rows()
        if (row.paper, row.table, row.dataset, row.network) == ("auglocal", "T1", "CIFAR-10", "ResNet-32")
        and row.get("d") == 6
    ]
    assert (row.figure, row.metric, row.get("K"), row.get("epochs")) == ("93.47±0.09", "test_acc_%", 16, None)


def test_the_copy_is_complete() -> None:
    # The collected figures are not part of the repository: skipped where it stands alone.
    if not SHARED.exists():
        pytest.skip("needs ../shared/reported.json")
    collected = json.loads(SHARED.read_text())
    assert [(r["network"], r["method"], r["metric"], r["value"], r.get("std")) for r in collected] == [
        (row.network, row.method, row.metric, row.value, row.std) for row in rows()
    ]
