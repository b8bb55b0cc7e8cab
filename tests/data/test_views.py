"""Two views of every image: torchvision's pixels for the same draws, which are functions of (seed, epoch, index)."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from localgrad.data import DataError, Digits, Loader, Split, Views
from localgrad.data.views import adjusted, blurred, cropped, drawn, gray, make_views

PLAIN = Views(jitter=0, grayscale=0)
NOTHING = replace(PLAIN, scale=(1, 1), ratio=(1, 1), flip=0)


def images(count: int = 6, channels: int = 3, height: int = 16, width: int = 16) -> Tensor:
    return torch.rand(count, channels, height, width)


def test_views_stand_side_by_side() -> None:
    x = images()
    assert torch.equal(make_views(x, NOTHING, 0, 0, 0), x.repeat_interleave(2, 0))
    made = make_views(x, Views(), 0, 0, 0)
    assert made.shape == (12, 3, 16, 16)
    assert made.min() >= 0 and made.max() <= 1
    assert len({float(view.sum()) for view in made}) == 12


@pytest.mark.parametrize("size", [(16, 16), (12, 20)])
def test_windows_are_those_of_torchvision(size: tuple[int, int]) -> None:
    x = images(8, height=size[0], width=size[1]).double()
    draws = drawn(PLAIN, 16, *size, 3, 1, 4)
    made = cropped(x.repeat_interleave(2, 0), draws)
    assert draws.mirrored_V.any() and not draws.mirrored_V.all()
    for view in range(16):
        top, left, height, width = map(int, draws.window_4V[:, view])
        expected = tv.resized_crop(x[view // 2], top, left, height, width, list(size), antialias=False)
        expected = expected.flip(-1) if draws.mirrored_V[view] else expected
        torch.testing.assert_close(made[view], expected, rtol=1e-9, atol=1e-9)


def test_windows_have_the_area_and_the_shape_asked_for() -> None:
    draws = drawn(Views(scale=(0.2, 0.6)), 4000, 64, 64, 0, 0, 0)
    top, left, height, width = draws.window_4V
    area, ratio = height * width / 64**2, width / height
    assert 0.18 < area.min() < 0.22 and 0.55 < area.max() < 0.63
    assert 0.7 < ratio.min() < 0.8 and 1.25 < ratio.max() < 1.43
    assert area.mean() == pytest.approx(0.4, abs=0.01)
    assert (top >= 0).all() and (top + height <= 64).all() and (left >= 0).all() and (left + width <= 64).all()
    assert ((64 - height) == top).any() and (top == 0).any()


def test_a_window_that_never_fits_is_the_largest_central_one() -> None:
    draws = drawn(Views(scale=(1, 1), ratio=(2, 2)), 4, 16, 16, 0, 0, 0)
    assert draws.window_4V[:, 0].tolist() == [4, 0, 8, 16]


def test_colours_are_those_of_torchvision() -> None:
    x, factors = images(), torch.tensor([0.6, 1.0, 1.4, 0.7, 1.2, 0.9])
    for kind in ("brightness", "contrast", "saturation", "hue"):
        own = (factors - 1) / 4 if kind == "hue" else factors
        expected = [getattr(tv, f"adjust_{kind}")(image, float(f)) for image, f in zip(x, own, strict=True)]
        torch.testing.assert_close(adjusted(x, kind, own), torch.stack(expected), rtol=0, atol=2e-4)
    torch.testing.assert_close(gray(x), tv.rgb_to_grayscale(x, 3), rtol=0, atol=2e-4)
    one = images(channels=1)
    for kind in ("brightness", "contrast"):
        expected = [getattr(tv, f"adjust_{kind}")(image, float(f)) for image, f in zip(one, factors, strict=True)]
        torch.testing.assert_close(adjusted(one, kind, factors), torch.stack(expected), rtol=0, atol=1e-5)


def test_blur_is_that_of_torchvision() -> None:
    x, sigmas = images(), torch.tensor([0.1, 0.3, 0.6, 1.0, 1.5, 2.0])
    expected = [tv.gaussian_blur(image, [3, 3], [float(s)] * 2) for image, s in zip(x, sigmas, strict=True)]
    torch.testing.assert_close(blurred(x, sigmas, 3), torch.stack(expected), rtol=0, atol=1e-5)


def test_every_view_has_its_own_order_and_factors() -> None:
    """By hand: jitter of each view, operation after operation."""
    views = replace(NOTHING, jitter=0.8)
    x = images(8)
    draws = drawn(views, 16, 16, 16, 0, 0, 0)
    expected = []
    for view, image in enumerate(x.repeat_interleave(2, 0)):
        one = image[None]
        if draws.jittered_V[view]:
            for number in draws.order_VK[view].tolist():
                kind = ("brightness", "contrast", "saturation", "hue")[number]
                one = adjusted(one, kind, draws.factors_KV[number, view : view + 1])
        expected.append(one[0])
    torch.testing.assert_close(make_views(x, views, 0, 0, 0), torch.stack(expected), rtol=0, atol=1e-6)
    assert len({tuple(order) for order in draws.order_VK.tolist()}) > 4
    assert 0.4 < draws.jittered_V.float().mean() < 1


def test_shares_of_what_is_done() -> None:
    draws = drawn(Views(blur=0.3), 5000, 8, 8, 0, 0, 0)
    for chosen, share in (
        (draws.mirrored_V, 0.5),
        (draws.jittered_V, 0.8),
        (draws.gray_V, 0.2),
        (draws.blurred_V, 0.3),
    ):
        assert float(chosen.float().mean()) == pytest.approx(share, abs=0.03)
    assert (draws.factors_KV[:3].min(), draws.factors_KV[:3].max()) == (
        pytest.approx(0.6, abs=0.01),
        pytest.approx(1.4, abs=0.01),
    )
    assert draws.factors_KV[3].abs().max() == pytest.approx(0.1, abs=0.01)
    gray_only = replace(NOTHING, grayscale=1.0)
    made = make_views(images(), gray_only, 0, 0, 0)
    assert torch.equal(made[:, 0], made[:, 1])


def test_draws_are_a_function_of_seed_epoch_and_index() -> None:
    x, state = images(), torch.get_rng_state()
    first = make_views(x, Views(), 1, 2, 3)
    torch.rand(3)
    assert torch.equal(first, make_views(x, Views(), 1, 2, 3))
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        assert not torch.equal(first, make_views(x, Views(), *other))
    torch.set_rng_state(state)


def test_a_loader_gives_normalised_views_of_the_plain_images() -> None:
    split = Split((images(10) * 255).to(torch.uint8), torch.arange(10))
    common = {"mean": (0.5,) * 3, "std": (0.25,) * 3, "batch_size": 4, "seed": 5, "device": "cpu", "shuffle": True}
    loader = Loader(split, needs=frozenset({"views"}), views=Views(), channels_last=True, **common)  # type: ignore[arg-type]
    batch = loader.batch(1, 2)
    plain = Loader(split, needs=frozenset({"image"}), **common).batch(1, 2)  # type: ignore[arg-type]
    assert batch.views is not None and plain.image is not None
    assert torch.equal(batch.x, plain.x)
    expected = (make_views(plain.image, Views(), 5, 1, 2) - 0.5) / 0.25
    torch.testing.assert_close(batch.views, expected)
    assert batch.views.is_contiguous(memory_format=torch.channels_last)
    assert len(batch.views) == 2 * len(batch.x) == 4  # the short last batch
    everything = list(loader.epoch(1))
    assert torch.equal(everything[2].views, batch.views)  # type: ignore[arg-type]
    assert Loader(split, views=Views(), **common).batch(0, 0).views is None  # type: ignore[arg-type]

    digits = Digits().load().loader(
        "train", training=True, batch_size=8, seed=0, device=torch.device("cpu"),
        needs=frozenset({"views"}), views=replace(NOTHING, scale=(0.5, 1)),
    )  # fmt: skip
    assert digits is not None
    views = digits.batch(0, 0).views
    assert views is not None and views.shape == (16, 1, 8, 8)


@pytest.mark.parametrize(
    ("views", "channels", "text"),
    [
        (Views(scale=(0, 1)), 3, r"Views.scale: expected 0 < lowest <= highest <= 1, got \(0, 1\)"),
        (Views(ratio=(2, 1)), 3, r"Views.ratio: expected 0 < lowest <= highest, got \(2, 1\)"),
        (Views(flip=1.5), 3, "Views.flip: expected 0 to 1, got 1.5"),
        (Views(hue=0.6), 3, "Views.hue: expected 0 to 0.5, got 0.6"),
        (Views(contrast=-1), 3, "Views.contrast: expected 0 or more, got -1"),
        (Views(brightness=math.inf), 3, "Views.brightness: expected 0 or more, got inf"),
        (Views(), 1, "Views.saturation, Views.hue, Views.grayscale: images of 1 channel have no colour; set them to 0"),
    ],
)
def test_bad_views(views: Views, channels: int, text: str) -> None:
    split = Split(torch.zeros(4, channels, 8, 8, dtype=torch.uint8), torch.arange(4))
    with pytest.raises(DataError, match=text):
        Loader(
            split, mean=(0.5,) * channels, std=(1.0,) * channels, batch_size=2, seed=0, device="cpu", shuffle=True,
            needs=frozenset({"views"}), views=views,
        )  # fmt: skip


def test_views_that_nobody_can_make() -> None:
    split = Split(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), torch.arange(4))
    with pytest.raises(DataError, match=r"this loader gives \['image', 'x', 'y'\], asked for \['views'\] as well"):
        Loader(
            split, mean=(0.5,) * 3, std=(1.0,) * 3, batch_size=2, seed=0, device="cpu", shuffle=True,
            needs=frozenset({"views"}),
        )  # fmt: skip


def test_only_colours_need_kornia() -> None:
    assert not PLAIN.needs_kornia and not replace(Views(), jitter=0, grayscale=0).needs_kornia
    assert Views().needs_kornia and replace(NOTHING, blur=0.1).needs_kornia
