"""Chapter 4 of GN-DGL's thesis: SimCLR, DGSSL, DGSSL-LLM."""

from dataclasses import replace
from typing import Any

from localgrad.recipes.experiments.experiment import Experiment, NotCovered, ran
from localgrad.reported import Row

OPEN = "the thesis does not tell epochs and temperature: the recipe has 500 and 0.5"
PROBE = "the figure is a linear classifier's on the trained features, `linear` of the last epoch's row"
CALIBRATED = (
    "thresholds are those of a pretrained SimCLR: train cifar10.simclr_resnet50, then `localgrad calibrate RUN -o "
    "FILE`, and add --calibration FILE; without it they are running quantiles"
)
BEST = {4: 0.95, 8: 0.97, 16: 0.95}
"""Sample ratio of table 4.2 that is best for K; what the other tables show (their DGSSL-LLM has its figures)."""


def dgssl(row: Row) -> Experiment | NotCovered:
    """The experiment of a row of chapter 4."""
    match row.method:
        case "SimCLR e2e":
            return replace(ran("cifar10.simclr_resnet50", note=OPEN), usage=PROBE)
        case "DGSSL":
            return replace(ran("cifar10.dgssl_resnet50", note=OPEN, modules=row.get("K")), usage=PROBE)
    modules, keywords = row.get("K"), dict[str, Any]()
    assert isinstance(modules, int)
    keywords["ratio"] = row.get("sample_ratio_pos") or BEST[modules]
    keywords["difficulty"] = row.get("difficulty") or "increasing"
    keywords["negatives"] = row.get("select") != "pos only"
    found = ran("cifar10.dgssl_llm_resnet50", note=OPEN, modules=modules, **keywords)
    return replace(found, usage=f"{PROBE}; {CALIBRATED}")
