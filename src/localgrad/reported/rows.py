"""The reported figures as frozen rows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import final

PAPERS: Mapping[str, str] = {
    "dgl": "DGL: Belilovsky, Eickenberg, Oyallon 2020, arXiv 1901.08164 (logs of the released code)",
    "predsim": "PredSim: Nokland, Eidnes 2019, arXiv 1901.06656 (tables of the released code)",
    "infopro": "InfoPro: Wang, Ni, Song, Yang, Huang 2021, arXiv 2101.10832",
    "gndgl-v1": "GN-DGL, first version (workshop)",
    "gndgl-v2": "GN-DGL: arXiv 2301.07635, version 2",
    "thesis": "GN-DGL, DGSSL and DGSSL-LLM: thesis, chapters 3 and 4",
    "auglocal": "AugLocal: Ma, Wu, Si, Tan 2024, ICLR",
    "mlaan": "MLAAN",
}
"""Short names of the sources, in the order of their listing."""


@final
@dataclass(frozen=True)
class Row:
    """One figure of one table. ``metric`` names its unit; ``std`` is None where the paper gives none.

    ``setting`` is what else the row was measured under, as the paper's table has it (K, G, d, epochs ...); values that
    the text has lost are words that begin with UNKNOWN. ``note`` says how sure a figure is.
    """

    paper: str
    table: str
    dataset: str
    network: str
    method: str
    metric: str
    value: float | str
    std: float | None = None
    note: str = ""
    setting: tuple[tuple[str, object], ...] = ()

    def get(self, name: str) -> object:
        """A value of the setting, None where the row has none."""
        return dict(self.setting).get(name)

    @property
    def figure(self) -> str:
        """Value and standard deviation as text: ``93.47±0.09``."""
        return f"{self.value}" if self.std is None else f"{self.value}±{self.std}"


@cache
def rows() -> tuple[Row, ...]:
    """All rows, in the order of the papers' tables."""
    found = json.loads(files("localgrad.reported").joinpath("reported.json").read_text(encoding="utf-8"))
    return tuple(Row(**{**row, "setting": tuple(_frozen(row.get("setting") or {}).items())}) for row in found)


def _frozen(setting: Mapping[str, object]) -> dict[str, object]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in setting.items()}
