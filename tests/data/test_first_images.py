"""The first images of a split are those of the whole split, whatever the batches."""

import pytest
import torch

from localgrad.data import DataError, Loader, Split
from localgrad.data.first_images import FirstImages

SPLIT = Split(torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 1, 2, 2), torch.arange(10))


def loader(size: int) -> Loader:
    return Loader(
        SPLIT,
        mean=(0.5,),
        std=(0.5,),
        batch_size=size,
        seed=0,
        device="cpu",
        shuffle=False,
        needs=frozenset({"image"}),
    )


@pytest.mark.parametrize(("most", "sizes"), [(1, [1]), (4, [4]), (6, [4, 2]), (10, [4, 4, 2]), (99, [4, 4, 2])])
def test_first_images(most: int, sizes: list[int]) -> None:
    found = FirstImages(loader(4), most)
    batches = list(found.epoch(0))
    assert [len(batch.x) for batch in batches] == sizes and len(found) == len(sizes)
    assert len(found.split) == sum(sizes) == min(most, 10) and found.device == torch.device("cpu")
    whole = loader(10).batch(0, 0)
    for name in ("x", "y", "image"):
        assert torch.equal(torch.cat([getattr(batch, name) for batch in batches]), getattr(whole, name)[: sum(sizes)])
    assert torch.equal(found.batch(0, len(sizes) - 1).x, batches[-1].x)
    assert torch.equal(next(found.epoch(0, 1)).x, batches[1].x) if len(sizes) > 1 else True


def test_none_is_refused() -> None:
    with pytest.raises(DataError, match="expected 1 image or more, got 0"):
        FirstImages(loader(4), 0)
