"""The reach matrix as text."""

from collections.abc import Sequence

LEGEND = (
    "row: the loss of a unit; column: parameters that a unit holds; x reached, . not reached",
    "labels: whether the loss changes with them; reach: how many units the loss says it updates",
)


def matrix_text(
    names: Sequence[str], reach: Sequence[Sequence[bool]], declared: Sequence[int], labels: Sequence[bool]
) -> list[str]:
    """Lines of a table: index and name of a unit, what its loss reaches, labels, declared reach; and a legend."""
    width, column = max(len(name) for name in names), len(str(len(names) - 1))
    columns = " ".join(f"{index:>{column}}" for index in range(len(names)))
    lines = [f"{'':{column}} {'':{width}}  {columns}  labels  reach"]
    for index, (name, row, used, declares) in enumerate(zip(names, reach, labels, declared, strict=True)):
        cells = " ".join(f"{'x' if cell else '.':>{column}}" for cell in row)
        lines.append(f"{index:>{column}} {name:{width}}  {cells}  {'used' if used else 'no':6}  {declares}")
    return [*lines, *LEGEND]
