"""The recipe against the check values of the golden files: where these fail, no trace can be compared."""

import pytest
import torch

from .recipe import golden, hashed, images, tensor_value

CHECK = golden("train_traces")["check_values"]


@pytest.mark.parametrize(("count", "key"), [(4, 0), (4, 1), (3, 1000)])
def test_hash(count: int, key: int) -> None:
    assert hashed(count, key).tolist() == CHECK[f"hash_u({count},{key})"]


def test_weights() -> None:
    value = tensor_value((16, 3, 3, 3), 0, "conv")
    assert value.dtype == torch.float32
    assert value.flatten()[:4].tolist() == CHECK["fill((16,3,3,3),0,conv).flat[:4]"]


def test_images() -> None:
    x = images(8)
    assert x.double().sum().item() == pytest.approx(CHECK["images(8) sum"], abs=1e-6)
    assert x.flatten()[:4].tolist() == CHECK["images(8).flat[:4]"]
    assert x[7, 2, 31, 28:32].tolist() == CHECK["images(8)[7,2,31,28:32]"]
