"""Which of the 100 networks of ``any_network_list.py`` have stages for a detector or a feature extractor?

For each: ``feature_extractor``, and one forward pass whose maps must have the channels and sizes that ``feature_info``
says. Networks are made on the meta device where they can be (only shapes are looked at), else on the CPU.

    OMP_NUM_THREADS=1 python benchmarks/any_network_stages.py [--only NAME ...] [--out FILE]
"""

import argparse
import re
import sys
import warnings
from datetime import date
from pathlib import Path

import timm
import torch
import torchvision
from any_network_list import MODELS, Model

import localgrad as lg
from localgrad.adapters.timm import feature_extractor


def stages(model: Model) -> tuple[str, str]:
    """("ok", the stages), ("refused", the error), or ("wrong", what the maps are instead)."""
    try:
        with torch.device("meta"):
            made = model.make()
    except (RuntimeError, NotImplementedError):  # its constructor reads values
        made = model.make()
    try:
        extract = feature_extractor(made, torch.zeros(1, 3, model.size, model.size)).eval()
    except lg.LocalgradError as error:
        return "refused", re.sub(r"\(/\S*/", "(", str(error).partition(". ")[0])  # no paths of this machine
    device = next(extract.parameters()).device
    with torch.no_grad():
        maps = extract(torch.zeros(2, 3, model.size, model.size, device=device))
    info = extract.feature_info
    given = [(one.shape[1], round(model.size / one.shape[2])) for one in maps]
    promised = list(zip(info.channels(), info.reduction(), strict=True))
    if given != promised:
        return "wrong", f"{given}, not {promised}"
    return "ok", ", ".join(f"{channels} (1/{reduction})" for channels, reduction in given)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", help="networks by name")
    parser.add_argument("--out", type=Path, help="file for the table")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    chosen = [model for model in MODELS if options.only is None or model.name in options.only]
    rows = []
    for model in chosen:
        kind, told = stages(model)
        rows.append((model, kind, told))
        print(f"{kind:<8} {model.source} {model.name}: {told}", flush=True)
    counts = ", ".join(f"{sum(kind == one for _, kind, _ in rows)} {one}" for one in ("ok", "refused", "wrong"))
    print(counts)
    if options.out is not None:
        lines = [
            f"# Stages of {len(rows)} networks",
            "",
            f"{counts}. ok: the maps of `feature_extractor` have the channels and sizes that it promises (1/r: "
            f"reduction, rounded). torch {torch.__version__}, torchvision {torchvision.__version__}, timm "
            f"{timm.__version__}, localgrad {lg.__version__}, {date.today().isoformat()}. Command: "
            f"`python benchmarks/any_network_stages.py --out {options.out}`.",
            "",
            "| network | source | pixels | | |",
            "|---|---|---|---|---|",
            *(f"| {one.name} | {one.source} | {one.size} | {kind} | {told} |" for one, kind, told in rows),
        ]
        options.out.write_text("\n".join(lines) + "\n")
    return int(any(kind == "wrong" for _, kind, _ in rows))


if __name__ == "__main__":
    sys.exit(main())
