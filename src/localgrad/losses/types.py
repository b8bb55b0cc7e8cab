"""What a loss is: a pure equation from the named outputs of an auxiliary network and a batch to named scalars."""

from collections.abc import Callable, Mapping

from torch import Tensor

from localgrad.spec import Batch

Outputs = Mapping[str, Tensor]
Loss = Callable[[Outputs, Batch], dict[str, Tensor]]
