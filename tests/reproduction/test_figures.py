"""Figures without training: choosing rows, costs, which number of a run it is, the documents' cells."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from localgrad.errors import LocalgradError
from localgrad.recipes.experiments import Experiment, run_of
from localgrad.reported import find_table
from localgrad.reproduction import choose, figures_of, table
from localgrad.reproduction.costs import cost_figure
from localgrad.reproduction.entries import Entry, Ours, Reproduction, ours_from, with_ratios
from localgrad.reproduction.figures import paper_trainings, ranges, small_table
from localgrad.reproduction.measuring import measure, overhead
from localgrad.reproduction.small import SmallSetting, small_run
from localgrad.reproduction.values import accuracy, kind_of, transferred_top1
from localgrad.reproduction.writing import cells, markdown

TEST = {"top1": 90.0, "top5": 99.0, "units": {"0": 70.0}, "ensemble": {"last": 91.0, "layerwise": 92.0}}


@pytest.mark.parametrize(
    ("metric", "figure", "value"),
    [
        ("test_acc_%", "", 90.0),
        ("test_error_%", "", 10.0),
        ("top5_acc_%", "", 99.0),
        ("top5_error_%", "", 1.0),
        ("test_acc_%", "units.0", 70.0),
        ("test_acc_%", "ensemble.layerwise", 92.0),
    ],
)
def test_accuracies(metric: str, figure: str, value: float) -> None:
    assert accuracy(metric, figure, TEST) == value
    assert kind_of(metric, figure).endswith("last epoch")


def test_rows_are_chosen_by_number_and_by_words() -> None:
    figures = figures_of(find_table("auglocal:1")[1])
    assert [one.number for one in choose(figures, None)] == list(range(1, 55))
    assert [one.number for one in choose(figures, "3, 5-7,1")] == [1, 3, 5, 6, 7]
    named = choose(figures, "stl-10 resnet-32 auglocal")
    assert {one.row.get("d") for one in choose(figures, "AugLocal d=2, DGL k=16")} == {2, None}
    assert len(choose(figures, "d=2")) == 6 and len(choose(figures, "info k=16")) == 3
    assert len(named) == 5 and {(one.row.dataset, one.row.method) for one in named} == {("STL-10", "AugLocal")}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("55", r"^--rows 55: the table has rows 1 to 54; --list shows them\.$"),
        ("7-5", "--rows 7-5: the table has rows 1 to 54"),
        ("augloc1", r"--rows 'augloc1': no row of the table has these words\. Did you mean AugLocal\? Give numbers"),
        ("1,,2", "--rows '': no row of the table has these words"),
    ],
)  # fmt: skip
def test_rows_that_there_are_not(text: str, message: str) -> None:
    with pytest.raises(LocalgradError, match=message):
        choose(figures_of(find_table("auglocal:1")[1]), text)


def test_rows_that_differ_in_the_data_share_a_small_training() -> None:
    figures = figures_of(find_table("auglocal:1")[1])
    small = small_table(figures, SmallSetting("digits", 0, 0, 3), (0, 1), None)
    assert len(small.trainings) == 18 and not small.refused and len(small.changed) == 54
    assert sorted(number for one in small.trainings for number in one.numbers) == list(range(1, 55))
    first = small.trainings[0]
    assert {figures[number - 1].row.dataset for number in first.numbers} == {"CIFAR-10", "SVHN", "STL-10"}
    assert [run.seed for run in first.runs] == [0, 1]
    assert len(paper_trainings(figures, (0,), None, False)) == 54
    assert len({one.name for one in small.trainings}) == 18


def test_tests_on_other_data_are_trained_in_the_paper_budget_only() -> None:
    figures = figures_of(find_table("mlaan:6")[1])
    assert len(paper_trainings(figures, (0,), None, False)) == 6
    small = small_table(figures, SmallSetting("digits", 0, 0, 3), (0,), None)
    assert small.trainings == () and set(small.refused.values()) == {
        "not in the short budget: a test on stl10 needs the paper's images"
    }


TRANSFER = {"kind": "localgrad transfer 1", "data": "stl10", "logits": "all", "top1": 34.5}


@pytest.mark.parametrize("more", [{}, {"epoch": 400, "finished": True}])
def test_top1_on_other_data_is_what_evaluate_wrote(tmp_path: Path, more: dict[str, object]) -> None:
    run = replace(run_of("cifar10.backprop_resnet32", {}), out=tmp_path)
    assert transferred_top1(run, "stl10") == "there is no transfer-stl10.json"
    (tmp_path / "transfer-stl10.json").write_text(json.dumps({**TRANSFER, **more}))
    assert transferred_top1(run, "stl10") == 34.5


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("{", r" is damaged: it is no whole JSON document"),
        ("[" * 10**5, r" is damaged: it is no whole JSON document"),
        ("[34.5]", r" is damaged: expected a JSON object"),
        ("{}", r": expected kind 'localgrad transfer 1', got none"),
        ({"kind": "localgrad probe 1"}, r": expected kind 'localgrad transfer 1', got 'localgrad probe 1'"),
        ({"data": "svhn"}, r": expected data 'stl10', got 'svhn'"),
        ({"logits": "mapped"}, r": expected logits 'all', got 'mapped'"),
        ({"logits": None}, r": expected logits 'all', got None"),
        ({"top1": None}, r": expected top1 in percent, got None"),
        ({"top1": "34.5"}, r": expected top1 in percent, got '34.5'"),
        ({"top1": float("nan")}, r": expected top1 in percent, got nan"),
        ({"top1": 345}, r": expected top1 in percent, got 345"),
        ({"epoch": 3, "finished": False}, r" is of a checkpoint before the last epoch (epoch 3)"),
        ({"finished": None}, r" is of a checkpoint before the last epoch"),
    ],
)
def test_other_documents_are_no_test_on_other_data(tmp_path: Path, document: object, reason: str) -> None:
    text = document if isinstance(document, str) else json.dumps({**TRANSFER, **document})  # type: ignore[dict-item]
    (tmp_path / "transfer-stl10.json").write_text(text)
    run = replace(run_of("cifar10.backprop_resnet32", {}), out=tmp_path)
    assert transferred_top1(run, "stl10") == f"transfer-stl10.json{reason}"


def test_what_is_not_covered_stays_in_the_table() -> None:
    figures = figures_of(find_table("auglocal:12")[1])[:6]
    assert paper_trainings(figures, (0,), None, False) == ()
    text = markdown(Reproduction("auglocal:12", "AugLocal", {"budget": "short", "seeds": [0]},
                                 tuple(Entry(one, reason="not covered: why") for one in figures)))  # fmt: skip
    assert text.count("not covered: why") == 6


def ours(metric: str, recipe: str, **keywords: object) -> Ours:
    return cost_figure(metric, run_of(recipe, keywords))


def test_costs_are_those_of_the_papers_network() -> None:
    assert ours("train_speedup_vs_e2e_x", "cifar10.gndgl_resnet32", groups=1).mean == pytest.approx(1.894, abs=5e-4)
    assert ours("inference_speedup_vs_e2e_x", "cifar10.gndgl_resnet32", modules=1).mean == pytest.approx(
        1.961, abs=5e-4
    )
    memory = ours("gpu_memory_GB_sum_over_gpus", "mnist.backprop_mlp")
    weights = 3 * 4 * (784 * 1024 + 2 * 1024**2)  # and moments, without what is small
    assert memory.unit == "GiB live" and weights < memory.mean * 2**30 < 2 * weights
    assert "batch 128" in memory.kind and "no GPU memory" in memory.kind and "one device" in memory.kind
    with pytest.raises(ValueError, match="mAP"):
        ours("mAP", "cifar10.backprop_resnet32")


def test_memory_has_no_gap_but_a_ratio() -> None:
    figures = [one for one in figures_of(find_table("mlaan:3")[1]) if one.row.network == "ResNet-32"]
    entries = with_ratios([Entry(one, Ours.one(2.0 + i, "GiB live", "live")) for i, one in enumerate(figures)])
    assert [entry.gap for entry in entries] == [None, None]
    assert entries[1].ratio == (2.62 / 3.37, 1.5)
    assert "of backpropagation's: theirs 0.78, ours 1.50" in cells(entries[1])[-1]


def test_a_figure_reads_as_it_was_written() -> None:
    found = Ours.over({0: 90.0, 3: 91.0}, "%", "test top-1, last epoch")
    assert str(found) == "90.50±0.71" and ours_from(found.plain()) == found
    assert ours_from(Ours.one(1.25, "x", "a kind").plain()) == Ours.one(1.25, "x", "a kind")


def test_the_table_warns_above_and_below_and_shows_text_as_it_is() -> None:
    figures = figures_of(find_table("mlaan:4")[1])
    ours = Ours.over({0: 20.0}, "%", "a | kind [red]")
    entries = (*(Entry(one, ours, changed=("digits",)) for one in figures[:2]), Entry(figures[2], reason="[b]why"))
    found = Reproduction("mlaan:4", "MLAAN", {"budget": "short", "seeds": [0]}, entries, "NOT THE PAPER'S")
    console = Console(file=io.StringIO(), width=100)
    console.print(table(found))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert text.count("NOT THE PAPER'S") == 2 and "[b]why" in text and "(+5.92)" in text and "[red]" in text
    assert max(map(len, text.splitlines())) <= 100
    assert "All rows, the paper's in brackets: digits; a | kind" in markdown(found)


def test_numbers_as_ranges() -> None:
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
    assert isinstance(figures_of(find_table("mlaan:4")[1])[0].found, Experiment)


def test_overhead_of_the_same_run_is_small_and_of_more_work_is_not() -> None:
    setting = SmallSetting("digits", 2, 0, 1)
    whole = small_run("cifar10.backprop_resnet32", {}, setting, 0, None)
    more = small_run("cifar10.mlaan_resnet32", {}, setting, 0, None)
    found = measure({"whole": whole, "more": more}, 2, lambda _: None)
    assert (found["whole"].samples, found["whole"].seeds, found["whole"].walks) == (1437, 2, 1)
    assert found["more"].pace.step > found["whole"].pace.step > 0 and found["whole"].pace.evaluation > 0
    assert overhead(more, whole, 3) > 20


def test_a_run_without_labels_is_measured_with_its_probe() -> None:
    run = small_run("cifar10.simclr_resnet50", {}, SmallSetting("digits", 2, 200, 1), 0, None)
    (walk,) = measure({"run": run}, 1, lambda _: None).values()
    assert walk.pace.evaluation == 0.0 and walk.pace.after > 0 and walk.drop_last and walk.steps == 3
    greedy = small_run("cifar10.greedy_dgl_conv4", {}, SmallSetting("digits", 2, 200, 1), 0, None)
    assert measure({"run": greedy}, 1, lambda _: None)["run"].walks == 4
