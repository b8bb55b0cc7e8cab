"""``localgrad maps`` on the command line: what is written, what is said, what is refused."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from localgrad.analysis import FeatureMap
from localgrad.cli.map_sheet import Part, make_sheet, method_words
from localgrad.methods import DGL, GNDGL, AugLocal, Backprop
from localgrad.recipes import digits
from localgrad.spec import Batch

from .conftest import Localgrad

SMALL = ("--layers", 8, "--epochs", 1)


@pytest.fixture
def runs(localgrad: Localgrad) -> Localgrad:
    """Two on the digits, one without labels, one on other data."""
    for name, recipe, *words in (
        ("dgl", "digits.dgl", *SMALL, "--modules", 2, "--cut", "equal_blocks"),
        ("<b>$x^2$&", "digits.backprop", *SMALL),
        ("ssl", "digits.simclr", *SMALL),
        ("noise", "exp.py:tiny", "--epochs", 1),
    ):
        status, text = localgrad("train", recipe, *words, "--out", name)
        assert status == 0, text
    return localgrad


OTHER = """


@dataclass(frozen=True)
class Louder(Noise):
    brighter: int = 0

    def load(self):
        found = super().load()
        test = Split(found.test.images_NCHW // 2 if self.brighter else found.test.images_NCHW, found.test.labels_N)
        return replace(found, test=test, std=(0.5,))


def scaled(epochs: int = 1) -> Run:
    return replace(tiny(epochs=epochs), data=Louder())


def other(epochs: int = 1) -> Run:
    return replace(tiny(epochs=epochs), data=Louder(brighter=1))
"""


def words_of(path: str) -> list[str]:
    """All text of an SVG."""
    return [text.strip() for text in ElementTree.parse(path).getroot().itertext() if text.strip()]  # noqa: S314


def test_maps_of_runs(runs: Localgrad, refused: Callable[..., str]) -> None:
    status, text = runs("maps", "dgl")
    assert (status, text) == (0, "wrote dgl/maps.png\n")
    first = Path("dgl/maps.png").read_bytes()
    assert first.startswith(b"\x89PNG") and runs("maps", "dgl")[0] == 0 and Path("dgl/maps.png").read_bytes() == first
    assert runs("maps", "dgl", "--index", "0,1,2,4")[0] == 0 and Path("dgl/maps.png").read_bytes() != first

    status, text = runs("maps", "dgl", "<b>$x^2$&", "--kind", "grad-cam", "--images", 2, "-o", "both.svg")
    assert (status, text) == (0, "wrote both.svg\n")
    told = words_of("both.svg")
    rows = [json.loads(line) for line in Path("dgl/metrics.jsonl").read_text().splitlines()]
    test = rows[0]["test"]
    assert f"DGL, 2 units: test top-1 {test['top1']:.2f} % (epoch 1)" in told and "dgl: resnet8 on digits" in told
    assert "<b>$x^2$&: resnet8 on digits" in told and any(one.startswith("Backprop, 1 unit: ") for one in told)
    assert {"layer1.0", "layer3.0", "8x8", "2x2", "#0", "#1"} <= set(told) and "stem" not in told
    assert f"{test['units']['0']:.1f} %" in told
    assert any("Grad-CAM" in one for one in told) and not any("Mean over channels" in one for one in told)
    assert runs("maps", "dgl", "--of", "block", "--images", 1, "-o", "blocks.svg")[0] == 0
    assert {"stem", "layer1.0", "layer2.0", "layer3.0"} <= set(words_of("blocks.svg"))

    assert runs("maps", "ssl", "--images", 1, "-o", "ssl.svg")[0] == 0
    assert any(one.endswith("learnt without labels") for one in words_of("ssl.svg"))
    told_all = refused("maps", "dgl", "ssl", "noise", "--kind", "grad-cam", "-o", "x.jpg")
    assert told_all.splitlines() == [
        "3 problems, nothing was started:",
        "- maps: a figure is a file that ends in .png, .svg or .pdf, got x.jpg.",
        "- maps: expected runs on the same images, got dgl on digits and noise on noise.",
        "- maps: Grad-CAM asks for a class, and ssl (DGSSL) learnt without labels: no unit has a classifier. Take "
        "--kind channel-mean.",
    ]
    assert refused("maps", "dgl", "ssl") == "localgrad maps: with 2 runs say where the figure goes: -o FILE.png."
    assert "has 360 images, from 0 to 359: there is none at 360, 400" in refused("maps", "dgl", "--index", "360,3,400")
    assert "--index: expected different whole numbers" in refused("maps", "dgl", "--index", "3,3")
    assert "--images: expected 1 to 64, got 0." in refused("maps", "dgl", "--images", 0)
    assert "--kind: expected one of channel-mean, grad-cam, got 'cam'." in refused("maps", "dgl", "--kind", "cam")
    assert "--target is about Grad-CAM" in refused("maps", "dgl", "--target", "predicted")
    told = refused("maps", "dgl", "-o", "dgl/run.json/x.png")
    assert told.startswith("maps: the figure was not written to dgl/run.json/x.png: File exists. Give another")
    assert "nowhere is not a run folder" in refused("maps", "nowhere") and "got none" in refused("maps")
    assert "dgl: maps: skip_tokens=1, but no features of resnet8" in refused("maps", "dgl", "--skip-tokens", 1)

    # What is missing beside the checkpoint is said in the figure.
    Path("dgl/metrics.jsonl").unlink()
    assert runs("maps", "dgl", "--images", 1, "-o", "bare.svg")[0] == 0
    assert "DGL, 2 units: accuracy not recorded" in words_of("bare.svg")
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in sys.modules if name.startswith("localgrad.report.map_figure")]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "matplotlib", None)
        assert "figures need matplotlib, which does not import" in refused("maps", "dgl")
    Path("dgl/checkpoint.safetensors").unlink()
    assert "dgl/checkpoint.safetensors" in refused("maps", "dgl")


def test_runs_that_read_images_in_their_own_way(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    with Path("exp.py").open("a") as file:
        file.write(OTHER)
    for name in ("tiny", "scaled", "other"):
        status, text = localgrad("train", f"exp.py:{name}", "--epochs", 1, "--out", name, "--precision", "bfloat16")
        assert status == 0, text
    # Another normalisation is no other image.
    for kind in ("channel-mean", "grad-cam"):
        status, text = localgrad("maps", "tiny", "scaled", "--kind", kind, "-o", "both.png")
        assert (status, text) == (0, "wrote both.png\n")
    assert "maps: other reads other test images of noise than tiny" in refused("maps", "tiny", "other", "-o", "x.png")


def test_an_empty_map_says_so() -> None:
    batch = Batch(x=torch.zeros(2, 1, 2, 2), y=torch.tensor([1, 0]), image=torch.zeros(2, 1, 2, 2))
    map_BHW = torch.tensor([[[0.0, 0.0]], [[0.0, 2.0]]])
    one = FeatureMap("end", 0, (3, 1, 2), map_BHW, "", torch.tensor([1, 0]), torch.tensor([1, 1]))
    lone = FeatureMap("more", 1, (3, 1, 2), None, "no classifier")
    part = Part(digits.dgl(), Path("nowhere"), (one, lone))
    sheet = make_sheet(
        [part], batch, [4, 7], ("zero", "a very long class name"), kind="grad-cam", of="unit", target="label"
    )
    (group,) = sheet.groups
    cells = group.columns[0].cells
    assert [(cell.word, cell.note) for cell in cells] == [("none", "a very l…"), ("", "✗ a very…")]
    assert cells[1].map_HW.tolist() == [[0, 1]] and sheet.labels == ("#4\na very long c…", "#7\nzero")
    assert (group.columns[1].cells, group.columns[1].missing) == ((), "no classifier")
    assert group.title == "DGL, 2 units: accuracy not recorded"
    mean = make_sheet([part], batch, [4, 7], ("zero", "one"), kind="channel-mean", of="block", target="label")
    assert mean.groups[0].columns[0].cells[0].word == "" and [one.border for one in mean.groups[0].columns] == [
        True,
        False,
    ]


def test_words_for_a_method() -> None:
    assert method_words(Backprop()) == "Backprop"
    assert method_words(AugLocal(depth=3)) == "AugLocal(depth=3)"
    assert method_words(DGL(head="3x3", match=AugLocal(depth=2))) == "DGL(head=3x3, match=AugLocal(depth=2))"
    assert method_words(GNDGL()).startswith("GNDGL")
