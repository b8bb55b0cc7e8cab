"""The recipe of small runs: made again from plain values, and the data it finds."""

import json
from pathlib import Path

import pytest

from localgrad.cli.options import run_from_origin
from localgrad.data import Digits, ImageFolder, Prefix
from localgrad.errors import RunError
from localgrad.facts import plain
from localgrad.reproduction import Request, reproduce
from localgrad.reproduction.small import CLASSES, SmallSetting, found_data, small, small_data, small_run
from localgrad.train.run import Origin


@pytest.mark.parametrize(
    ("recipe", "keywords"),
    [
        ("cifar10.auglocal_resnet110", {"stage_selection": ("repetitive", "repetitive", "uniform"), "depth": 3}),
        ("cifar10.infopro_resnet32", {"loss": "softmax", "first": (5, 0.05), "last": (0.2, 0.5)}),
        ("cifar10.gndgl_vgg6a", {"share_features": True, "feat_mult": 2}),
    ],
)
def test_a_run_is_made_again_from_its_origin(recipe: str, keywords: dict[str, object]) -> None:
    run = small_run(recipe, keywords, SmallSetting("digits", 1, 500, 3), 7, None)
    assert isinstance(run.origin, Origin) and run.data == Prefix(Digits(), 500, 1000)
    saved = json.loads(json.dumps(plain(run.origin)))
    again = run_from_origin({**saved, "overrides": {}}, Path("somewhere"), {})
    assert plain(again.facts()) == plain(run.facts()) and again.seed == 7
    assert plain(small(**saved["arguments"]).facts()) == plain(run.facts())


def test_the_data_that_is_there(tmp_path: Path) -> None:
    assert found_data(None) == "digits"
    (tmp_path / "train").mkdir()
    for name in CLASSES:
        (tmp_path / "train" / name).mkdir()
    assert found_data(tmp_path) == "cifar10-folder"
    data = small_data(SmallSetting("cifar10-folder", 1, 200, 1), tmp_path)
    assert isinstance(data, Prefix) and isinstance(data.whole, ImageFolder) and data.image == (3, 32, 32)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            None,
            r"--data-root \S+/root does not exist: expected a folder with CIFAR-10\. Leave --data-root out to train on",
        ),
        (
            "root",
            r"has no CIFAR-10\.\ncifar10: no complete set of files(.|\n)*there is no train/\. Leave --data-root out",
        ),
        (
            "root/train/cat",
            r"train/, test/ of its ten classes \(airplane, (.|\n)*\): train/ there has 1 folders\. Leave",
        ),
    ],
)
def test_a_data_root_without_cifar10_is_refused_before_any_work(tmp_path: Path, made: str | None, message: str) -> None:
    if made is not None:
        (tmp_path / made).mkdir(parents=True)
    # A table of costs too: nothing of what was asked for is left out in silence.
    for table in ("dgl:parallel", "gndgl-v1:5"):
        request = Request(table, "short", (1,), (0,), data_root=tmp_path / "root", minutes=0.01)
        with pytest.raises(RunError, match=rf"^nothing was started:\n- (.|\n)*{message}"):
            reproduce(request, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_image_folder_of_cifar10_without_a_test_split_is_refused_before_any_work(tmp_path: Path) -> None:
    for name in CLASSES:
        (tmp_path / "root" / "train" / name).mkdir(parents=True)
    request = Request("dgl:parallel", "short", (1,), (0,), data_root=tmp_path / "root", minutes=0.01)
    with pytest.raises(RunError, match=r"^nothing was started:\n- (.|\n)*root"):
        reproduce(request, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_data_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file is no folder: expected a folder with CIFAR-10"):
        found_data(tmp_path / "file")
