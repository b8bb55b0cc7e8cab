"""README.md: what it shows runs, and what it and ARCHITECTURE.md name is there."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import localgrad as lg
from localgrad.cli import main
from localgrad.train import train

from .blocks import ROOT, blocks, folder, forgotten, run

README = ROOT / "README.md"
RUN = "runs/digits.auglocal-seed1"
GIVEN = """import torch
images, labels = torch.rand(8, 3, 32, 32), torch.arange(8)
"""


def commands() -> list[str]:
    """The lines of the blocks of commands, without comments; some lines hold several commands side by side."""
    lines = [
        line.partition("#")[0] for block in blocks(README) if block.language == "" for line in block.text.split("\n")
    ]
    return [word.strip() for line in lines for word in re.split(r"(?<=\S) {2,}(?=localgrad )", line) if word.strip()]


def python_blocks() -> list[str]:
    return [block.text for block in blocks(README) if block.language == "python"]


def test_the_five_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    first, *_ = python_blocks()
    with folder(tmp_path, monkeypatch):
        Path("five.py").write_text(f"{GIVEN}{first}print(logits.shape, type(model), len(step.losses))\n")
        printed = run("python five.py", capsys)
    # K=16 and d=6: the last six modules are one unit.
    assert printed == "torch.Size([8, 10]) <class 'torch.nn.modules.container.Sequential'> 11\n"


def test_the_timm_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("timm")
    (line,) = re.findall(r"`(lg\.localize\(timm.*?)`", README.read_text(), re.DOTALL)
    with folder(tmp_path, monkeypatch):
        lines = ["import timm, torch", "import localgrad as lg", "with torch.device('meta'):", f"    net = {line}"]
        Path("foreign.py").write_text("\n".join([*lines, "print(len(net.units))"]))
        assert run("python foreign.py", capsys).split() == ["4"]


def test_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The user's own recipe: its command is audited instead of trained, then one of its epochs is trained."""
    (text,) = [text for text in python_blocks() if text.startswith("# my_exp.py:")]
    command = text.splitlines()[0].partition(": ")[2].strip()
    with folder(tmp_path, monkeypatch):
        Path("my_exp.py").write_text(text)
        assert "audit of 4 units: ok" in run(command.replace("localgrad train", "localgrad audit"), capsys)
        with forgotten():
            import my_exp  # type: ignore[import-not-found]

            result = train(replace(my_exp.my_run(lr=0.05), epochs=1, out=Path("a")))
    assert result.finished


def test_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    done = []
    with folder(tmp_path, monkeypatch):
        for command in commands():
            if command.startswith("make "):
                continue  # installs; its target is looked for below
            words = command.replace("RUN...", RUN).replace("RUN", RUN).replace("FILE", f"file{len(done)}").split()
            verb = words[1]
            if "--data-root" in words:
                # The published files cannot be downloaded here; everything else about the command is right.
                assert main(words[1:]) == 2
                told = capsys.readouterr().err
                assert told.startswith("error: nothing was started:\n- ") and told.count("\n- ") == 1, told
                assert "cifar10: no complete set of files under root=" in told
            elif verb in ("train", "compare") and "--resume" not in words:
                run(" ".join([*words, "--epochs", "1", "--layers", "8"]).replace("0,1", "0"), capsys)
            else:
                assert run(" ".join(words), capsys)
            done.append(verb)
        written = {path.name for path in Path().iterdir()}
    assert {"recipes", "train", "compare", "evaluate", "export", "report", "cost", "audit", "plan", "simulate"} <= set(
        done
    )
    assert "report.html" in written and Path(tmp_path, "runs/mine/comparison.json").exists()


def test_make_targets_and_names_of_the_package() -> None:
    text = README.read_text()
    targets = set(re.findall(r"^make (\w+)", text, re.MULTILINE)) | set(re.findall(r"`make (\w+)", text))
    makefile = (ROOT / "Makefile").read_text()
    assert {"demo", "test"} <= targets
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []
    for dotted in re.findall(r"\blg\.([\w.]+)\(", text):
        found: object = lg
        for name in dotted.split("."):
            found = getattr(found, name)


@pytest.mark.parametrize("name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/add-a-method.md"])
def test_links_and_paths_are_there(name: str) -> None:
    """Links from the file's folder; files and folders in backticks from the root, the package or one of its folders."""
    path = ROOT / name
    text = re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if not link.startswith("http")]
    assert [link for link in links if not (path.parent / link).exists()] == []
    package = ROOT / "src" / "localgrad"
    inside = {part.name for part in package.rglob("*.py")}
    named = [word for word in re.findall(r"`([\w./-]+)`", text) if word.endswith(".py") or re.search(r"\w/", word)]
    own = {"my_method.py"} if name.startswith("docs") else set()
    # What git ignores is made by a command, which may not have run.
    made = {line.strip("/") for line in (ROOT / ".gitignore").read_text().split()}
    missing = [
        word
        for word in named
        if not (ROOT / word).exists() and not (package / word).exists() and word not in inside | own
        if word.split("/")[0] not in made
    ]
    assert [word for word in missing if not word.endswith("decorrelated.py")] == []
