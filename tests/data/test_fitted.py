"""Another set in the size, channels and normalisation of a network's own."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from localgrad.data import CIFAR10, STL10, Augment, DataError, Digits, ImageSet, Seen, Split, fitted, seen


def images(channels: int, height: int, width: int, count: int = 3) -> ImageSet:
    draw = torch.Generator().manual_seed(0)
    split = Split(
        torch.randint(0, 256, (count, channels, height, width), dtype=torch.uint8, generator=draw), torch.arange(count)
    )
    names = tuple(map(str, range(count)))
    return ImageSet("some", split, split, names, (0.5,) * channels, (0.5,) * channels, Augment(pad=1, flip=True))


def like(*image: int) -> Seen:
    return Seen("own", ("a", "b"), image, (0.1,) * image[0], (0.2,) * image[0])  # type: ignore[arg-type]


def test_what_a_network_saw(tmp_path: Path) -> None:
    # The files are nowhere: the specs say it.
    assert seen(CIFAR10(tmp_path)) == Seen("cifar10", CIFAR10.classes, (3, 32, 32), CIFAR10.mean, CIFAR10.std)
    assert seen(STL10(tmp_path, mean=(0.1, 0.2, 0.3))).mean == (0.1, 0.2, 0.3)
    assert seen(Digits()) == Seen("digits", tuple("0123456789"), (1, 8, 8), (0.306,), (0.376,))


def test_size_and_normalisation_are_the_networks_and_classes_the_sets() -> None:
    found = fitted(images(3, 96, 96), like(3, 32, 32))
    assert (found.image, found.mean, found.std) == ((3, 32, 32), (0.1,) * 3, (0.2,) * 3)
    assert found.classes == ("0", "1", "2") and found.augment == Augment()
    assert found.test.images_NCHW.dtype == torch.uint8
    whole = images(3, 96, 96).test.images_NCHW
    expected = F.interpolate(whole.float(), (32, 32), mode="bilinear", antialias=True).round().to(torch.uint8)
    assert torch.equal(found.test.images_NCHW, expected)


def test_resizing_is_pillows_up_to_rounding() -> None:
    own, made = (images(3, 96, 96).test.images_NCHW[0], fitted(images(3, 96, 96), like(3, 32, 32)).test.images_NCHW[0])
    pillow = Image.fromarray(own.permute(1, 2, 0).numpy()).resize((32, 32), Image.Resampling.BILINEAR)
    difference = made.permute(1, 2, 0).int() - torch.tensor(list(pillow.get_flattened_data())).view(32, 32, 3)
    assert difference.abs().max() <= 1
    larger = fitted(images(1, 8, 8), like(1, 24, 24)).test.images_NCHW
    assert larger.shape[2:] == (24, 24) and larger.float().mean() == pytest.approx(
        float(images(1, 8, 8).test.images_NCHW.float().mean()), abs=5
    )


def test_an_image_of_another_form_is_cut_at_its_centre() -> None:
    wide = images(1, 8, 16)
    assert torch.equal(fitted(wide, like(1, 8, 8)).test.images_NCHW, wide.test.images_NCHW[:, :, :, 4:12])
    assert fitted(images(1, 30, 17), like(1, 8, 8)).image == (1, 8, 8)


def test_grey_becomes_colours_and_colours_grey() -> None:
    grey = images(1, 8, 8)
    assert torch.equal(fitted(grey, like(3, 8, 8)).test.images_NCHW, grey.test.images_NCHW.repeat(1, 3, 1, 1))
    colours = images(3, 8, 8)
    made = fitted(colours, like(1, 8, 8)).test.images_NCHW
    luma = Image.fromarray(colours.test.images_NCHW[0].permute(1, 2, 0).numpy()).convert("L")
    assert (made[0, 0].flatten().int() - torch.tensor(list(luma.get_flattened_data()))).abs().max() <= 1
    with pytest.raises(DataError, match="images of 3 channels cannot be shown to a network that reads 2"):
        fitted(colours, like(2, 8, 8))


@dataclass(frozen=True)
class Odd:
    name: str = "odd"
    num_classes: int = 2
    image: tuple[int, int, int] = (1, 8, 8)

    def problems(self) -> list[str]:
        return []

    def load(self) -> object:
        return object()


def test_a_set_that_does_not_say_how_it_is_normalised() -> None:
    with pytest.raises(DataError, match="odd: object does not say how its images are normalised"):
        seen(Odd())  # type: ignore[arg-type]
