"""Every recipe of the package makes a Run that fits together, with the papers' settings (methods.md 0.1 and cards)."""

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from localgrad import Run, Sequential
from localgrad.cli.options import cut_evenly
from localgrad.cli.recipes import built_in, find_recipe
from localgrad.data import Augment, Views
from localgrad.errors import LocalgradError
from localgrad.methods import DGL, DGSSL, MLAAN, AugLocal, InfoPro
from localgrad.methods.dgl import Head
from localgrad.partition import equal_macs
from localgrad.train import SGD, Adam, Constant, Cosine
from tests.conftest import sgd
from tests.data.conftest import Publish

RECIPES = built_in()
PAPERS = [name for name in RECIPES if not name.startswith(("digits.", "folder."))]
RESNETS = [f"{data}.{{}}_resnet{depth}" for data in ("cifar10", "cifar100", "svhn", "stl10") for depth in (32, 110)]
METHODS = ("backprop", "checkpointing", "dgl", "auglocal", "predsim", "infopro", "mlaan")
SMALL = ("cifar10", "cifar100", "svhn", "stl10", "mnist", "fashion_mnist", "kmnist")
IMAGENET_METHODS = {
    "vgg13": ("backprop", "dgl", "auglocal"),
    "vgg19": ("dgl",),
    "resnet34": ("backprop", "auglocal", "mlaan"),
    "resnet101": ("backprop", "auglocal", "mlaan", "infopro"),
    "resnet152": ("backprop", "dgl", "mlaan", "infopro"),
    "resnext101": ("backprop", "infopro"),
}
EXPECTED = {
    *(one.format(method) for one in RESNETS for method in METHODS),
    *(
        f"{data}.{kind}_resnet32"
        for data in ("cifar10", "cifar100", "imagenet32")
        for kind in ("gndgl", "single_thread")
    ),
    *(f"imagenet32.{method}_resnet32" for method in ("backprop", "dgl", "infopro")),
    *(f"{data}.{kind}_vgg19" for data in ("cifar10", "svhn") for kind in ("backprop", "dgl", "auglocal", "predsim")),
    *(f"cifar10.{kind}_densenet100" for kind in ("backprop", "dgl", "infopro")),
    *(f"cifar10.{kind}_mobilenetv2" for kind in ("backprop", "auglocal")),
    *(f"cifar10.{kind}_efficientnet_b0" for kind in ("backprop", "auglocal")),
    *(f"cifar10.{kind}_regnetx_400mf" for kind in ("backprop", "auglocal")),
    *(f"{data}.{method}_vgg8b" for method in ("predsim", "backprop") for data in SMALL),
    *(f"{data}.{method}_vgg11b" for data in ("cifar10", "cifar100") for method in ("predsim", "backprop")),
    *(f"{data}.{method}_mlp" for data in SMALL if data not in ("svhn", "stl10") for method in ("predsim", "backprop")),
    "cifar10.gndgl_vgg6a",
    *(f"cifar10.{kind}_{net}" for net in ("conv4", "conv6") for kind in ("dgl", "greedy_dgl")),
    "cifar10.queued_dgl_conv6",
    "cifar10.dgl_resnet110_option_a",
    *(f"cifar10.{kind}_{net}" for net in ("resnet50", "resnet110") for kind in ("simclr", "dgssl", "dgssl_llm")),
    *(f"cifar10.{kind}_{net}" for net in ("vgg6a", "vgg16a", "vgg19a") for kind in ("simclr", "dgssl")),
    *(f"imagenet.{kind}_{network}" for network, kinds in IMAGENET_METHODS.items() for kind in kinds),
}
NESTEROV: dict[str, Any] = {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-4, "decay_norm_and_bias": True}
IMAGENET = {
    "imagenet.backprop_vgg13": (0.1, 256, 90),
    "imagenet.dgl_vgg13": (0.1, 256, 90),
    "imagenet.auglocal_vgg13": (0.1, 256, 90),
    "imagenet.backprop_resnet34": (0.4, 1024, 200),
    "imagenet.auglocal_resnet34": (0.4, 1024, 200),
    "imagenet.backprop_resnet101": (0.2, 512, 200),
    "imagenet.auglocal_resnet101": (0.2, 512, 200),
    "imagenet.infopro_resnet101": (0.4, 1024, 90),
    "imagenet.backprop_resnet152": (0.4, 1024, 90),
    "imagenet.infopro_resnet152": (0.4, 1024, 90),
    "imagenet.backprop_resnext101": (0.4, 512, 90),
    "imagenet.infopro_resnext101": (0.4, 512, 90),
    "imagenet.mlaan_resnet34": (0.05, 128, 150),
    "imagenet.mlaan_resnet101": (0.05, 128, 150),
    "imagenet.mlaan_resnet152": (0.05, 128, 150),
}
ZERO_4 = Augment(4, "zero", flip=True)
AUGMENTED = {
    "cifar10": Augment(4, "reflect", flip=True),
    "cifar100": Augment(4, "reflect", flip=True),
    "svhn": Augment(2, "zero"),
    "stl10": ZERO_4,
    "imagenet32": ZERO_4,
}
NORMALISED = {
    "cifar10": ([v / 255 for v in (125.3, 123.0, 113.9)], [v / 255 for v in (63.0, 62.1, 66.7)]),
    "cifar100": ([v / 255 for v in (125.3, 123.0, 113.9)], [v / 255 for v in (63.0, 62.1, 66.7)]),
    "svhn": ([0.5] * 3, [0.5] * 3),
    "stl10": ([0.5] * 3, [0.5] * 3),
    "imagenet32": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


def make(name: str, tmp_path: Path) -> Run:
    if not name.startswith("folder."):
        return RECIPES[name]()
    Publish().image_folder(tmp_path / "images", size=(32, 32))
    return RECIPES[name](data_root=tmp_path / "images")


def units(run: Run) -> int:
    with torch.device("meta"):
        return len(run.network().units)


def test_all_experiments_of_the_papers_have_a_recipe() -> None:
    assert set(PAPERS) == EXPECTED
    digits = {f"digits.{method}" for method in (*METHODS, "gndgl", "simclr", "dgssl", "dgssl_llm")}
    assert set(RECIPES) - EXPECTED == {*digits, "folder.backprop", "folder.dgl", "folder.auglocal"}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_makes_a_run(name: str, tmp_path: Path) -> None:
    run = make(name, tmp_path)
    assert json.loads(json.dumps(run.facts())) == run.facts()
    assert run.facts()["seed"] == 0
    assert run.out is None


@pytest.mark.parametrize("kind", sorted({name.partition(".")[2] for name in RECIPES}))
def test_every_kind_of_recipe_builds(kind: str, tmp_path: Path) -> None:
    """One of those that differ in the data set only; ImageNet's are all of them."""
    found = [name for name in RECIPES if name.partition(".")[2] == kind]
    for name in {found[0], *(name for name in found if name.startswith(("imagenet.", "folder.")))}:
        with torch.device("meta"):
            net = make(name, tmp_path).network()
        assert all(parameter.is_meta for parameter in net.parameters())


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_what_its_options_are(name: str) -> None:
    recipe = RECIPES[name]
    parameters = inspect.signature(recipe).parameters
    assert {"epochs", "seed", "data_root"} <= parameters.keys()
    assert ("download" in parameters) == (name.partition(".")[0] not in ("digits", "folder", "imagenet", "imagenet32"))
    text = inspect.getdoc(recipe) or ""
    assert [p for p in parameters if f"\n    {p}: " not in text] == []
    assert text.index("Args:") > 0 and text.partition("\n")[0].endswith(".")
    assert f"{recipe.__module__.removeprefix('localgrad.recipes.')}.{recipe.__name__}" == name


UNLABELLED = [one for one in PAPERS if one.partition(".")[2].startswith(("simclr", "dgssl"))]


@pytest.mark.parametrize(
    "name", [one for one in PAPERS if one.endswith(("resnet32", "resnet110")) and one not in UNLABELLED]
)
def test_resnets_on_small_images(name: str) -> None:
    run, (data, _, recipe) = RECIPES[name](), name.partition(".")
    method, network = recipe.rsplit("_", 1)
    batch, lr = (128, 0.1) if data == "stl10" else (1024, 0.8)
    own = method in ("infopro", "gndgl", "single_thread") or data == "imagenet32"
    assert (run.batch_size, run.epochs) == (batch, 160 if own else 400)
    assert run.optimizer == SGD(lr=lr, **NESTEROV)
    assert run.schedule == Cosine(warmup_epochs=10, warmup_lr=0.01, from_zero=False)
    full = {"resnet32": 16, "resnet110": 55}[network]
    modules = {"backprop": None, "checkpointing": None, "infopro": 16, "gndgl": 2, "single_thread": 1}.get(method, full)
    assert run.modules == modules
    found = run.data
    assert found.augment == AUGMENTED[data]
    mean, std = NORMALISED[data]
    assert (list(found.mean), list(found.std)) == (pytest.approx(mean), pytest.approx(std))
    size = 96 if data == "stl10" else 32
    classes = {"cifar100": 100, "imagenet32": 1000}.get(data, 10)
    assert (run.backbone.image, run.backbone.num_classes) == ((3, size, size), classes)


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cifar10.backprop_resnet32", 1),
        ("cifar10.checkpointing_resnet32", 1),
        ("cifar10.dgl_resnet32", 16),
        ("cifar10.auglocal_resnet32", 16 - 6 + 1),
        ("cifar10.predsim_resnet32", 16),
        ("cifar10.infopro_resnet32", 16),
        # The stem is merged into the first block.
        ("cifar10.mlaan_resnet32", 15),
        ("cifar10.gndgl_resnet32", 2 * 2 + 1),
        ("cifar10.single_thread_resnet32", 2 + 1),
        ("cifar10.dgl_densenet100", 16),
        ("cifar10.infopro_densenet100", 16),
        ("imagenet.infopro_resnext101", 2),
        ("cifar10.auglocal_vgg19", 16 - 4 + 1),
        ("cifar10.auglocal_mobilenetv2", 19 - 4 + 1),
        ("cifar10.auglocal_efficientnet_b0", 17 - 4 + 1),
        ("cifar10.auglocal_regnetx_400mf", 23 - 4 + 1),
        # Six convolutions, a hidden layer, the classifier.
        ("cifar10.predsim_vgg8b", 8),
        ("mnist.predsim_mlp", 4),
        # 4 convolutions, of which the first three are cut into 6, 12 and 6; a hidden layer, the classifier.
        ("cifar10.gndgl_vgg6a", 6 + 12 + 6 + 1 + 1 + 1),
        ("imagenet.auglocal_resnet34", 17),
        ("imagenet.dgl_vgg13", 10),
        ("imagenet.dgl_resnet152", 2),
    ],
)
def test_the_number_of_units(name: str, count: int) -> None:
    assert units(RECIPES[name]()) == count


@pytest.mark.parametrize("name", UNLABELLED)
def test_contrastive_learning(name: str) -> None:
    """Thesis, section 4.3 and figure A.2."""
    run = RECIPES[name]()
    assert (run.optimizer, run.schedule, run.batch_size) == (Adam(lr=1e-3, weight_decay=1e-6), Constant(), 256)
    data: Any = run.data
    assert (data.mean, data.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert run.views == Views((0.08, 1), (3 / 4, 4 / 3), 0.5, 0.8, 0.4, 0.4, 0.4, 0.1, 0.2, 0)
    layers = {"vgg6a": 5, "vgg16a": 14, "vgg19a": 17}
    kind, network = name.removeprefix("cifar10.").rsplit("_", 1)
    method = run.method
    assert isinstance(method, DGSSL) and units(run) == (1 if kind == "simclr" else layers.get(network, 16))
    assert (method.selection is not None) == (kind == "dgssl_llm")
    assert kind == "simclr" or method.head == ("0c2f" if network in layers else "1c2f")


@pytest.mark.parametrize("name", IMAGENET)
def test_imagenet(name: str) -> None:
    run, (lr, batch, epochs) = RECIPES[name](), IMAGENET[name]
    assert (run.optimizer, run.batch_size, run.epochs) == (SGD(lr=lr, **NESTEROV), batch, epochs)
    assert run.schedule == Cosine(warmup_epochs=0, from_zero=True)
    assert (run.backbone.image, run.backbone.num_classes) == ((3, 224, 224), 1000)


def test_imagenet_under_another_papers_protocol() -> None:
    backprop = RECIPES["imagenet.backprop_resnet101"]
    run = backprop(protocol="infopro")
    assert (run.optimizer.lr, run.batch_size, run.epochs) == (0.4, 1024, 90)
    assert backprop(protocol="mlaan", epochs=3).epochs == 3
    own = RECIPES["imagenet.dgl_vgg13"](protocol="dgl", modules=4)
    assert (own.optimizer, own.epochs) == (SGD(lr=0.1, nesterov=False, weight_decay=1e-4), 50)
    facts = dict(own.backbone.arguments)
    assert (facts["dropout"], facts["aux_weights"]) == (0.0, "network")
    assert own.backbone.initialise_aux is None
    assert units(own) == 4
    with pytest.raises(LocalgradError, match=r"VGG13: no protocol 'mlaan' is known for it\. There are: auglocal\."):
        RECIPES["imagenet.backprop_vgg13"](protocol="mlaan")


def test_auglocal_on_imagenet() -> None:
    """Released script: depth 5, no pyramid, every layer local, no BatchNorm before the classifier."""
    for name, classifier in (("vgg13", "flat-mlp"), ("resnet34", "pooled"), ("resnet101", "pooled")):
        method = RECIPES[f"imagenet.auglocal_{name}"]().method
        assert method == AugLocal(depth=5, tau=0, tail="strict", head_bn=False, classifier=classifier)  # type: ignore[arg-type]


def test_layerwise_gndgl() -> None:
    run = RECIPES["cifar10.gndgl_vgg6a"]()
    assert (run.optimizer, run.batch_size, run.epochs) == (Adam(lr=1e-3), 128, 150)
    rates = [run.schedule.lr(1e-3, epoch, 150) for epoch in (49, 50, 99, 100)]
    assert rates == pytest.approx([1e-3, 5e-4, 5e-4, 1e-4])
    assert dict(run.backbone.arguments)["dropout"] == 0.01
    assert run.data.augment == ZERO_4


@pytest.mark.parametrize(("layers", "zero"), [(34, True), (101, False), (152, False)])
def test_mlaans_imagenet_networks_start_as_its_code_has_them(layers: int, zero: bool) -> None:
    facts = dict(RECIPES[f"imagenet.mlaan_resnet{layers}"]().backbone.arguments)
    assert facts["zero_residual"] is zero


def test_layerwise_gndgl_offers_only_what_it_can() -> None:
    recipe = RECIPES["cifar10.gndgl_vgg6a"]
    for groups, fused in ((1, []), (2, [0, 2, 6]), (6, [0, 6, 18])):
        run = recipe(groups=groups, share_features=True, diversity=True, fuse_groups=True)
        with torch.device("meta"):
            assert sorted(Sequential(run.network(), sgd).fused_spans) == fused


def test_heads_of_the_comparisons() -> None:
    for head in ("mlp-sr", "auglocal", "1c2f", "0c1f"):
        known: Head = head  # type: ignore[assignment]
        assert RECIPES["cifar10.dgl_resnet32"](head=head).method == DGL(head=known)
    merged = RECIPES["stl10.dgl_resnet110"](split="mlaan", modules=32)
    assert merged.modules is None and units(merged) == 32
    assert RECIPES["cifar10.mlaan_resnet32"](leaps=False, base="dgl").method == MLAAN(leaps=False, base="dgl")


def test_weights_of_infopro() -> None:
    def weights(name: str, **keywords: Any) -> list[tuple[str, float]]:
        run = RECIPES[name](**keywords)
        with torch.device("meta"):
            unit = run.network().unit_list()[0]
        return sorted((objective.name, objective.weight) for objective in unit.spec.objectives)

    assert weights("cifar10.infopro_resnet32") == [("reconstruction", 5), ("task", 0.05)]
    assert weights("cifar100.infopro_resnet32") == [("reconstruction", 1), ("task", 1)]
    assert weights("svhn.infopro_resnet32", source="mlaan", loss="softmax") == [("reconstruction", 5), ("task", 0.5)]
    own = RECIPES["stl10.infopro_resnet110"](modules=4, first=(3.0, 4.0)).method
    assert isinstance(own, InfoPro) and own.lambdas is not None
    assert (own.lambdas.first, own.lambdas.last) == ((3, 4), (3, 4))
    with pytest.raises(LocalgradError, match=r"InfoPro: last=\(1, 2\) are weights of the last local module"):
        RECIPES["stl10.infopro_resnet110"](last=(1, 2))
    with pytest.raises(LocalgradError, match="no lambda schedule is published for dataset='svhn'"):
        units(RECIPES["svhn.auglocal_resnet110"](infopro=True))


@pytest.mark.parametrize(("modules", "last"), [(2, None), (4, 1), (8, 1), (16, 1)])
def test_infopro_on_densenet_borrows_the_weights_of_resnet110(modules: int, last: float | None) -> None:
    recipe = RECIPES["cifar10.infopro_densenet100"]
    run, theirs = recipe(modules=modules, loss="softmax"), RECIPES["cifar10.infopro_resnet110"](modules=modules)
    with torch.device("meta"):
        own, other = run.network(), theirs.network()
    weights = [[objective.weight for objective in unit.spec.objectives] for unit in own.unit_list()]
    assert weights == [[objective.weight for objective in unit.spec.objectives] for unit in other.unit_list()]
    assert last is None or weights[-2][0] == last
    sizes = {len(unit.spec.span) for unit in own.unit_list()}
    assert max(sizes) - min(sizes) <= 1 and len(own.units) == modules
    assert (run.batch_size, run.optimizer, run.epochs) == (1024, SGD(lr=0.8, **NESTEROV), 160)
    assert cut_evenly("equal_macs", run) == {"modules": None, "partition": equal_macs(modules)}


def test_infopro_on_densenet_with_weights_of_ones_own() -> None:
    recipe = RECIPES["cifar10.infopro_densenet100"]
    method = recipe(modules=3, first=(2.0, 1.0), width=0.5).method
    assert isinstance(method, InfoPro) and method.lambdas is not None
    assert (method.lambdas.first, method.lambdas.last) == ((2, 1), (2, 1))
    with pytest.raises(LocalgradError, match=r"InfoPro: last=\(1, 2\) are weights of the last local module"):
        recipe(last=(1, 2))
    with pytest.raises(LocalgradError, match=r"no lambda schedule is published for dataset='cifar10', resnet110, K=3"):
        recipe(modules=3)


def test_the_settings_are_passed_on() -> None:
    run = RECIPES["cifar10.auglocal_resnet32"](depth=3, tau=0.0, modules=8, epochs=5, seed=4, data_root=Path("x"))
    assert (run.modules, run.epochs, run.seed) == (8, 5, 4)
    facts = run.facts()
    assert isinstance(facts["method"], dict) and isinstance(facts["data"], dict)
    assert (facts["method"]["depth"], facts["method"]["tau"], facts["data"]["root"]) == (3, 0.0, "x")


def test_a_recipe_is_found_by_its_name() -> None:
    assert find_recipe("digits.dgl") is RECIPES["digits.dgl"]
    assert find_recipe("localgrad.recipes.digits:dgl") is RECIPES["digits.dgl"]
