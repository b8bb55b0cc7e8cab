"""Sections made from the files beside a run: what they show, what they say is missing, and that text stays text."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from localgrad.compare import Comparison
from localgrad.errors import LocalgradError
from localgrad.report import write_report
from localgrad.report.drawing.canvas import Drawing, files_of
from localgrad.report.gaps import gaps
from localgrad.report.groups import make_groups
from localgrad.report.read import ComparisonRecord, read_path, read_run
from localgrad.report.sections.learning import learning
from localgrad.report.tradeoffs import score_of

from .side_files import BLOCKS, DOCUMENTS, cka, plan, write_run, write_sides
from .test_page import HOSTILE, Page, told, written


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_sides(write_run(tmp_path / "dgl-seed0"))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of a run with all files, of one with its cost alone, and of one without labels."""
    folder = tmp_path_factory.mktemp("runs")
    first = write_sides(write_run(folder / "dgl-seed0"))
    second = write_run(folder / "bp-seed0", top1=(70.0, 80.0), method="Backprop")
    cost = DOCUMENTS["cost.json"]()
    cost["macs"]["max_node"], cost["memory"]["peak"] = 4000, 6 * 2**20
    (second / "cost.json").write_text(json.dumps(cost))
    third = write_run(folder / "dgssl-seed0", method="DGSSL", knn={"0": 30.0, "3": 45.5}, linear={"3": 55.0})
    without_labels(third)
    (third / "cost.json").write_text(json.dumps(cost))
    return written(first, second, third, out=folder / "r.html")[1]


def without_labels(folder: Path) -> None:
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row.pop("test", None)
        row.pop("best", None)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_all_sections_are_there(everything: Page) -> None:
    page = everything
    for title in (
        "Results", "Accuracy and what it costs", "Learning curves", "Learning curves of every unit",
        "Accuracy over depth", "Similarity of blocks", "Memory over one training step", "Reach of every loss",
        "Plan of the distributed run", "Transfer to other data", "Feature maps", "Runs", "Conditions",
    ):  # fmt: skip
        assert title in page.text
    for words in (
        "Linear probe of every block, top-1 %",
        "kNN on every block, top-1 %",
        "55.00 linear evaluation",
        "peak 3 MiB, 0.50 of backprop",
        "a loss reaches 1 of 4 units; every loss reads the labels; parameters that no loss reaches: none",
        "mean over the 4 blocks of one name 1.000",
        "2–3",  # processes of stage 1
        "output 16×8×8 and labels of layer1.0",
        "61.25",
        "probe.json, cost.json, audit.json, cka-bp.json, transfer-mnist.json",
    ):
        assert words in page.text, words
    assert "What is missing" not in page.text


def test_sizes_of_what_a_plan_sends(run: Path) -> None:
    """64 samples of 16 x 8 x 8 numbers of 4 bytes, and a label of 8 bytes each."""
    found = read_run(run).sides.plan
    assert found is not None and found.sent[0].size == 64 * (16 * 8 * 8 * 4 + 8)
    assert [unit.seconds for unit in found.units] == [0.001, 0.001, 0.002, 0.002]


def test_feature_maps_are_inside_the_page(everything: Page) -> None:
    page = everything
    (image,) = [own for tag, own in page.tags if tag == "img"]
    assert (image["src"] or "").startswith("data:image/png;base64,iVBOR") and image["alt"] == (
        "Feature maps of dgl, seed 0"
    )


def test_runs_without_labels_have_curves_and_a_place_among_the_others(everything: Page) -> None:
    page = everything
    assert "kNN top-1, %" in page.text and "Linear evaluation, top-1 %" in page.text
    assert "In brackets: what judged frozen features, linear evaluation, instead of a classifier" in page.text
    assert "Without a bubble" not in page.text


def test_a_comparison_by_frozen_features_is_one_everywhere(trained: tuple[Path, Comparison]) -> None:
    """Then the classifiers of supervised runs are beside the point, also in the figures."""
    record = read_path(trained[0])
    assert isinstance(record, ComparisonRecord) and record.comparison is not None
    conditions = {**record.comparison.conditions, "accuracy": "knn"}
    judged = replace(record, comparison=replace(record.comparison, conditions=conditions))
    for records, how in (([record], ""), ([judged], "kNN")):
        scores = [score_of(group) for group in make_groups(records)]
        assert [score.how for score in scores if score is not None] == [how, how]
        assert [score.top1 for score in scores if score is not None] == [row.top1 for row in trained[1].rows]


def test_tables_sort_by_numbers(everything: Page) -> None:
    page = everything
    tables = [own["class"] or "" for tag, own in page.tags if tag == "table"]
    assert sum("sortable" in name for name in tables) == 3
    assert {"60.0", "80.0", "55.0"} <= {own["data-sort"] or "" for _, own in page.tags if "data-sort" in own}


def test_figures_as_files(tmp_path: Path) -> None:
    run = write_run(tmp_path / "dgl-seed0")
    (run / "audit.json").write_text(json.dumps(DOCUMENTS["audit.json"]()))
    write_report([run], tmp_path / "r.html", tmp_path / "figures")
    files = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    keys = ("top1", "loss", "units-test-0", "units-loss-0", "depth", "reach-0")
    assert files.keys() == {f"{key}.{form}" for key in keys for form in ("png", "svg", "pdf")}
    assert (tmp_path / "r.html").read_text().count("<figure") == len(keys)
    assert files["top1.png"].startswith(b"\x89PNG") and files["top1.pdf"].startswith(b"%PDF")
    svg = files["top1.svg"].decode()
    assert "var(--" not in svg and "#1f6feb" in svg and ">Test top-1, %</text>" in svg


def test_figures_that_cannot_be_written(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalgradError, match=r"a figure was not written to .* Give another folder with --figures"):
        write_report([run], tmp_path / "r.html", tmp_path / "file")


def test_nothing_is_missing_silently(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a b-seed0")
    page = told(run)
    for command in (
        f"localgrad report --measure '{run}' -o FILE",
        f"localgrad probe '{run}'",
        f"localgrad cka '{run}' RUN",
        "localgrad plan digits.dgl --ranks N",
        f"localgrad maps '{run}'",
        f"localgrad evaluate '{run}' --data NAME",
    ):
        assert command in page.text
    assert "knn-every" not in page.text  # the run has labels
    without_labels(run)
    assert "--knn-every 1 --linear-every" in told(run).text


def test_no_gaps_where_everything_is_there(run: Path) -> None:
    records = [read_path(run)]
    (alone,) = gaps(make_groups(records), records)
    assert alone.what == "accuracy against MACs and memory, of two or more methods"
    records.append(read_path(write_sides(write_run(run.parent / "bp-seed0"))))
    assert gaps(make_groups(records), records) == []
    assert "Not shown" not in told(run, run.parent / "bp-seed0").text


def test_gaps_name_the_methods_that_lack_something(run: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "bp-seed0")
    page = told(run, other)
    assert "Feature maps (bp): " in page.text and f"localgrad maps {other}" in page.text
    assert f"localgrad maps {run}" not in page.text


def test_a_file_of_similarities_or_a_plan_can_be_given(tmp_path: Path) -> None:
    run = write_run(tmp_path / "dgl-seed0")
    (tmp_path / "alike.json").write_text(json.dumps(cka()))
    (tmp_path / "split.json").write_text(json.dumps(plan()))
    _, page = written(run, tmp_path / "alike.json", tmp_path / "split.json", out=tmp_path / "r.html")
    assert "Similarity of blocks" in page.text and "split.json" in page.text
    assert "localgrad cka" not in page.text and "localgrad plan" not in page.text


@pytest.mark.parametrize("name", DOCUMENTS)
def test_damaged_side_file(run: Path, name: str) -> None:
    whole = read_run(run)
    assert whole.problems == ()
    text = (run / name).read_text()
    for damaged in (text[: len(text) // 2], "", "[]", "null", "[" * 100_000):
        (run / name).write_text(damaged)
        (problem,) = read_run(run).problems
        assert problem.startswith(f"{name} is damaged")
        assert f"dgl-seed0: {name} is damaged" in told(run).text


@pytest.mark.parametrize("name", sorted(DOCUMENTS.keys() - {"plan.json"}))
def test_unknown_kind_is_named(run: Path, name: str) -> None:
    document = {**DOCUMENTS[name](), "kind": "localgrad probe 99"}
    (run / name).write_text(json.dumps(document))
    kind = DOCUMENTS[name]()["kind"]
    assert read_run(run).problems == (f"{name}: expected kind {kind!r}, got 'localgrad probe 99'; left out",)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_incomplete_side_file(run: Path, name: str) -> None:
    """Every key away, and every value of another type: a sentence or the same page, never an exception."""
    document = DOCUMENTS[name]()
    for key in document:
        for value in (None, [], {}, "x", -1, 1e999, [[None]], {"0": None}):
            (run / name).write_text(json.dumps({**document, key: value}))
            for problem in read_run(run).problems:
                assert problem.startswith(name)
        (run / name).write_text(json.dumps({own: one for own, one in document.items() if own != key}))
        read_run(run)
    (run / name).write_text(json.dumps({key: value for key, value in document.items() if key in ("kind", "format")}))
    (problem,) = read_run(run).problems
    assert problem.startswith(f"{name} is incomplete")


def test_ragged_matrices_are_refused(run: Path) -> None:
    for name, change in (("cka-bp.json", {"exact": [[1.0]]}), ("audit.json", {"reach": [[True]]})):
        (run / name).write_text(json.dumps(DOCUMENTS[name]() | change))
    first, second = read_run(run).problems
    assert first.startswith("audit.json is incomplete (ValueError: expected 4 rows")
    assert second == "cka-bp.json is incomplete (ValueError: expected 4 rows of 4 numbers); left out"


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"<svg onload=alert(1)>", b"\x89PNG\r\n\x1a\nhalf"])
def test_maps_that_are_no_whole_png(run: Path, data: bytes) -> None:
    (run / "maps.png").write_bytes(data)
    assert read_run(run).problems == ("maps.png is damaged: it is no whole PNG image; left out",)


def test_a_folder_of_reproduced_runs_needs_no_comparison(tmp_path: Path) -> None:
    write_run(tmp_path / "table" / "dgl-seed0")
    assert "comparison.json cannot be read" in told(tmp_path / "table").text
    (tmp_path / "table" / "reproduction.json").write_text("{}")
    assert "What is missing" not in told(tmp_path / "table").text


def hostile(value: Any) -> Any:
    """Every text in a document made hostile, but for what says what it is."""
    if isinstance(value, dict):
        return {
            name: one if name in ("kind", "format", "wire", "phase") else hostile(one) for name, one in value.items()
        }
    if isinstance(value, list):
        return [hostile(one) for one in value]
    return HOSTILE + value if isinstance(value, str) else value


def test_hostile_text_in_side_files(tmp_path: Path) -> None:
    run = write_sides(write_run(tmp_path / "<img src=x onerror=alert(1)>&quot;\x07\u202e-seed0", method=HOSTILE))
    for name, make in DOCUMENTS.items():
        document = hostile(make())
        if name == "cost.json":
            document["memory"] = make()["memory"]
            document["baseline"] = {**make()["baseline"], "name": HOSTILE}
        (run / name).write_text(json.dumps(document))
    other = write_run(tmp_path / "bp-seed0")
    (other / "cost.json").write_text((run / "cost.json").read_text())
    page, parsed = written(run, other, out=tmp_path / "r.html")
    assert page.count("<script") == 1 and read_run(run).problems == ()
    (image,) = [own for tag, own in parsed.tags if tag == "img"]
    assert image.keys() == {"src", "alt", "width"} and "math" not in {tag for tag, _ in parsed.tags}
    assert not any(name.startswith("on") for _, own in parsed.tags for name in own)
    # In the heat map, the reach matrix, the probes, the plan and tables.
    assert page.count("&lt;script&gt;alert(") > 10
    assert BLOCKS[0] in page


def test_hostile_text_in_figure_files(tmp_path: Path) -> None:
    run = write_run(tmp_path / "</text><script>alert(1)</script>-seed0")
    records = [read_path(run)]
    section = learning(make_groups(records))
    assert section is not None
    for drawing in section.parts:
        assert isinstance(drawing, Drawing)
        svg = files_of(replace(drawing, title=HOSTILE))["svg"].decode()
        ElementTree.fromstring(svg)  # noqa: S314  (a file of our own)
        assert "<script" not in svg and "&lt;script&gt;alert(" in svg
