"""docs/add-a-method.md, run from top to bottom in an empty folder."""

import json
import re
import shutil
from pathlib import Path

import pytest

import localgrad as lg
from localgrad.cli import main
from localgrad.testing import check_method

from .blocks import ROOT, CodeBlock, blocks, folder, forgotten, python, run, shown

TUTORIAL = ROOT / "docs" / "add-a-method.md"


def write(block: CodeBlock) -> None:
    """A Python block into the file that its first line names."""
    named = re.match(r"# ([\w.]+)(, continued)?\n", block.text)
    assert named, f"the block at line {block.line} names no file"
    text = block.text.removeprefix(named[0]) if named[2] else block.text
    with Path(named[1]).open("a" if named[2] else "x") as file:
        file.write(("\n\n" if named[2] else "") + text)


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    commands: dict[str, str] = {}
    broken = ""
    with folder(tmp_path, monkeypatch):
        for block in blocks(TUTORIAL):
            if block.language == "python":
                write(block)
            elif block.language == "":
                printed = ""
                for command in block.text.splitlines():
                    printed = commands[command] = run(command, capsys)
            elif block.text.startswith("- locality"):
                broken = block.text.strip()
            else:
                shown(block.text, printed)
        check_promises(commands, capsys)
        with forgotten():
            check_told(broken)


def check_promises(commands: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    """What the text says that the commands do."""
    by_verb = {command.split()[1]: printed for command, printed in commands.items() if command.startswith("localgrad")}
    assert "audit of 7 units: ok" in by_verb["audit"]
    assert re.search(r"my_method\.py:my_run +4 ", by_verb["cost"])
    # A network that learnt nothing has 10 %.
    assert float(re.findall(r"finished: test top-1 (\S+) %", by_verb["train"])[0]) > 60
    assert by_verb["train"].rstrip().endswith("in runs/my_method.my_run-seed1")
    assert len(re.findall(r"own head top-1", by_verb["evaluate"])) == 7
    facts = json.loads(Path("runs/my_method.my_run-seed1/run.json").read_text())["facts"]
    assert facts["seed"] == 1
    assert facts["method"] == {"kind": "Decorrelated", "weight": 1.0, "features": 64}
    rows = [json.loads(line) for line in Path("runs/my_method.my_run-seed1/metrics.jsonl").read_text().splitlines()]
    first, last = rows[0]["train"], rows[-2]["train"]
    assert set(first["0"]) == {"task.ce", "decor.decor"}
    assert set(first["6"]) == {"ce"}
    assert all(last[unit]["task.ce"] < first[unit]["task.ce"] for unit in map(str, range(6)))
    assert lg.load("digits.safetensors") is not None
    assert "digits.dgl" in by_verb["compare"] and "my_method.py:my_run" in by_verb["compare"]
    assert {path.name for path in Path("runs/mine").iterdir() if path.is_dir()} >= {
        "digits.dgl-seed0",
        "digits.dgl-seed1",
    }
    assert all("<svg" in Path(page).read_text() for page in ("mine.html", "compared.html"))
    assert "% after epoch 2" in commands["python train_it.py"]
    assert re.search(r"^3 passed", commands["python -m pytest test_my_method.py"], re.MULTILINE)
    told = run("localgrad train my_method.py:my_run --help", capsys)
    assert "of the decorrelation term (type: float, default: 1.0)" in " ".join(told.split())
    with forgotten():
        assert main(["train", "my_method.py:my_run", "--weight", "-1"]) == 2
    assert "at least 2 features, got weight=-1.0, features=64." in capsys.readouterr().err


def check_told(broken: str) -> None:
    """The error that the page shows for a loss that reads labels without saying so."""
    from dataclasses import dataclass, replace

    import my_method  # type: ignore[import-not-found]

    @dataclass(frozen=True)
    class Undeclared(my_method.Decorrelated):  # type: ignore[misc]
        def with_penalty(self, unit: lg.objective.UnitSpec) -> object:
            (task,) = unit.objectives
            return replace(unit, objectives=(replace(task, needs=frozenset()),))

    with pytest.raises(lg.LocalgradError, match=re.escape(broken)):
        check_method(Undeclared())


RECIPE = '''
def decorrelated(weight: float = 1.0, epochs: int = 16, seed: int = 0) -> Run:
    """Decorrelated local learning on the digits."""
    return _run(Decorrelated(weight), None, 14, epochs, seed)
'''


def test_one_file_one_export_one_recipe(tmp_path: Path) -> None:
    """The last section, done on a copy of the package: the contract tests find the method by themselves."""
    package, tests = tmp_path / "src" / "localgrad", tmp_path / "tests"
    shutil.copytree(ROOT / "src" / "localgrad", package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "contract", tests / "contract", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("__init__.py", "conftest.py", "test_import_direction.py"):
        shutil.copy(ROOT / "tests" / name, tests / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    parts = [block.text for block in blocks(TUTORIAL) if block.text.startswith("# my_method.py")]
    text = "\n\n".join(part for part in parts if "def my_run" not in part)
    text = text.replace("import localgrad as lg\n", PACKAGE_IMPORTS)
    text = re.sub(r"\blg\.(\w+)", r"\1", text).replace("equal_blocks(", "EqualBlocks(")
    (package / "methods" / "decorrelated.py").write_text(text)
    exported = package / "methods" / "__init__.py"
    exported.write_text(
        exported.read_text().replace("__all__ = [", '__all__ = ["Decorrelated", ')
        + "from localgrad.methods.decorrelated import Decorrelated as Decorrelated\n"
    )
    recipes = package / "recipes" / "digits.py"
    recipes.write_text("from localgrad.methods import Decorrelated\n" + recipes.read_text() + RECIPE)
    (line,) = [block.text for block in blocks(TUTORIAL) if block.text.startswith("# cases.py")]
    cases = tests / "contract" / "cases.py"
    cases.write_text(cases.read_text() + line)

    (tests / "test_listed.py").write_text(LISTED)
    words = ["-m", "pytest", "-p", "no:cacheprovider", "-k", "Decorrelated or direction", "tests"]
    printed = python(words, tmp_path, PYTHONPATH=str(tmp_path / "src"))
    assert int(re.findall(r"(\d+) passed", printed)[0]) > 20


LISTED = """
from localgrad.cli.options import summary
from localgrad.cli.recipes import built_in
from localgrad.methods import Decorrelated


def test_recipe_of_Decorrelated():
    recipe = built_in()["digits.decorrelated"]
    assert summary(recipe) == "Decorrelated local learning on the digits."
    assert recipe(weight=2.0).method == Decorrelated(2.0)
"""
PACKAGE_IMPORTS = """
from localgrad.errors import LocalgradError
from localgrad.partition import EqualBlocks
from localgrad.spec import Backbone, Batch, Partition
"""
