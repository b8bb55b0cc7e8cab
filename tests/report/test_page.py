"""The page: what it says, that it is self-contained and the same each time, and that nothing in it can run."""

import base64
import hashlib
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from localgrad.compare import Comparison
from localgrad.errors import LocalgradError
from localgrad.report import write_report
from localgrad.report.page import render
from localgrad.report.read import read_path

HOSTILE = "<script>alert(1)</script>\"'&$x^2$"


class Page(HTMLParser):
    """Elements in order and all text."""

    VOID = frozenset({"meta", "line", "path", "img"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def told(*paths: Path) -> Page:
    """The page without its figures, which take longest: what it says in words."""
    return Page(render([read_path(path) for path in paths], []))


def written(*paths: Path, out: Path) -> tuple[str, Page]:
    write_report(paths, out)
    page = out.read_text(encoding="utf-8")
    parsed = Page(page)
    assert not parsed.open
    return page, parsed


def test_page_has_table_curves_runs_and_conditions(
    trained: tuple[Path, Comparison], folder: Path, tmp_path: Path
) -> None:
    _, page = written(folder, out=tmp_path / "r.html")
    for row in trained[1].rows:
        assert str(row.top1) in page.text and f"{row.live_bytes / 2**20:.1f}" in page.text
        for score in row.scores:
            assert f"{score.top1:.2f}" in page.text
    for words in ("n=2 seeds (0, 1)", "mlp-sr", "Backprop", "4/4 blocks", "1/4 blocks", "2/2", "torch", "float32"):
        assert words in page.text
    assert "What is missing" not in page.text
    titles = ("Accuracy against MACs per node", "Accuracy against live memory", "Test top-1, %", "Own heads, top-1 %")
    assert all(title in page.text for title in titles)
    assert len([tag for tag, _ in page.tags if tag == "figure"]) == 7


def test_page_is_self_contained(folder: Path, tmp_path: Path) -> None:
    page, parsed = written(folder, out=tmp_path / "r.html")
    assert "://" not in page and "url(http" not in page and "@import" not in page
    assert not {"link", "img", "iframe", "object"} & {tag for tag, _ in parsed.tags}
    assert [own for tag, own in parsed.tags if tag == "script"] == [{}] and parsed.tags[-1][0] == "script"
    (policy,) = [own["content"] or "" for _, own in parsed.tags if own.get("http-equiv") == "Content-Security-Policy"]
    script = page.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; script-src 'sha256-{digest}';")
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    references = {value for _, own in parsed.tags if (value := own.get("href")) is not None}
    assert references <= {f"#{name}" for name in ids}


def test_figures_use_the_colours_of_the_page(folder: Path, tmp_path: Path) -> None:
    page, _ = written(folder, out=tmp_path / "r.html")
    assert "#a1b2" not in page and "#a1b3" not in page
    assert "stroke: var(--s1)" in page and "stroke-dasharray: 6" in page


def test_same_folders_give_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert written(folder, out=tmp_path / "a.html")[0] == written(folder, out=tmp_path / "b.html")[0]


def test_hostile_names_and_settings_are_text(folder: Path, tmp_path: Path) -> None:
    path = folder / "comparison.json"
    document = json.loads(path.read_text())
    document["rows"][0]["name"] = HOSTILE
    document["rows"][0]["audit_problems"] = [HOSTILE]
    document["conditions"] |= {"command": HOSTILE, HOSTILE: HOSTILE, "gpu": HOSTILE, "threads": [HOSTILE]}
    path.write_text(json.dumps(document))
    run = folder / "dgl-seed0" / "run.json"
    document = json.loads(run.read_text())
    document["facts"]["method"]["head"] = HOSTILE
    document["conditions"]["torch"] = HOSTILE
    run.write_text(json.dumps(document))
    page, parsed = written(folder, out=tmp_path / "r.html")
    assert page.count("<script") == 1 and parsed.text.count(HOSTILE) >= 8
    assert all(
        name in ("class", "id", "title", "aria-label") or HOSTILE not in (own[name] or "")
        for _, own in parsed.tags
        for name in own
    )


def test_runs_are_grouped_by_name_and_settings(folder: Path, tmp_path: Path) -> None:
    paths = [folder / name for name in ("dgl-seed0", "dgl-seed1", "bp-seed0", "dgl-seed0")]
    _, page = written(*paths, out=tmp_path / "r.html")
    assert "Comparison" not in page.text
    legend = page.text[page.text.index("Learning curves") : page.text.index("Test top-1")]
    assert legend == "Learning curvesdglbp"
    assert page.text.count("2/2") == 3


def test_more_groups_than_colours(folder: Path, tmp_path: Path) -> None:
    paths = []
    for index in range(20):
        paths.append(tmp_path / f"variant {index:02}")
        paths[-1].mkdir()
        for name in ("run.json", "metrics.jsonl"):
            (paths[-1] / name).write_bytes((folder / "bp-seed0" / name).read_bytes())
    page, parsed = written(*paths, out=tmp_path / "r.html")
    assert "20 methods" in parsed.text
    samples = page[page.index('class="legend"') : page.index('class="figures"')].split("<li>")[1:]
    styles = {sample.partition("</svg>")[0] for sample in samples}
    assert len(styles) == 20


def test_report_needs_no_torch(folder: Path, tmp_path: Path) -> None:
    # localgrad itself imports torch; the report must not.
    source = Path(__file__).parents[2] / "src" / "localgrad"
    program = f"""
import sys, types
from pathlib import Path
package = types.ModuleType("localgrad")
package.__path__ = [{str(source)!r}]
sys.modules |= {{"localgrad": package, "torch": None}}
from localgrad.report import write_report
from localgrad.report.page import render
from localgrad.report.read import read_path
write_report([Path({str(folder)!r})], Path({str(tmp_path / "r.html")!r}))
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
    assert (tmp_path / "r.html").stat().st_size > 10_000


def test_error_without_matplotlib(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(LocalgradError, match=r'figures need matplotlib.*pip install "localgrad\[report\]"'):
        write_report([folder], tmp_path / "r.html")


def test_error_for_what_is_no_run(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    (tmp_path / "empty").mkdir()
    with pytest.raises(LocalgradError, match="expected at least one folder"):
        write_report([], out)
    with pytest.raises(LocalgradError, match=r"gone: expected the folder of a run or of a comparison, found nothing"):
        write_report([tmp_path / "gone"], out)
    with pytest.raises(LocalgradError, match=r"run\.json: expected the folder of a run.*found a file there"):
        write_report([folder / "bp-seed0" / "run.json"], out)
    with pytest.raises(LocalgradError, match=r"empty holds no run\.json, metrics\.jsonl or comparison\.json"):
        write_report([tmp_path / "empty"], out)
    assert not out.exists()


def test_error_when_the_page_cannot_be_written(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(LocalgradError, match=r"the page was not written to .*compared: .* Give another file with -o"):
        write_report([folder], folder)
    assert not list(tmp_path.glob("*.partial"))


def test_folder_of_the_page_is_made(folder: Path, tmp_path: Path) -> None:
    assert written(folder, out=tmp_path / "a" / "b" / "r.html")[0].startswith("<!DOCTYPE html>")
