"""Channels: what a header says, and that a slow receiver holds the sender back."""

import pytest
import torch

from localgrad.distributed import Item, ItemKind
from localgrad.distributed.wire import HEADER, Message, allocated, as_sent, described
from tests.distributed.pool import Pool

CPU = torch.device("cpu")
ITEM = Item(ItemKind.TRAIN, epoch=3, index=7, step=307, rows=16)
TENSORS = {
    "dense": {"h": torch.randn(4, 3, 5, 6)},
    "channels last": {"h": torch.randn(4, 3, 5, 6).to(memory_format=torch.channels_last)},
    "one pixel": {"h": torch.randn(4, 3, 1, 1).to(memory_format=torch.channels_last)},
    "slice": {"h": torch.randn(4, 8, 5, 6)[:, 2:5]},
    "labels and image": {"h": torch.randn(4, 9), "y": torch.arange(4), "image": torch.rand(4, 3, 8, 8)},
    "int8": {"h": torch.randint(-127, 127, (4, 3), dtype=torch.int8), "scale": torch.rand(4)},
    "bfloat16": {"h": torch.randn(4, 3).to(torch.bfloat16), "scale": torch.empty(0)},
    "logits": {"logits": torch.randn(2, 4, 10), "ids": torch.tensor([0, 3])},
    "text": {"text": torch.tensor(list(b"{}"), dtype=torch.uint8)},
    "no rows": {"h": torch.randn(0, 3, 5, 6)},
    "nothing": {},
}


@pytest.mark.parametrize("case", list(TENSORS))
def test_the_other_end_allocates_what_is_sent(case: str) -> None:
    sent = Message(ITEM, TENSORS[case])
    header = described(sent)
    assert header.shape == (HEADER,)
    found, dense = allocated(header, CPU)
    assert found.item == ITEM
    assert list(found.tensors) == list(sent.tensors)
    for block, tensor in zip(dense, sent.tensors.values(), strict=True):
        assert block.is_contiguous() and block.shape == as_sent(tensor).shape
        block.copy_(as_sent(tensor))
    for name, tensor in sent.tensors.items():
        got = found.tensors[name]
        assert got.dtype == tensor.dtype and torch.equal(got, tensor)
        if tensor.ndim == 4:
            last = torch.channels_last
            assert got.is_contiguous(memory_format=last) == tensor.is_contiguous(memory_format=last)


@pytest.mark.parametrize("kind", list(ItemKind))
def test_what_ends_the_stream(kind: ItemKind) -> None:
    assert Item(kind).ends == (kind in (ItemKind.STOP, ItemKind.FINISHED))
    assert allocated(described(Message(Item(kind))), CPU)[0].item.kind is kind


def test_a_slow_receiver_holds_the_sender_back(pool: Pool) -> None:
    sent, received = pool.run("tests.distributed.tasks:back_pressure", 2, 12)
    # Large messages: what is in neither queue is in the hands of one thread at each end.
    assert 3 <= sent["first"] <= 6
    assert received["order"] == list(range(12))
    assert sent["bytes"] == 12 * received["bytes"]
