"""Sizes of the example's images may cross a border; what depends on the size of the batch may not."""

import pytest
import torch
from torch import Tensor, nn

import localgrad as lg
from localgrad.backbones.module import wrap
from tests.backbones.foreign import chained, sgd


class Mix(nn.Module):
    """A block of tokens that reads how they lie: (B, rows columns, C)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(channels, channels, 3, padding=1), nn.Linear(channels, channels)

    def forward(self, x: Tensor, rows: int, columns: int) -> Tensor:
        seen = self.one(x.transpose(1, 2).unflatten(2, (rows, columns)))
        out: Tensor = self.two(seen.flatten(2).transpose(1, 2)).relu()
        return out


class Tokens(nn.Module):
    """Rows and columns of tokens cross every border; the stem says them, forward hands them on with a star."""

    def __init__(self, *, batch_sized: bool = False) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv2d(3, 6, 4, 4), nn.ModuleList(Mix(6) for _ in range(3))
        self.norm, self.head = nn.LayerNorm(6), nn.Linear(6, 5)
        self.batch_sized = batch_sized

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        size = x.shape[2:]
        number = x.shape[0] * 2
        x = x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            x = block(x, *size)
        if self.batch_sized:
            x = x * number
        out: Tensor = self.head(self.norm(x).mean(1))
        return out


def batch(size: int = 16) -> lg.Batch:
    return lg.Batch(x=torch.randn(4, 3, size, size), y=torch.arange(4))


def test_sizes_cross_borders() -> None:
    model, data = Tokens(), batch()
    net = lg.localize(model, lg.methods.DGL(max_hidden=16), modules=4, example=data.x[:1])
    assert net.backbone.block_names == ("stem", "blocks.0", "blocks.1", "blocks.2")
    with torch.no_grad():
        assert torch.equal(chained(net.eval(), data.x), model(data.x))
    assert lg.audit(net, data).ok
    assert len(lg.Sequential(net.train(), optimizer=sgd).step(data).losses) == 4


def test_units_with_fixed_sizes_refuse_other_images() -> None:
    model, data = Tokens(), batch(24)
    net = lg.localize(model, lg.methods.DGL(max_hidden=16), modules=2, example=batch().x)
    assert net(data.x).shape == (4, 5)  # inference is the network's own
    with pytest.raises(
        lg.LocalgradError,
        match=r"features of shape \(36, 6\) came to a block that was traced with \(16, 6\)\. Sizes of",
    ):
        chained(net, data.x)


def test_what_depends_on_the_batch_size_does_not_cross() -> None:
    backbone = wrap(Tokens(batch_sized=True), batch().x)
    assert backbone.block_names == ("stem", "blocks")
    assert backbone.source is not None
    assert "'mul' (a int)" in backbone.source.crossings[0]


def test_a_table_that_the_top_level_reads_may_be_shared() -> None:
    class Placed(nn.Module):
        """Adds one table of positions in front of every block."""

        table: Tensor

        def __init__(self, table: Tensor) -> None:
            super().__init__()
            self.stem, self.blocks = (
                nn.Conv2d(3, 6, 4, 4),
                nn.ModuleList(nn.Conv2d(6, 6, 3, padding=1) for _ in range(3)),
            )
            self.head = nn.Linear(6, 5)
            if isinstance(table, nn.Parameter):
                self.table = table
            else:
                self.register_buffer("table", table)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            for block in self.blocks:
                x = block(x + self.table)
            out: Tensor = self.head(x.mean((2, 3)))
            return out

    data = batch()
    net = lg.localize(Placed(torch.rand(6, 4, 4)), lg.methods.DGL(max_hidden=16), modules=4, example=data.x)
    assert len(lg.Sequential(net, optimizer=sgd).step(data).losses) == 4
    with pytest.raises(lg.LocalgradError, match=r"'table' of Placed is used by the units 'stem' and 'blocks.0'"):
        lg.localize(Placed(nn.Parameter(torch.rand(6, 4, 4))), lg.methods.DGL(), modules=4, example=data.x)
