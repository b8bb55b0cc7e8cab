"""``localgrad evaluate RUN --data NAME``, with small files in the published formats read by the real readers."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from localgrad.cli.options import run_from_origin
from localgrad.data import CIFAR10, STL10, fitted, seen
from localgrad.report.groups import make_groups
from localgrad.report.read import read_path
from localgrad.report.sections.outside import transfer
from localgrad.report.sides import read_sides
from localgrad.train.newest import load_trained
from localgrad.train.record import read_run
from tests.cli.conftest import Localgrad
from tests.data.conftest import Publish

SMALL = ("--epochs", 1, "--batch-size", 5, "--width", 0.25)


@pytest.fixture
def published(localgrad: Localgrad, tmp_path: Path) -> Localgrad:
    """With a run ``c`` on CIFAR-10, whose files are gone by now, and STL-10 in ``stl``."""
    publish = Publish()
    publish.cifar10_binary(tmp_path / "cifar", per_file=3)
    publish.stl10(tmp_path / "stl", count=40)
    words = ("cifar10.dgl_resnet32", *SMALL, "--modules", 4, "--data-root", "cifar", "--out", "c")
    assert localgrad("train", *words)[0] == 0
    shutil.rmtree("cifar")
    return localgrad


def written(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(name).read_text())
    return found


def test_cifar10_to_stl10(published: Localgrad) -> None:
    status, text = published("evaluate", "c", "--data", "stl10", "--data-root", "stl", "--raw-labels", "true")
    assert status == 0 and text.endswith("wrote c/transfer-stl10.json\n"), text
    plain = " ".join(text.split())
    assert (
        "trained on cifar10, tested on stl10 without training the network Checkpoint: after epoch 1 of 1, seed 0, "
        "float32. Images: resized from (3, 96, 96) to " in plain
    )
    assert "normalised as cifar10 (mean 0.4914, 0.4824, 0.4467; std 0.2471, 0.2435, 0.2616)." in plain
    found = written("c/transfer-stl10.json")
    assert found["kind"] == "localgrad transfer 1" and found["data"] == "stl10" and found["trained_on"] == "cifar10"
    assert found["classes"]["only_trained_on"] == ["frog"] and found["classes"]["only_data"] == ["monkey"]
    assert len(found["classes"]["mapped"]) == 9 and found["logits"] == "all"
    monkeys = found["left_out"]["monkey"]
    assert monkeys > 0 and found["n"] == 40 - monkeys and found["test_images"] == 40
    assert (
        "Classes: 9 in both sets (automobile = car); only in cifar10: frog; only in stl10: monkey. Judged: "
        f"{found['n']} of 40 test images, left out: {monkeys} of monkey."
    ) in plain
    ways = (found, found["other_ways"]["mapped"], found["other_ways"]["raw_labels"])
    assert [own["n"] for own in ways] == [found["n"], found["n"], 40]
    for name, values in (
        ("network", [own["top1"] for own in ways]),
        ("network, top-5", [own["top5"] for own in ways]),
        ("ensemble last", [own["ensemble"]["last"] for own in ways]),
        *((f"unit {unit} \\S+", [own["units"][str(unit)] for own in ways]) for unit in range(4)),
    ):
        assert re.search(rf"^ +{name} +" + " +".join(f"{value:.2f}" for value in values), text, re.MULTILINE), name
    assert "9 mapped: only classes that both sets have compete, chance is 11.1." in plain

    # The figure itself, by hand.
    run = run_from_origin(read_run(Path("c"))["origin"], Path("c"), {})
    shown = fitted(STL10("stl").load(), seen(CIFAR10()))
    x, y = (shown.test.images_NCHW.float() / 255 - torch.tensor(CIFAR10.mean).view(3, 1, 1)), shown.test.labels_N
    with torch.no_grad():
        best = load_trained(run, Path("c")).eval()(x / torch.tensor(CIFAR10.std).view(3, 1, 1)).argmax(1)
    names = {index: name.replace("automobile", "car") for index, name in enumerate(CIFAR10.classes)}
    hits = [names[int(b)] == STL10.classes[int(label)] for b, label in zip(best, y, strict=True) if int(label) != 7]
    assert found["top1"] == pytest.approx(100 * sum(hits) / len(hits))

    status, text = published("evaluate", "c", "--data", "stl10", "--data-root", "stl", "--logits", "mapped")
    again = written("c/transfer-stl10.json")
    assert status == 0 and again["logits"] == "mapped" and again["top1"] == found["other_ways"]["mapped"]["top1"]
    assert again["other_ways"]["all"]["top1"] == found["top1"] and "raw_labels" not in again["other_ways"]


def test_a_folder_with_the_same_classes(published: Localgrad, refused: Callable[..., str]) -> None:
    draw = np.random.default_rng(0)
    for part in ("train", "test"):
        for name in CIFAR10.classes:
            place = Path("images", part, name)
            place.mkdir(parents=True)
            for index in range(2):
                Image.fromarray(draw.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(place / f"{index}.png")
    words = ("evaluate", "c", "--data", "folder", "--data-root", "images")
    status, text = published(*words)
    assert status == 0 and "Classes: 10 in both sets; only in cifar10: none; only in folder: none." in text, text
    found = written("c/transfer-folder-images.json")
    assert (
        found["n"] == 20 and "other_ways" not in found and "left_out" in found and found["images"]["to"] == [3, 32, 32]
    )
    assert "all of the network's classes are in both sets" in refused(*words, "--logits", "mapped")


def test_frozen_features_of_a_network_without_labels(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    Publish().stl10(Path("stl"), count=12)
    assert localgrad("train", "digits.simclr", "--layers", 8, "--epochs", 1, "--out", "ssl")[0] == 0
    words = ("evaluate", "ssl", "--data", "stl10", "--data-root", "stl")
    assert "kNN: expected 1 to 12 neighbours" in refused(*words, "--neighbours", 20)
    status, text = localgrad(*words, "--neighbours", 3)
    assert status == 0 and "resized from (3, 96, 96) to (1, 8, 8)" in text and "12 training images of stl10" in text
    found = written("ssl/transfer-probe-stl10.json")
    assert "top1" not in found and found["n"] == 12 and found["probe"]["neighbours"] == 3
    assert [one["block"] for one in found["blocks"]] == ["stem", "layer1.0", "layer2.0", "layer3.0"]
    assert found["linear"] == {"0": found["blocks"][-1]["test"]} and found["knn"] == {"0": found["blocks"][-1]["knn"]}
    assert found["blocks"][-1]["train"] > 50  # 12 images in 32 features
    assert "a probe is fitted on the other set's own classes" in refused(*words, "--raw-labels", "true")


def test_classes_that_do_not_correspond_and_a_probe(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    Publish().stl10(Path("stl"), count=6)
    words = ("--layers", 8, "--epochs", 1, "--modules", 2, "--cut", "equal_blocks", "--out", "d")
    assert localgrad("train", "digits.dgl", *words)[0] == 0
    status, own = localgrad("evaluate", "d")
    status, text = localgrad("evaluate", "d", "--data", "digits")
    assert status == 0 and "normalised as digits (mean 0.306; std 0.376)." in text and "resized" not in text
    top1 = float(re.findall(r"test top-1 (\S+) %", own)[0])
    assert f"{written('d/transfer-digits.json')['top1']:.2f}" == f"{top1:.2f}"

    told = refused("evaluate", "d", "--data", "stl10", "--data-root", "stl").splitlines()
    assert told[0] == (
        "localgrad evaluate: resnet8 trained on digits, tested on stl10: the classes do not correspond, so there is no "
        "accuracy without training (shared by name: none)."
    )
    assert told[1] == "The network's 10 classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9."
    assert told[2].startswith("The other set's 10 classes: airplane, bird, car,")
    assert told[3].startswith("With --probe true a linear classifier and kNN are fitted")
    probed = ("evaluate", "d", "--data", "stl10", "--data-root", "stl", "--probe", "true", "--neighbours", 2)
    assert localgrad(*probed)[0] == 0
    assert list(written("d/transfer-probe-stl10.json")["linear"]) == ["0", "1"]

    # Probes beside the network's own accuracy on one set: both files stay, and the report has both.
    status, text = localgrad("evaluate", "d", "--data", "digits", "--probe", "true", "--neighbours", 2)
    assert status == 0 and text.endswith("wrote d/transfer-probe-digits.json\n")
    own, probe = written("d/transfer-digits.json"), written("d/transfer-probe-digits.json")
    assert f"{own['top1']:.2f}" == f"{top1:.2f}" and "top1" not in probe
    section = transfer(make_groups([read_path(Path("d"))]))
    assert section is not None
    page = str(section.parts[0])
    assert f"{own['top1']:.2f}" in page and f"{probe['linear']['1']:.2f}" in page
    names = [name for name, _ in read_sides(Path("d"), []).conditions]
    assert names == ["transfer-digits.json", "transfer-probe-digits.json", "transfer-probe-stl10.json"]


def test_refused(localgrad: Localgrad, refused: Callable[..., str]) -> None:
    assert localgrad("train", "exp.py:tiny", "--epochs", 1, "--out", "a")[0] == 0
    for words, error in WRONG:
        assert error in refused("evaluate", "a", *words)


WRONG = (
    (("--data", "stl"), "--data stl: there is no such data set. Did you mean stl10?"),
    (("--data", "folder"), "--data folder: say which with --data-root DIR, which holds train/ and test/"),
    (("--data", "digits", "--data-root", "x"), "scikit-learn carries this set: leave --data-root out."),
    (("--data", "digits", "--download", "true"), "nothing can be downloaded: leave --download out."),
    (("--raw-labels", "true", "--c", 1), "--raw-labels, --c says how another set is evaluated: give --data NAME."),
    (("--data", "stl10", "--data-root", "nowhere"), "stl10: no complete set of files under root='nowhere'"),
    (("--data", "digits", "--neighbours", 0), "--neighbours, --temperature and --c are those of --probe true."),
)
