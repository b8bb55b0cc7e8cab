"""The pages of docs/: what they show runs, what they say is up to date; the pages made from the code are complete."""

import inspect
import re
import shlex
from pathlib import Path

import pytest

import localgrad as lg
from localgrad.cli import VERBS
from localgrad.cli.options import run_from_words
from localgrad.cli.recipes import built_in
from localgrad.recipes.experiments import Experiment, experiment
from localgrad.reported import rows
from tools.pages.api import api_pages, home_path, modules, public_names
from tools.pages.check import problems
from tools.pages.choose import PAGE, memory_rows, table_of, written
from tools.pages.command_line import command_line_page
from tools.pages.pictures import pipeline
from tools.pages.recipes import described, recipe_pages
from tools.pages.stage import DOCS, LINK, beside, own

from .blocks import ROOT, blocks, folder, run, shown

WRITTEN = sorted(DOCS.glob("*.md"))
ELSEWHERE = {
    "add-a-method",  # test_tutorial.py
    "lightning-and-timm",  # pieces of the scripts in examples/, which tests/examples runs
    *(path.stem.removeprefix("test_").replace("_", "-") for path in Path(__file__).parent.glob("test_*.py")),
}
"""Pages whose blocks other tests run: a page may have a test file of its own, as reproduce.md has."""
OURS = [page for page in WRITTEN if page.stem not in ELSEWHERE]


@pytest.mark.parametrize("page", [page.stem for page in OURS if "```python" in page.read_text()])
def test_the_python_of_a_page(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Blocks run in order as one program; a block of text right behind one is what it prints."""
    found = blocks(DOCS / f"{page}.md")
    program = [block.text for block in found if block.language == "python"]
    with folder(tmp_path, monkeypatch):
        Path("page.py").write_text('print("start")\n' + '\nprint("-" * 70)\n'.join(program))
        printed = run("python page.py", capsys).split("-" * 70 + "\n")
    # What is printed before the first block, then a part per block.
    assert len(printed) == len(program) and printed[0].startswith("start\n")
    at = -1
    for block, after in zip(found, [*found[1:], None], strict=True):
        at += block.language == "python"
        if block.language == "python" and after is not None and after.language == "text" and "Error" not in after.text:
            gap = (DOCS / f"{page}.md").read_text().split("\n")[block.line + block.text.count("\n") : after.line - 1]
            if not "".join(gap).strip("` "):
                shown(after.text, printed[at])


@pytest.mark.parametrize("page", [page.stem for page in OURS if "localgrad " in page.read_text()])
def test_the_commands_of_a_page_are_understood(page: str) -> None:
    """Recipes are there and have the options; other verbs are verbs."""
    lines = [line for block in blocks(DOCS / f"{page}.md") if block.language == "" for line in block.text.splitlines()]
    joined = "\n".join(lines).replace("\\\n", " ").splitlines()
    for command in (shlex.split(line, comments=True) for line in joined):
        if not command or command[0] != "localgrad":
            continue
        _, verb, *words = command
        assert verb in VERBS, command
        recipe = next((word for word in words if word in built_in()), None)
        if verb == "train" and recipe is not None:
            kept = [word for word in words if word != recipe]
            place = kept.index("--processes") if "--processes" in kept else len(kept)
            run_from_words("train", recipe, kept[:place] + kept[place + 2 :])


def test_commands_between_backticks_name_verbs() -> None:
    for page in [*WRITTEN, ROOT / "README.md"]:
        for verb in re.findall(r"`localgrad (\w+)", page.read_text()):
            assert verb in VERBS, f"{page.name}: localgrad {verb}"


def test_dotted_names_are_there() -> None:
    for page in [*WRITTEN, ROOT / "README.md"]:
        for dotted in re.findall(r"\blg\.(\w+(?:\.\w+)*)", page.read_text()):
            found: object = lg
            for name in dotted.split("."):
                assert hasattr(found, name), f"{page.name}: lg.{dotted}"
                found = getattr(found, name)


def test_links_lead_to_pages_that_are_written_or_made() -> None:
    texts = {**own(), **beside(), **recipe_pages(), **api_pages(), "reference/command-line.md": command_line_page()}
    wrong = [
        f"{name}: {target}"
        for name, text in texts.items()
        if name.endswith(".md")
        for _, target in LINK.findall(re.sub(r"^ *```.*?^ *```$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL))
        if not re.match(r"\w+:", target) and (place := lead(name, target)) not in texts and place != "files/LICENSE"
    ]
    assert wrong == []


def lead(name: str, target: str) -> str:
    """Where a relative link leads, as a path below the folder of pages."""
    return str((Path("/") / name).parent.joinpath(target).resolve()).lstrip("/")


def test_every_page_has_its_place_in_the_navigation() -> None:
    listed = re.findall(r"(?m)^ +- .*?: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text())
    for page in WRITTEN:
        assert page.name in listed, f"docs/{page.name}: give it a line under nav in mkdocs.yml, such as under Guides"
    assert {name for name in listed if "/" not in name} == {page.name for page in WRITTEN}
    assert set(recipe_pages()) | set(api_pages()) <= set(listed), "made pages too"


def test_every_recipe_with_its_options_and_figures() -> None:
    pages = recipe_pages()
    # Functions of the packages that make recipes, or find them, are none.
    assert not [name for name in built_in() if name.startswith(("experiments.", "making."))]
    for name, recipe in built_in().items():
        text = pages[f"reference/recipes/{name.partition('.')[0]}.md"]
        (section,) = re.findall(rf"^## {re.escape(name)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        for option in inspect.signature(recipe).parameters:
            assert f"| `--{option.replace('_', '-')}` |" in section, (name, option)
            assert described(recipe)[option], (name, option)
    shown_figures = sum(int(n) for text in pages.values() for n in re.findall(r'"(\d+) figures of papers"', text))
    assert shown_figures == sum(isinstance(experiment(row), Experiment) for row in rows()) > 900


def test_a_recipe_that_says_nothing_about_an_option() -> None:
    def silent(epochs: int = 1) -> lg.Run:
        """Nothing more."""
        raise NotImplementedError

    with pytest.raises(ValueError, match=r"silent returns a Run, so it is a recipe, but .* no line in Args for epochs"):
        described(silent)


def test_a_figure_stands_with_its_command() -> None:
    line = "| `--depth 2` | test_acc_% | 91.12±0.24 |"
    assert any(text.rstrip().endswith(line) for text in recipe_pages()["reference/recipes/cifar10.md"].splitlines())


def test_every_verb_speaks_for_itself() -> None:
    text = command_line_page()
    assert re.findall(r"^## (\w+)$", text, re.MULTILINE) == list(VERBS)
    assert "localgrad train digits.dgl --help" in text and "--save-every" in text
    assert "localgrad cost --all --help" in text and "localgrad train --resume --help" in text


def test_every_public_name_has_one_home() -> None:
    pages = api_pages()
    entries = [path for text in pages.values() for path in re.findall(r"^::: (\S+)$", text, re.MULTILINE)]
    assert len(entries) == len(set(entries))
    for module in modules():
        for name in public_names(module):
            assert home_path(module, name) in entries, f"{module}.{name}"
    given = {name for name in lg.__all__ if callable(getattr(lg, name))}
    assert given <= set(public_names("localgrad"))
    assert set(lg.methods.__all__) <= set(public_names("localgrad.methods"))
    assert set(lg.backbones.__all__) <= set(public_names("localgrad.backbones"))
    assert all(public_names(module) for module in modules())
    assert {"Block", "Backbone", "Batch"} <= set(public_names("localgrad.spec"))
    assert home_path("localgrad", "Batch") == "localgrad.spec.Batch"


def test_the_tables_of_choose_a_method_are_those_of_their_sources() -> None:
    text = PAGE.read_text()
    assert text == written(text), "make it anew: python -m tools.pages.choose"
    assert "| InfoPro T2 | DGL |  | 91.31 ± 0.12 | 88.52 ± 0.20 | 85.83 ± 0.28 | 83.79 ± 0.36 |" in text
    with pytest.raises(ValueError, match="no place <!-- made: accuracy -->"):
        written("nothing")


def test_the_pictures_are_those_of_their_sources() -> None:
    assert (DOCS / "pipeline.svg").read_text() == pipeline(), "make it anew: python -m tools.pages.pictures"
    counted = memory_rows()
    peaks = re.findall(r"peak ([\d.]+) MiB", (DOCS / "step-memory.svg").read_text())
    assert peaks == [counted[name]["live MiB"] for name in ("backprop", "AugLocal, depth 6", "DGL (mlp-sr)")]


def test_numbers_that_stand_in_several_pages() -> None:
    """Ratios of docs/memory.md wherever a page of prose repeats them."""
    counted = memory_rows()
    prose = (DOCS / "when-it-pays.md").read_text()
    for name, column, line in (
        ("backprop", "recompute", "| backpropagation with `recompute=True` | {} |"),
        ("checkpointing", "ratio", "| checkpointing, as in AugLocal's code | {} |"),
        ("DGL (mlp-sr)", "ratio", "| DGL | {} |"),
        ("DGL (mlp-sr)", "recompute", "| DGL with `recompute=True` | {} |"),
        ("AugLocal, depth 6", "ratio", "| AugLocal, depth 6 | {} |"),
        ("AugLocal, depth 6", "recompute", "| AugLocal, depth 6, recomputed | {} |"),
    ):
        assert line.format(counted[name][column]) in prose, name


def test_step_times_are_those_of_the_results() -> None:
    """docs/figures.md and the README against the files in benchmarks/results that they name."""
    text = (DOCS / "figures.md").read_text()
    found = re.findall(r"^\| \[.*?\]\(\.\./(benchmarks/results/\S+-step-time-\S+)\).*? \| (.*) \|$", text, re.MULTILINE)
    assert len(found) == 6
    methods, told = ("DGL", "AugLocal d=2", "AugLocal d=6"), []
    for path, cells in found:
        rows_of = {row[0]: row for row in table_of((ROOT / path).read_text())}
        ratios = [f"{float(rows_of[f'{method}, float32'][2]):.2f}" for method in methods]
        assert cells.split(" | ") == ratios, path
        told.append([float(ratio) for ratio in ratios])
    ranges = [f"{min(ratios):.2f} to {max(ratios):.2f}" for ratios in zip(*told, strict=True)]
    assert ranges[0] in (ROOT / "README.md").read_text() and ranges[0] in (DOCS / "when-it-pays.md").read_text()


def test_the_table_of_memory_is_the_same_in_readme_and_figures() -> None:
    lines = [line for line in (ROOT / "README.md").read_text().splitlines() if line.startswith("| ResNet-")]
    assert len(lines) == 2 and all(line in (DOCS / "figures.md").read_text().splitlines() for line in lines)
    counted = memory_rows()
    names = ("checkpointing", "DGL (mlp-sr)", "AugLocal, depth 2", "AugLocal, depth 6")
    assert " | ".join(counted[name]["ratio"] for name in names) in lines[0]


CLEAN = '<html><head><link rel="stylesheet" href="a.css"></head><body><a href="https://example.org">x</a></body></html>'


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("i.html", '<script src="https://cdn.example/x.js"></script>', "<script>: https://cdn.example/x.js"),
        ("i.html", '<link rel="preconnect" href="//fonts.example">', "<link>: //fonts.example"),
        ("i.html", '<img srcset="a.png, https://img.example/b.png 2x">', "<img>: https://img.example/b.png"),
        ("i.html", "<p style=\"background:url('https://img.example/b.png')\">", "<p>: https://img.example/b.png"),
        (
            "i.html",
            '<style>@import "https://fonts.example/f.css";</style>',
            "another host: https://fonts.example/f.css",
        ),
        ("i.html", '<pre class="mermaid"></pre>', "what the theme's script loads for it"),
        (
            "a.css",
            "@font-face{src:url(https://fonts.example/f.woff2)}",
            "a.css asks another host: https://fonts.example",
        ),
    ],
)
def test_a_site_that_asks_another_host(tmp_path: Path, name: str, text: str, told: str) -> None:
    (tmp_path / "i.html").write_text(CLEAN)
    (tmp_path / "a.css").write_text("p{color:red}")
    before = list(problems(tmp_path))
    assert all("is on no page" in line for line in before) and len(before) > 100  # of this page shows no name
    (tmp_path / name).write_text(CLEAN + text)
    (found,) = [line for line in problems(tmp_path) if "is on no page" not in line]
    assert told in found


def test_no_site() -> None:
    assert "found none. Build it first: make docs." in next(problems(ROOT / "src" / "localgrad" / "reported"))
