"""The recipe of small runs: made again from plain values, and the data it finds."""

import json
from pathlib import Path

import pytest

from localgrad.cli.options import run_from_origin
from localgrad.data import Digits, ImageFolder, Prefix
from localgrad.facts import plain
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
    assert found_data(None) == found_data(tmp_path) == "digits"
    (tmp_path / "train" / "cat").mkdir(parents=True)
    assert found_data(tmp_path) == "digits"
    for name in CLASSES:
        (tmp_path / "train" / name).mkdir(exist_ok=True)
    assert found_data(tmp_path) == "cifar10-folder"
    data = small_data(SmallSetting("cifar10-folder", 1, 200, 1), tmp_path)
    assert isinstance(data, Prefix) and isinstance(data.whole, ImageFolder) and data.image == (3, 32, 32)
