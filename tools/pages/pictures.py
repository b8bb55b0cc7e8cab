"""``python -m tools.pages.pictures``: writes docs/step-memory.svg and docs/pipeline.svg.

The first is what ``localgrad.cost.memory`` counts operator by operator, the second a schedule worked out here.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import localgrad as lg

DOCS = Path(__file__).parents[2] / "docs"
STYLE = (
    "text{fill:#1d2733}.m{fill:#5c6875}.axis{stroke:#5c6875;fill:none}.l0{stroke:#5c6875}.l1{stroke:#33587f}"
    ".l2{stroke:#b3591e}.line{stroke-width:2;fill:none}.f{fill:#dbe7f5;stroke:#33587f}.b{fill:#fbe9cf;stroke:#96631a}"
    ".u{fill:#dff0df;stroke:#3c7a3c}@media (prefers-color-scheme:dark){text{fill:#e8edf2}.m{fill:#a9b4c0}"
    ".axis,.l0{stroke:#a9b4c0}.l1{stroke:#8fb5de}.l2{stroke:#f0a35e}.f{fill:#24405f;stroke:#8fb5de}"
    ".b{fill:#5b431d;stroke:#e3b566}.u{fill:#234a27;stroke:#8fd08f}}"
)
BATCH = 1024
METHODS = (
    ("backpropagation", lg.methods.Backprop(), 1),
    ("AugLocal, depth 6", lg.methods.AugLocal(depth=6), 16),
    ("DGL", lg.methods.DGL(), 16),
)


def svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    """A picture that follows the reader's light or dark scheme."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{label}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="13">\n<style>{STYLE}</style>\n'
    )
    return head + "\n".join(parts) + "\n</svg>\n"


def step_memory() -> str:
    """Live bytes over one training step of ResNet-32, for three methods."""
    lines = []
    for name, method, modules in METHODS:
        net = lg.localize(lg.backbones.resnet32(), method, modules)
        counted = lg.cost.memory(net, BATCH)
        lines.append((name, [moment.live / 2**20 for moment in counted.timeline]))
    return draw_memory(lines)


def draw_memory(lines: Sequence[tuple[str, Sequence[float]]]) -> str:
    """Curves in MiB over the operators of a step, each stretched to the same width, with their peaks."""
    left, top, width, height, most = 60.0, 20.0, 560.0, 220.0, 2600.0

    def y(value: float) -> float:
        return top + height * (1 - value / most)

    parts = [f'<path class="axis" d="M{left} {top}V{top + height}H{left + width}"/>']
    for value in (0, 500, 1000, 1500, 2000, 2500):
        parts.append(f'<text class="m" x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value}</text>')
    parts.append(f'<text class="m" x="{left + width / 2}" y="{top + height + 20}" text-anchor="middle">one step, '
                 "operator by operator (each curve stretched to the same width)</text>")  # fmt: skip
    parts.append(f'<text class="m" x="{left + 6}" y="14">live MiB</text>')
    for place, (name, values) in enumerate(lines):
        points = " ".join(f"{left + width * at:.1f},{y(value):.1f}" for at, value in thinned(values))
        parts.append(f'<polyline class="line l{place}" points="{points}"/>')
        parts.append(f'<path class="line l{place}" d="M{left + width + 20} {46 + 44 * place}h24"/>')
        parts.append(f'<text x="{left + width + 52}" y="{50 + 44 * place}">{name}</text>')
        parts.append(f'<text class="m" x="{left + width + 52}" y="{66 + 44 * place}">peak {max(values):.1f} MiB</text>')
    label = "Live memory over a training step: backpropagation rises to its peak and falls; units rise and fall in turn"
    return svg(840, 280, label, parts)


def thinned(values: Sequence[float], pieces: int = 140) -> Iterator[tuple[float, float]]:
    """Place in [0, 1] and value, the least and the most of every piece."""
    size = max(1, len(values) // pieces)
    for start in range(0, len(values), size):
        piece = values[start : start + size]
        for value in sorted({min(piece), max(piece)}, reverse=piece[0] > piece[-1]):
            yield start / len(values), value


Bar = tuple[int, float, float, str, str]
"""Stage, start, length, class and text of a box in a schedule."""


def one_f_one_b(stages: int, parts: int, flushes: int) -> list[Bar]:
    """1F1B: forward of a micro-batch takes 1, backward 2; all wait for the last backward of a mini-batch."""
    bars, begin = list[Bar](), 0.0
    for batch in range(flushes):
        order = []
        for stage in range(stages):
            ahead = min(stages - stage, parts)
            steady = [kind for n in range(parts) for kind in (("b", n), ("f", n + ahead)) if kind[1] < parts]
            order.append([("f", n) for n in range(ahead)] + steady)
        done: dict[tuple[int, str, int], float] = {}
        free, at = [begin] * stages, [0] * stages
        while any(at[stage] < len(order[stage]) for stage in range(stages)):
            for stage in range(stages):
                if at[stage] == len(order[stage]):
                    continue
                kind, n = order[stage][at[stage]]
                before = (stage - 1, "f", n) if kind == "f" else (stage + 1, "b", n)
                if 0 <= before[0] < stages and before not in done:
                    continue
                length = 1.0 if kind == "f" else 2.0
                start = max(free[stage], done.get(before, begin))
                done[stage, kind, n] = free[stage] = start + length
                at[stage] += 1
                bars.append((stage, start, length, kind, "ABC"[batch]))
        begin = max(free)
    return bars


def local(stages: int, length: float, batches: int) -> list[Bar]:
    """Local learning: a unit takes the next mini-batch as soon as it is there; output is handed on after a third."""
    return [
        (stage, stage * length / 3 + batch * length, length, "u", "ABCDE"[batch])
        for stage in range(stages)
        for batch in range(batches)
    ]


def pipeline() -> str:
    """Both schedules, three stages, four micro-batches; a unit's auxiliary network adds a twelfth."""
    parts: list[str] = []
    rows = (
        ("Backpropagation as a 1F1B pipeline: stages wait at every mini-batch", one_f_one_b(3, 4, 2), 30),
        ("Local learning: a unit per stage, waiting only until the first mini-batch comes", local(3, 13, 2), 160),
    )
    for title, bars, top in rows:
        parts.append(f'<text x="10" y="{top - 10}" font-weight="bold">{title}</text>')
        for stage in range(3):
            parts.append(f'<text class="m" x="10" y="{top + 17 + 28 * stage}">stage {stage + 1}</text>')
        for stage, start, length, kind, text in bars:
            x, y = 70 + 18 * start, top + 28 * stage
            parts.append(f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{18 * length:.1f}" height="24"/>')
            middle = x + 9 * length
            parts.append(f'<text x="{middle:.1f}" y="{y + 17}" text-anchor="middle" font-size="11">{text}</text>')
    legend = (
        (70, "f", "forward of a micro-batch"),
        (270, "b", "backward"),
        (390, "u", "forward, loss, backward, update of a unit"),
    )
    for x, kind, text in legend:
        parts.append(f'<rect class="{kind}" x="{x}" y="262" width="16" height="14"/>')
        parts.append(f'<text class="m" x="{x + 22}" y="274">{text}</text>')
    return svg(760, 286, "Schedules of a 1F1B pipeline and of local learning on three stages", parts)


if __name__ == "__main__":
    (DOCS / "pipeline.svg").write_text(pipeline(), encoding="utf-8")
    (DOCS / "step-memory.svg").write_text(step_memory(), encoding="utf-8")
