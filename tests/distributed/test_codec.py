"""Outputs in fewer bits: what comes out again, and the error that is reported."""

import pytest
import torch

from localgrad.distributed.codec import Codec, decode
from localgrad.placement import Wire


def relative(found: torch.Tensor, h: torch.Tensor) -> float:
    return float((found - h).double().norm() / h.double().norm())


@pytest.mark.parametrize("wire", [Wire.BFLOAT16, Wire.INT8])
def test_the_error_is_what_was_lost(wire: Wire) -> None:
    codec, h = Codec(wire), torch.randn(4, 3, 5, 5)
    assert codec.error is None
    found = decode(codec.encode(h))
    assert found.dtype is torch.float32
    assert codec.error == pytest.approx(relative(found, h), rel=1e-6)
    assert 0 < codec.error < 0.02
    # Two messages are measured as one.
    other = 100 * torch.randn(4, 3, 5, 5)
    both = torch.cat([found, decode(codec.encode(other))])
    assert codec.error == pytest.approx(relative(both, torch.cat([h, other])), rel=1e-6)
    codec.reset()
    assert codec.error is None


def test_float32_sends_the_tensor_itself() -> None:
    codec, h = Codec(Wire.FLOAT32), torch.randn(2, 3)
    assert codec.encode(h)["h"] is h
    assert codec.error is None


@pytest.mark.parametrize("wire", [Wire.BFLOAT16, Wire.INT8])
def test_what_is_in_fewer_bits_already_goes_as_it_is(wire: Wire) -> None:
    codec, h = Codec(wire), torch.randn(2, 3).to(torch.bfloat16)
    tensors = codec.encode(h)
    assert tensors["h"] is h and decode(tensors) is h
    assert codec.error is None


def test_int8_has_a_scale_for_each_sample() -> None:
    h = torch.tensor([[127.0, -50.0, 1.0], [0.0127, -0.0050, 0.0001]])
    tensors = Codec(Wire.INT8).encode(h)
    assert tensors["h"].dtype is torch.int8
    torch.testing.assert_close(tensors["scale"], torch.tensor([1.0, 0.0001]))
    assert tensors["h"].tolist() == [[127, -50, 1], [127, -50, 1]]
    torch.testing.assert_close(decode(tensors), h)


@pytest.mark.parametrize("wire", list(Wire))
def test_zeros_stay_zeros(wire: Wire) -> None:
    codec, h = Codec(wire), torch.zeros(2, 3, 4, 4)
    h[1] = 2.0
    found = decode(codec.encode(h))
    assert torch.equal(found[0], h[0])
    torch.testing.assert_close(found[1], h[1])
    zeros = Codec(wire)
    zeros.encode(torch.zeros(2, 3))
    assert zeros.error in (None, 0.0)


@pytest.mark.parametrize("wire", list(Wire))
def test_channels_last_stays(wire: Wire) -> None:
    h = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    assert decode(Codec(wire).encode(h)).is_contiguous(memory_format=torch.channels_last)
