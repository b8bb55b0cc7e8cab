"""The papers' tables by name: ``auglocal:1``, ``gndgl-v2:fig3-5``, as ``localgrad recipes`` lists them."""

import re
from collections.abc import Mapping
from functools import cache

from localgrad.errors import LocalgradError, did_you_mean, there_are
from localgrad.reported.rows import PAPERS, Row, rows

_SHORT = {
    "learning_curves/parallel.log epoch 50": "parallel",
    "learning_curves/sequential.log epoch 50": "sequential",
}
"""Tables that are logs are named by what they log."""


def table_name(paper: str, table: str) -> str:
    """``auglocal:1`` for table T1 of AugLocal."""
    short = _SHORT.get(table, table).replace(" ", "")
    return f"{paper}:{re.sub(r'^T(?=[0-9])', '', short)}"


def place_of(table: str) -> tuple[bool, list[int], str]:
    """Tables before figures, T2 before T10: what tables of a paper are sorted by."""
    return not table.startswith("T"), [int(number) for number in re.findall(r"\d+", table)], table


@cache
def tables() -> Mapping[str, tuple[Row, ...]]:
    """The rows of every table by its name, by paper and table."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows():
        found.setdefault((row.paper, row.table), []).append(row)
    order = {paper: place for place, paper in enumerate(PAPERS)}
    keys = sorted(found, key=lambda key: (order[key[0]], place_of(key[1])))
    return {table_name(*key): tuple(found[key]) for key in keys}


def find_table(name: str) -> tuple[str, tuple[Row, ...]]:
    """The name and the rows of the table that ``name`` means: ``auglocal:1``, ``auglocal:T1``, capitals or not.

    Raises LocalgradError that names the nearest tables, and those of the paper or all papers.
    """
    known = tables()
    by_text = {_text(one): one for one in known}
    for text in (_text(name), _text(re.sub(r":[tT](?=\d)", ":", name))):
        if text in by_text:
            return by_text[text], known[by_text[text]]
    paper = name.partition(":")[0].casefold()
    own = [one for one in known if one.partition(":")[0] == paper]
    told = f"localgrad reproduce {name}: there is no such table."
    if own:
        asked = name if ":" in name else ""
        raise LocalgradError(" ".join(filter(None, [told, did_you_mean(asked, own), there_are(own)])))
    near = did_you_mean(name, known) or did_you_mean(paper, PAPERS)
    how = f"A table is PAPER:TABLE, such as auglocal:1. Papers: {', '.join(PAPERS)}."
    raise LocalgradError(" ".join(filter(None, [told, near, how, "`localgrad recipes` lists the tables of all."])))


def _text(name: str) -> str:
    return re.sub(r"[\s_]", "", name).casefold()
