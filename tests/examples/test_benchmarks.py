"""The commands that measure on a GPU run on the CPU too, and say what failed."""

import importlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from localgrad.backbones import cifar_resnet
from localgrad.methods import DGL, Backprop

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Imports a benchmark as its own command would."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    return importlib.import_module


def test_rows(benchmark: Any) -> None:
    rows = benchmark("gpu_rows")
    chosen = [str(row) for row in rows.select(["default"], on_gpu=True)]
    assert len(set(chosen)) == len(chosen)
    for network in ("resnet32", "resnet110"):
        assert {f"{network}/{method}/{p}/eager" for method in rows.METHODS for p in rows.PRECISIONS} <= set(chosen)
    fast = {f"/{m}/{p}/{mode}" for m in rows.FAST for p in rows.PRECISIONS for mode in ("compile", "graph")}
    assert {network + row for network in rows.NETWORKS for row in fast} <= set(chosen)
    assert not any("graph" in str(row) for row in rows.select(["default"], on_gpu=False))
    (row,) = rows.select(["resnet32/auglocal6/bfloat16/compile+graph+streams4"], on_gpu=True)
    assert row.engine == {"precision": "bfloat16", "compile": True, "graph": True, "streams": 4}
    assert (str(row.eager), row.channels_last) == ("resnet32/auglocal6/bfloat16/eager", True)
    assert rows.parse("resnet50/dgl/float32/recompute+contiguous").eager.mode == "eager+contiguous"
    for wrong in ("resnet32/dgl/float32", "resnet32/dgl/float16/eager", "resnet32/dgl/float32/fast", "vgg*"):
        with pytest.raises(Exception, match=r"expected NETWORK|is none of|matches none") as error:
            rows.select([wrong], on_gpu=True)
        assert type(error.value).__name__ == "ArgumentTypeError"


def test_gpu_command_on_the_cpu(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, gpu = benchmark("gpu_rows"), benchmark("gpu")
    small = replace(
        rows.NETWORKS["resnet32"],
        build=lambda _: cifar_resnet(8, 10, image=(3, 8, 8)),
        modules=4,
        methods={"backprop": Backprop(), "dgl": DGL()},
        cpu_batch=4,
        cpu_pixels=8,
    )
    monkeypatch.setitem(rows.NETWORKS, "resnet32", small)
    monkeypatch.setattr(gpu.Bench, "live", lambda *_: 7)  # what cost.memory says has tests of its own
    names = [f"resnet32/{row}" for row in ("backprop/float32/eager", "dgl/float32/eager", "dgl/float32/fused")]
    wrong = "resnet32/dgl/float32/streams2"
    out = tmp_path / "found"
    command = [
        "gpu.py",
        "--device",
        "cpu",
        "--rows",
        *names,
        "--out",
        str(out),
        "--commit",
        "abc",
        "--rounds",
        "3",
        "--burst",
        "1",
    ]
    monkeypatch.setattr(sys, "argv", command)
    assert gpu.main() == 0
    assert "CPU run: no GPU is used" in capsys.readouterr().out
    found = json.loads(out.with_suffix(".json").read_text())
    assert [row["row"] for row in found["rows"]] == names and found["conditions"]["commit"] == "abc"
    assert all(len(row["time"]["seconds"]) == 3 and row["live"] > 0 for row in found["rows"])
    assert [row["units"] for row in found["rows"]] == [1, 4, 4]
    assert (found["rows"][2]["loss_difference"], found["rows"][2]["update_difference"]) == (0, 0)
    assert out.with_suffix(".md").read_text().startswith("# Step time and memory: a CPU run")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--rows", wrong])
    assert gpu.main() == 1
    assert f"FAILED {wrong}: LocalgradError: Sequential: streams=2 are queues of a GPU" in capsys.readouterr().err


def test_other_results_than_eager_fail(benchmark: Any) -> None:
    measure, rows = benchmark("gpu_measure"), benchmark("gpu_rows")
    row = rows.Row("resnet32", "dgl", "float32", "fused")
    bench = measure.Bench("resnet32", torch.device("cpu"), 2, print)
    bench.nets = {("dgl", "{}"): torch.nn.Linear(1, 1, bias=False)}
    start = bench.nets["dgl", "{}"].weight.detach().flatten()
    bench.running[row.eager] = measure.Running(None, None, [1.0], start + 1)
    assert bench.compare(row, measure.Running(None, None, [1.001], start + 1.05))[2] is None
    assert "first step by 1.0e-02" in bench.compare(row, measure.Running(None, None, [1.01], start + 1))[2]
    assert "steps by 0.33 of" in bench.compare(row, measure.Running(None, None, [1.0], start + 1 + 1 / 3))[2]


def test_target_text(benchmark: Any) -> None:
    measure, rows, report = benchmark("gpu_measure"), benchmark("gpu_rows"), benchmark("gpu_report")

    def result(text: str, seconds: float) -> Any:
        row = rows.parse(text)
        return row, measure.Result(row, time=measure.StepTime((seconds, seconds)))

    results = dict(
        [
            result("resnet110/backprop/float32/eager", 1.0),
            result("resnet110/backprop/float32/eager+contiguous", 0.9),
            result("resnet110/auglocal6/float32/eager", 2.6),
            result("resnet110/auglocal6/bfloat16/graph", 0.99),
        ]
    )
    first, fastest = report.targets(results, judged=True)
    assert first.endswith("float32 eager: 2.60, at most 2.5: MISSED")
    assert fastest.endswith("(bfloat16 graph) to eager+contiguous float32 backprop: 1.10, at most 1.2: met")
    assert report.targets(results, judged=False)[0].endswith("not judged")


def test_cifar_command(
    benchmark: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        files = []
        for _ in range(20):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(file, "JPEG")
            files.append(file.getvalue())
        arrays: dict[str, Any] = {
            "jpeg": np.frombuffer(b"".join(files), np.uint8),
            "offsets": np.cumsum([0, *map(len, files)]),
            "labels": np.arange(20) % 10,
            "classes": [f"class{index}" for index in range(10)],
        }
        np.savez(tmp_path / f"cifar10_jpeg_{split}.npz", **arrays)
    cifar = benchmark("cifar")
    monkeypatch.setattr(cifar.lg.backbones, "resnet32", lambda: cifar_resnet(8, 10))
    monkeypatch.setitem(cifar.METHODS, "dgl", (DGL(), 4))
    out = tmp_path / "curve"
    options = ["--device", "cpu", "--images", "16", "--batch", "8", "--rows", "backprop", "dgl", "--minutes", "0.03"]
    monkeypatch.setattr(sys, "argv", ["cifar.py", "--data", str(tmp_path), *options, "--out", str(out)])
    assert cifar.main() == 0
    found = json.loads(out.with_suffix(".json").read_text())
    planned = found["rows"][0]["planned"]
    assert [row["name"] for row in found["rows"]] == ["backprop", "dgl"] and planned >= 1
    assert [one["epoch"] for one in found["rows"][0]["epochs"]] == list(range(1, len(found["rows"][0]["epochs"]) + 1))
    assert found["conditions"]["training images"] == 16
    assert "Target (AugLocal d=6): not run." in out.with_suffix(".md").read_text()
    assert "packed JPEGs" in capsys.readouterr().out
    curve = cifar.Curve(
        "auglocal6", 20, [cifar.Epoch(i, 2.0 if i == 1 else 1.0, i + 1.0, 1.0, 50.0) for i in range(1, 21)]
    )
    assert cifar.target([curve], on_gpu=True, whole=True).endswith(
        "6.7 minutes (extrapolated from 20 epochs, evaluation not counted): met."
    )
    assert "not judged" in cifar.target([curve], on_gpu=True, whole=False)
