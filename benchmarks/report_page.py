"""Opens the report in a real browser: no errors, no requests, nothing wider than the screen; leaves screenshots.

    python benchmarks/report_page.py [RUN...] [--out DIR]

Without folders of runs it trains digits runs of two epochs in a new folder --out. Every page is opened at 400 and
1400 px, light and dark, its tables are sorted once, and it is printed. Exit status 1 when something is wrong; 2 where
there is no Chromium.
"""

import argparse
import sys
from pathlib import Path

import chromium

from localgrad.cli import main as localgrad

WIDTHS = (400, 1400)
OVERFLOW = """
(() => {
  const wide = document.documentElement.scrollWidth - innerWidth;
  if (wide <= 0) return [];
  const guilty = [...document.querySelectorAll("body *")].filter((one) => one.getBoundingClientRect().right > innerWidth
    && !one.parentElement.closest(".scroll"));
  return [wide + " px too wide: " + guilty.slice(0, 5).map((one) => one.tagName + "." + one.className).join(", ")];
})()
"""
SORT = """
(() => {
  const wrong = [];
  for (const table of document.querySelectorAll("table.sortable")) {
    const before = table.tBodies[0].rows.length;
    for (const button of table.tHead.querySelectorAll("button")) { button.click(); button.click(); }
    if (table.tBodies[0].rows.length !== before) wrong.push("a table lost rows when it was sorted");
    if (before > 1 && table.tHead.querySelectorAll("th[aria-sort]").length !== 1) wrong.push("a table does not sort");
  }
  return wrong;
})()
"""


def small_runs(folder: Path) -> list[Path]:
    """A comparison and a run without labels, with all that lies beside runs but maps and transfer."""
    compared, other = folder / "compared", folder / "dgssl-seed0"
    first, second = compared / "digits.dgl-seed0", compared / "digits.backprop-seed0"
    small = ["--layers", "8", "--epochs", "2"]
    names = ["digits.backprop", "digits.dgl", "digits.auglocal"]
    for words in (
        ["compare", *names, *small, "--seeds", "0,1", "--out", compared],
        ["train", "digits.dgssl", *small, "--out", other],
        *(["probe", run] for run in (first, second, other)),
        ["cka", first, second],
        ["plan", "digits.dgl", "--layers", "8", "--ranks", "2", "-o", first / "plan.json"],
    ):
        if localgrad(list(map(str, words))) != 0:
            raise SystemExit(1)
    return [compared, other]


def look(page: Path, out: Path, program: str) -> list[str]:
    """Everything that is wrong with a page; its screenshots in ``out``."""
    wrong: list[str] = []
    with chromium.chromium(program) as tab:
        for width in WIDTHS:
            for dark in (False, True):
                name = f"{width}-{'dark' if dark else 'light'}"
                tab.open(page, width, dark=dark)
                tab.value("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
                tab.screenshot(out / f"report-{name}.png")
                found = [*tab.value(OVERFLOW), *tab.value(SORT), *tab.errors()]
                wrong += [f"{name}: {problem}" for problem in found]
        tab.pdf(out / "report-print.pdf")
    return wrong


def main() -> int:
    """Write the report, look at it, say what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=Path("runs/report-page"))
    values = parser.parse_args()
    program = chromium.find()
    if program is None:
        print(f"skipped: none of {', '.join(chromium.NAMES)} is installed (Debian: apt-get install chromium)")
        return 2
    values.out.mkdir(parents=True, exist_ok=True)
    runs = values.runs or small_runs(values.out)
    page = values.out / "report.html"
    if localgrad(["report", "--measure", *map(str, runs), "-o", str(page)]) != 0:
        return 1
    wrong = look(page, values.out, program)
    print("\n".join(wrong) or f"nothing wrong; look at the screenshots in {values.out}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
