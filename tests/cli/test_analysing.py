"""``localgrad probe`` on the command line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from .conftest import Localgrad

SMALL = ("--layers", 8, "--epochs", 1)


def test_probe_of_a_run(localgrad: Localgrad) -> None:
    assert localgrad("train", "digits.dgl", *SMALL, "--modules", 2, "--cut", "equal_blocks", "--out", "[b]a")[0] == 0
    status, text = localgrad("probe", "[b]a", "--neighbours", 20)
    assert status == 0 and text.startswith("[b]a: resnet8 on digits\n") and text.endswith("wrote [b]a/probe.json\n")
    found = json.loads(Path("[b]a/probe.json").read_text())
    assert [one["block"] for one in found["blocks"]] == ["stem", "layer1.0", "layer2.0", "layer3.0"]
    assert [one["border"] for one in found["blocks"]] == [False, True, False, False]
    for one in found["blocks"]:
        figures = [f"{one[key]:.2f}" for key in ("train", "test", "knn")]
        mark = r"----\s+" if one["border"] else ""
        head = next((f"{own['top1']:.2f}" for own in found["heads"]["units"] if own["name"] == one["block"]), None)
        figures += [] if head is None else [head]
        pattern = rf"^\s+{one['block']}\s+{one['units'][0]}\s+{mark}" + r"\s+".join(figures) + r"\s*$"
        assert re.search(pattern, text, re.MULTILINE), pattern
        assert one["test"] > 50 and one["knn"] > 30  # chance is 10
    assert found["samples"] == {"train": 1437, "test": 360} and found["converged"] and found["neighbours"] == 20
    assert "1437 training images, not augmented" in text and "k=20, temperature 0.07" in text
    end = json.loads(Path("[b]a/metrics.jsonl").read_text().splitlines()[-1])["last"]["test"]
    assert found["heads"] == {
        "network": end["top1"],
        "units": [
            {"unit": 0, "name": "layer1.0", "top1": end["units"]["0"]},
            {"unit": 1, "name": "layer3.0", "top1": end["units"]["1"]},
        ],
        "ensemble": end["ensemble"],
    }
    told = " ".join(text.split())
    assert f"Ensembles of the heads: layerwise {end['ensemble']['layerwise']:.2f}, last " in told
    before = Path("[b]a/probe.json").stat().st_mtime_ns
    assert localgrad("probe", "[b]a", "-o", "other.json", "--c", 2)[1].endswith("wrote other.json\n")
    assert json.loads(Path("other.json").read_text())["c"] == 2
    assert Path("[b]a/probe.json").stat().st_mtime_ns == before
    status, text = localgrad("probe", "[b]a", "--neighbours", 2000)
    assert status == 2 and "kNN: expected 1 to 1437 neighbours (the training samples), got 2000." in text
    status, text = localgrad("probe", "[b]a", "--c", 0)
    assert status == 2 and "probe: c must be above 0" in text
    # Held-out images are not the probe's either.
    assert localgrad("train", "digits.simclr", *SMALL, "--val-fraction", 0.2, "--out", "ssl")[0] == 0
    status, text = localgrad("probe", "ssl")
    assert status == 0 and "from 1150 training images" in text.replace("\n", " "), text
    assert "own head" not in text and "heads" not in json.loads(Path("ssl/probe.json").read_text())
    assert "Own heads and ensemble: none, the run learnt without labels" in " ".join(text.split())


def test_no_run(refused: Callable[..., str]) -> None:
    told = "nowhere is not a run folder: it has no run.json. Give the folder that `train` printed."
    assert refused("probe", "nowhere") == told
    assert "must be given" in refused("probe")
    assert "option --neighbors is unknown. Did you mean --neighbours" in refused("probe", "x", "--neighbors", 3)


def test_features_are_judged_while_a_run_trains(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    words = ("train", "exp.py:tiny", "--epochs", 3, "--knn-every", 2, "--linear-every", 3)
    status, text = localgrad(*words, "--out", "a")
    assert status == 0 and re.search(r"^epoch 2/3  loss \S+  test \S+ %  kNN \S+ %  lr", text, re.MULTILINE), text
    assert re.search(r"finished: test top-1 \S+ % \(last epoch\), in a\n$", text)  # it has an accuracy of its own
    rows = [json.loads(line) for line in Path("a/metrics.jsonl").read_text().splitlines()][:3]
    assert [("knn" in row, "linear" in row) for row in rows] == [(False, False), (True, False), (True, True)]
    assert rows[2]["knn"].keys() == rows[2]["linear"].keys() == {"0", "1", "2", "3"}
    status, text = localgrad("train", "digits.simclr", *SMALL, "--out", "b")
    assert status == 0 and re.search(r"^epoch 1/1  loss \S+  linear \S+ %  kNN \S+ %  lr 0.001  ", text), text
    assert re.search(r"finished: linear \S+ %, kNN \S+ % of the frozen features \(last epoch\), in b\n$", text)
    told = refused("train", "exp.py:tiny", "--knn-every", -1, "--linear-every", -2)
    assert "knn_every must be a number of epochs, or 0 for never, got -1." in told and "got -2." in told
    told = refused("train", "exp.py:tiny", "--knn-every", "often")
    assert told == "localgrad train exp.py:tiny: --knn-every: expected a whole number, got 'often'."
