"""``localgrad probe`` and ``localgrad cka`` on the command line."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Localgrad

SMALL = ("--layers", 8, "--epochs", 1)


def test_probe_of_a_run(localgrad: Localgrad) -> None:
    assert localgrad("train", "digits.dgl", *SMALL, "--modules", 2, "--cut", "equal_blocks", "--out", "[b]a")[0] == 0
    status, text = localgrad("probe", "[b]a", "-o", "probe.json", "--neighbours", 20)
    assert status == 0 and text.startswith("[b]a: resnet8 on digits\n") and text.endswith("wrote probe.json\n")
    found = json.loads(Path("probe.json").read_text())
    assert [one["block"] for one in found["blocks"]] == ["stem", "layer1.0", "layer2.0", "layer3.0"]
    assert [one["border"] for one in found["blocks"]] == [False, True, False, False]
    for one in found["blocks"]:
        figures = [f"{one[key]:.2f}" for key in ("train", "test", "knn")]
        mark = r"----\s+" if one["border"] else ""
        pattern = rf"^\s+{one['block']}\s+{one['units'][0]}\s+{mark}" + r"\s+".join(figures) + r"\s*$"
        assert re.search(pattern, text, re.MULTILINE), pattern
        assert one["test"] > 50 and one["knn"] > 30  # chance is 10
    assert found["samples"] == {"train": 1437, "test": 360} and found["converged"] and found["neighbours"] == 20
    assert "1437 training images, not augmented" in text and "k=20, temperature 0.07" in text
    status, text = localgrad("probe", "[b]a", "--neighbours", 2000)
    assert status == 2 and "kNN: expected 1 to 1437 neighbours (the training samples), got 2000." in text
    status, text = localgrad("probe", "[b]a", "--c", 0)
    assert status == 2 and "probe: c must be above 0" in text
    # Held-out images are not the probe's either.
    assert localgrad("train", "digits.simclr", *SMALL, "--val-fraction", 0.2, "--out", "ssl")[0] == 0
    status, text = localgrad("probe", "ssl")
    assert status == 0 and "from 1150 training images" in text.replace("\n", " "), text


@pytest.fixture
def two(localgrad: Localgrad) -> Localgrad:
    """With runs of four and five blocks, and one on other data."""
    for name, recipe, *words in (
        ("a", "exp.py:tiny"),
        ("b", "exp.py:tiny", "--width", 1, "--seed", 1),
        ("deep", "digits.backprop", "--layers", 14),
        ("shallow", "digits.dgl", "--layers", 8),
    ):
        status, text = localgrad("train", recipe, *words, "--epochs", 1, "--out", name)
        assert status == 0, text
    return localgrad


def test_cka_of_runs(two: Localgrad, refused: Callable[..., str]) -> None:
    status, text = two("cka", "a", "a", "--minibatch", 5)
    assert status == 0 and "linear CKA of a and a, 22 test images of noise\n" in text
    assert re.findall(r"^\s+(\S+)\s+1\.0000\s+1\.0000\s*$", text, re.MULTILINE) == [
        "stem", "layer1.0", "layer2.0", "layer3.0", "mean",
    ]  # fmt: skip
    assert "only in" not in text

    status, text = two("cka", "shallow", "deep", "-o", "cka.json", "--minibatch", 100)
    assert status == 0 and text.endswith("wrote cka.json\n")
    assert "only in deep, without a row: layer1.1, layer2.1, layer3.1\n" in text and "only in shallow" not in text
    found = json.loads(Path("cka.json").read_text())
    first, second = found["blocks"]
    assert found["matched"] == first == ["stem", "layer1.0", "layer2.0", "layer3.0"] and len(second) == 7
    assert (found["samples"], found["minibatch"], found["runs"]) == (360, 100, ["shallow", "deep"])
    for i, name in enumerate(first):
        exact, unbiased = (found[kind][i][second.index(name)] for kind in ("exact", "unbiased"))
        assert re.search(rf"^\s+{name}\s+{exact:.4f}\s+{unbiased:.4f}\s*$", text, re.MULTILINE)
        assert 0 < exact < 1 and abs(exact - unbiased) < 0.1

    told = refused("cka", "a", "shallow")
    assert told == "localgrad cka: expected runs on the same images, got a on noise and shallow on digits."
    assert refused("cka", "a", "b") == "CKA: a mini-batch of 256 is more than the 22 images that there are."
    assert "needs at least 4 samples in a mini-batch, got 3" in refused("cka", "a", "b", "--minibatch", 3)
    Path("a/checkpoint.safetensors").write_bytes(b"")
    assert refused("cka", "b", "a").startswith("a/checkpoint.safetensors cannot be read as a localgrad checkpoint: ")
    assert refused("probe", "a").startswith("a/checkpoint.safetensors cannot be read as a localgrad checkpoint: ")


def test_no_block_matches(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    with Path("exp.py").open("a") as file:
        file.write(OTHER)
    for name, recipe in (("a", "exp.py:tiny"), ("c", "exp.py:perceptron")):
        status, text = localgrad("train", recipe, "--epochs", 1, "--out", name)
        assert status == 0, text
    told = refused("cka", "a", "c", "--minibatch", 10)
    assert told.startswith("localgrad cka: no block of a (stem, layer1.0, layer2.0, layer3.0) has the name of a block ")
    assert told.endswith("With -o FILE all blocks are compared with all.")
    status, text = localgrad("cka", "a", "c", "--minibatch", 10, "-o", "cka.json")
    assert status == 0 and "only in a, without a row: stem, " in text and "only in c, without a row: " in text
    assert json.loads(Path("cka.json").read_text())["matched"] == []


OTHER = """

from localgrad.backbones import mlp


def perceptron(epochs: int = 1) -> Run:
    network = mlp((8, 8), num_classes=4, image=(1, 8, 8))
    return replace(tiny("backprop", epochs=epochs), backbone=network, optimizer=SGD(0.05))
"""


def test_no_run(refused: Callable[..., str]) -> None:
    told = "nowhere is not a run folder: it has no run.json. Give the folder that `train` printed."
    assert refused("probe", "nowhere") == refused("cka", "nowhere", "elsewhere") == told
    assert "must be given" in refused("probe") and "of two runs, got 1." in refused("cka", "nowhere")
    assert "of two runs, got 0." in refused("cka") and "of two runs, got 3." in refused("cka", "a", "b", "c")
    assert "option --neighbors is unknown. Did you mean --neighbours" in refused("probe", "x", "--neighbors", 3)
