"""``localgrad cka`` on the command line."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad.analysis.features import BlockFeatures, block_features
from localgrad.cli import similarity
from localgrad.cli.cka_file import default_file
from localgrad.report.drawing.canvas import Drawing
from localgrad.report.groups import make_groups
from localgrad.report.read import read_path
from localgrad.report.sections.inside import similarity as drawn

from .conftest import Localgrad


@pytest.fixture
def two(localgrad: Localgrad) -> Localgrad:
    """With runs of four and seven blocks, and two on other data."""
    for name, recipe, *words in (
        ("a", "exp.py:tiny"),
        ("b", "exp.py:tiny", "--width", 1, "--seed", 1),
        ("deep", "digits.backprop", "--layers", 14),
        ("shallow", "digits.dgl", "--layers", 8, "--modules", 2, "--cut", "equal_blocks"),
    ):
        status, text = localgrad("train", recipe, *words, "--epochs", 1, "--out", name)
        assert status == 0, text
    return localgrad


def test_cka_of_runs(two: Localgrad, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    status, text = two("cka", "a", "a", "--minibatch", 5)
    assert status == 0 and "linear CKA of a and a, 22 test images of noise\n" in text
    assert re.findall(r"^\s+(\S+)\s+1\.0000\s+1\.0000\s+(?:both)?\s*$", text, re.MULTILINE) == [
        "stem", "layer1.0", "layer2.0", "layer3.0", "mean",
    ]  # fmt: skip
    assert "only in" not in text and text.endswith("wrote a/cka-a.json\n")

    status, text = two("cka", "shallow", "deep", "-o", "cka.json", "--minibatch", 100, "--figure", "cka.svg")
    assert status == 0 and text.endswith("wrote cka.json\nwrote cka.svg\n")
    assert "only in deep, without a row: layer1.1, layer2.1, layer3.1\n" in text and "only in shallow" not in text
    found = json.loads(Path("cka.json").read_text())
    first, second = found["blocks"]
    assert found["matched"] == first == ["stem", "layer1.0", "layer2.0", "layer3.0"] and len(second) == 7
    assert (found["samples"], found["minibatch"], found["runs"]) == (360, 100, ["shallow", "deep"])
    assert found["borders"] == [[False, True, False, False], [False] * 7]
    assert found["units"][0][:3] == [["layer1.0"], ["layer1.0"], ["layer3.0"]]
    assert (found["names"], found["methods"]) == (["shallow", "deep"], ["DGL", "Backprop"])
    assert found["backbones"] == ["resnet8", "resnet14"] and found["kind"] == "localgrad cka 1"
    assert found["features"] == "mean over positions" and {"torch", "command"} <= found["conditions"].keys()
    for i, name in enumerate(first):
        exact, unbiased = (found[kind][i][second.index(name)] for kind in ("exact", "unbiased"))
        border = "first" if name == "layer1.0" else ""
        assert re.search(rf"^\s+{name}\s+{exact:.4f}\s+{unbiased:.4f}\s+{border}\s*$", text, re.MULTILINE)
        assert 0 < exact < 1 and abs(exact - unbiased) < 0.1
        assert f">{exact:.2f}<" in Path("cka.svg").read_text()

    # The default file, fewer images, all features.
    few = ("--images", 40, "--minibatch", 10)
    status, text = two("cka", "shallow", "deep", *few, "--features", "flat", "--show", "unbiased")
    assert status == 0 and text.endswith("wrote shallow/cka-deep.json\n") and "40 test images" in text
    flat = json.loads(Path("shallow/cka-deep.json").read_text())
    assert (flat["features"], flat["samples"]) == ("all features, flattened", 40)
    assert two("cka", "shallow", "deep", *few, "-o", "mean.json")[0] == 0
    mean = json.loads(Path("mean.json").read_text())
    assert flat["exact"] != mean["exact"] and mean["samples"] == 40

    monkeypatch.setattr(similarity, "FLAT_BYTES", 2**20)
    told = refused("cka", "shallow", "deep", "--features", "flat")
    assert re.search(r"of 360 images behind every block of shallow take about 0\.0 GiB", told)
    advised = re.search(r"Take fewer with --images, such as (\d+), or --features mean\.$", told)
    assert advised is not None
    few = ("--images", advised[1])
    assert two("cka", "shallow", "deep", "--features", "flat", *few)[0] == 0
    assert json.loads(Path("shallow/cka-deep.json").read_text())["minibatch"] == int(advised[1]) < 256

    told = refused("cka", "a", "shallow", "--figure", "cka.jpg", "--images", 0)
    assert told.startswith(
        "3 problems, nothing was started:\n- localgrad cka: expected runs on the same images, got a "
    )
    assert "a figure is a file that ends in .png, .svg or .pdf, got cka.jpg" in told and "--images: expected 4" in told
    Path("a/checkpoint.safetensors").write_bytes(b"")
    assert refused("cka", "b", "a").startswith("a/checkpoint.safetensors cannot be read as a localgrad checkpoint: ")
    assert refused("probe", "a").startswith("a/checkpoint.safetensors cannot be read as a localgrad checkpoint: ")


def test_no_block_matches(localgrad: Localgrad) -> None:
    with Path("exp.py").open("a") as file:
        file.write(OTHER)
    for name, recipe in (("a", "exp.py:tiny"), ("c", "exp.py:perceptron")):
        status, text = localgrad("train", recipe, "--epochs", 1, "--out", name)
        assert status == 0, text
    status, text = localgrad("cka", "a", "c", "--minibatch", 10, "--figure", "cka.png")
    assert status == 0 and "only in a, without a row: stem, " in text and "only in c, without a row: " in text
    assert "No block of a has the name of a block of c: see all with all in a/cka-c.json.\n" in text
    found = json.loads(Path("a/cka-c.json").read_text())
    assert found["matched"] == [] and (len(found["exact"]), len(found["exact"][0])) == (4, 2)
    assert Path("cka.png").stat().st_size > 5000


OTHER = """

from localgrad.backbones import mlp


def perceptron(epochs: int = 1) -> Run:
    network = mlp((8, 8), num_classes=4, image=(1, 8, 8))
    return replace(tiny("backprop", epochs=epochs), backbone=network, optimizer=SGD(0.05))
"""


def test_no_run(refused: Callable[..., str]) -> None:
    told = "nowhere is not a run folder: it has no run.json. Give the folder that `train` printed."
    assert refused("cka", "nowhere", "elsewhere") == told
    assert "of two runs, got 1." in refused("cka", "nowhere")
    assert "of two runs, got 0." in refused("cka") and "of two runs, got 3." in refused("cka", "a", "b", "c")


def test_fewer_images_than_the_usual_minibatch(
    localgrad: Localgrad, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "a")[0] == 0
    assert "--minibatch: expected 4 or more, since" in refused("cka", "a", "a", "--minibatch", 3)
    told = refused("cka", "a", "a", "--images", 10, "--minibatch", 11)
    assert told.endswith("--minibatch: expected at most the 10 images of --images, got 11.")
    with monkeypatch.context() as patch:
        patch.setattr(similarity, "block_features", None)  # no features are made before this is said
        told = refused("cka", "a", "a", "--minibatch", 23)
    assert told == ("--minibatch: expected at most the 22 test images that there are, got 23. Leave it out to take 22.")

    # Fewer images than the usual mini-batch.
    status, text = localgrad("cka", "a", "a", "--images", 4)
    few_images = "over mini-batches of at least 4 images (all that there are, fewer than the usual 256)"
    assert status == 0 and few_images in " ".join(text.split())
    found = json.loads(Path("a/cka-a.json").read_text())
    assert (found["minibatch"], found["samples"]) == (4, 4)


def test_runs_of_one_name(localgrad: Localgrad, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seed in (("one/dgl", 0), ("two/dgl", 1), ("bp", 2)):
        assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--seed", seed, "--out", name)[0] == 0
    status, text = localgrad("cka", "bp", "one/dgl")
    assert status == 0 and text.endswith("wrote bp/cka-dgl.json\n") and "kept" not in text
    before = Path("bp/cka-dgl.json").read_bytes()
    for _ in range(2):
        status, text = localgrad("cka", "bp", "two/dgl")
        assert status == 0 and text.endswith(
            "bp/cka-dgl.json is not about two/dgl: it is kept, and the file is bp/cka-two-dgl.json.\n"
            "wrote bp/cka-two-dgl.json\n"
        )
    assert Path("bp/cka-dgl.json").read_bytes() == before
    assert json.loads(Path("bp/cka-two-dgl.json").read_text())["other"] == "../two/dgl"

    section = drawn(make_groups([read_path(Path("bp"))]), [])
    assert section is not None
    titles = [part.title for part in section.parts if isinstance(part, Drawing)]
    assert titles == ["bp × one/dgl", "bp × two/dgl"]

    # The same run again, from elsewhere, and by a file that an older version wrote.
    monkeypatch.chdir("one")
    status, text = localgrad("cka", "../bp", "dgl")
    assert status == 0 and text.endswith("wrote ../bp/cka-dgl.json\n") and "kept" not in text
    Path("../bp/cka-dgl.json").write_text(json.dumps({"runs": ["../bp", "dgl"]}))
    assert default_file(Path("../bp"), Path("../one/dgl")) == (Path("../bp/cka-dgl.json"), ())
    Path("../bp/cka-dgl.json").write_text("damaged")
    assert default_file(Path("../bp"), Path("dgl"))[0] == Path("../bp/cka-one-dgl.json")


def test_constant_blocks(localgrad: Localgrad, monkeypatch: pytest.MonkeyPatch) -> None:
    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "a")[0] == 0

    def dead(*words: Any, **settings: Any) -> BlockFeatures:
        found = block_features(*words, **settings)
        return replace(found, blocks={**found.blocks, **{name: torch.full((22, 3), 0.5) for name in still}})

    still = ["layer3.0"]

    monkeypatch.setattr(similarity, "block_features", dead)
    status, text = localgrad("cka", "a", "a", "--minibatch", 5, "--figure", "a.svg")
    assert status == 0 and re.search(r"^ +layer3\.0 +constant +constant", text, re.MULTILINE), text
    assert re.search(r"^ +mean +1\.0000 +1\.0000 *$", text, re.MULTILINE)
    told = " ".join(text.split())
    assert told.count("constant in a, the same for all images: layer3.0") == 2 and "and is over 3 of 4 blocks." in told
    assert "Constant, the same for all images" in " ".join(re.sub("<[^>]*>", " ", Path("a.svg").read_text()).split())
    found = json.loads(Path("a/cka-a.json").read_text())
    assert found["constant"] == [["layer3.0"]] * 2 and found["exact"][3] == [0] * 4
    section = drawn(make_groups([read_path(Path("a"))]), [])
    assert section is not None and "mean over the 3 blocks of one name 1.000;" in section.notes[0]
    assert section.notes[1] == "a × a: constant in a, the same for all images and shown as 0: layer3.0."

    still += ["stem", "layer1.0", "layer2.0"]
    status, text = localgrad("cka", "a", "a", "--minibatch", 5)
    assert (
        status == 0 and not re.search(r"^ +mean ", text, re.MULTILINE) and "there is no mean" in " ".join(text.split())
    )


def test_a_test_split_of_three_images(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    Path("exp.py").write_text(Path("exp.py").read_text().replace("self.split(22, 1)", "self.split(3, 1)"))
    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "a")[0] == 0
    told = refused("cka", "a", "a")
    assert told.startswith("localgrad cka: expected 4 or more test images, since the unbiased version divides by ")
    assert told.endswith("the data of a has 3.")
