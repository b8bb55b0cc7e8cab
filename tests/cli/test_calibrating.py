"""``localgrad calibrate`` and the recipes without labels on the command line."""

from collections.abc import Callable
from pathlib import Path

from localgrad.methods import read_calibration

from .conftest import Localgrad

SMALL = ("--layers", 8, "--epochs", 1)


def test_from_simclr_to_thresholds(localgrad: Localgrad, tmp_path: Path) -> None:
    assert localgrad("train", "digits.simclr", *SMALL, "--out", "simclr")[0] == 0
    status, text = localgrad("calibrate", "simclr", "-o", "pairs.json")
    assert status == 0
    assert text.startswith("pairs.json: 1280 positive pairs, median cosine 0.") and "652800 negative pairs" in text
    assert "keeping 95%: alpha" in text
    found = read_calibration(tmp_path / "pairs.json")
    assert found.positives[100] > found.negatives[100] and found.run == "simclr"
    assert localgrad("calibrate", "simclr", "-o", "again.json")[0] == 0
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "pairs.json").read_bytes()

    words = ("train", "digits.dgssl_llm", *SMALL, "--modules", 2)
    assert localgrad(*words, "--calibration", "pairs.json", "--out", "llm")[0] == 0
    status, text = localgrad(*words, "--calibration", "pairs.json", "--layers", 14, "--out", "other")
    assert status == 2
    assert "calibration of another network: simclr was made with cifar_resnet(layers=8" in text
    assert "this network is cifar_resnet(layers=14" in text
    status, text = localgrad(*words, "--calibration", "pairs.json", "--alphas", "[0.5,0.5]", "--betas", "[0.5,0.5]")
    assert status == 2 and "are read from calibration=" in text and "leave one of them out" in text
    assert localgrad(*words, "--similarity", "pretrained", "--pretrained", "simclr", "--out", "guided")[0] == 0

    status, text = localgrad("calibrate", "llm", "-o", "x.json")
    assert status == 2 and "the run has 2 modules, and difficulty is what a network trained end to end says" in text
    status, text = localgrad("evaluate", "simclr")
    assert status == 2 and "learnt without labels and ends in features, so it has no accuracy" in text
    status, text = localgrad("report", "simclr", "llm", "-o", "report.html")
    assert status == 0 and "no test accuracy" not in (tmp_path / "report.html").read_text()
    assert localgrad("export", "simclr", "-o", "net.safetensors")[0] == 0


def test_what_cannot_be_calibrated(refused: Callable[..., str], localgrad: Localgrad) -> None:
    assert "is not a run folder" in refused("calibrate", "nothing", "-o", "x.json")
    assert "must be given" in refused("calibrate", "nothing")
    assert localgrad("train", "digits.dgl", *SMALL, "--out", "labelled")[0] == 0
    told = refused("calibrate", "labelled", "-o", "x.json")
    assert told == (
        "localgrad calibrate labelled: DGL compares no views of images. Give a run of SimCLR, such as digits.simclr or "
        "cifar10.simclr_resnet50."
    )


def test_a_ratio_is_a_share(refused: Callable[..., str]) -> None:
    for ratio in ("0", "1.01", "-0.5"):
        told = refused("train", "digits.dgssl_llm", "--ratio", ratio)
        assert "PairSelection: positive_ratio is the share of pairs that a module keeps, a number above 0" in told
    assert "similarity='own' with pretrained=" in refused("train", "digits.dgssl_llm", "--pretrained", "x")
    assert "calibration" in refused("train", "digits.dgssl_llm", "--calibration", "none.json")


def test_audit_of_a_method_without_labels(localgrad: Localgrad) -> None:
    status, text = localgrad("audit", "digits.dgssl_llm", "--similarity", "teacher")
    assert status == 0 and "audit of 4 units: ok" in text
