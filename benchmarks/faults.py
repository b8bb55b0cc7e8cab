"""Kill -9 a random process of a distributed run at a random moment, again and again: always resumed, nothing lost.

Every trial trains the same recipe with ``--processes N``, kills one of the N at a random time after training has begun
(or while it starts again after the kill before), and in the end compares all weights, optimiser states and rows of
metrics with those of one undisturbed process, bit for bit.

    python benchmarks/faults.py [--kills 20] [--processes 3] [--seed 0] [--out benchmarks/results/FILE.md]
"""

import argparse
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import torch

import localgrad as lg
from localgrad.train.newest import read_newest

RECIPE = ("digits.dgl", "--epochs", "8", "--seed", "3")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PER_RUN = 2
"""Kills of one run; --processes starts it again at most three times."""


def command(folder: Path, *more: str) -> list[str]:
    """The command that trains into a folder."""
    return [sys.executable, "-m", "localgrad", "train", *RECIPE, "--out", str(folder), *more]


def ranks_of(launcher: int) -> list[int]:
    """The processes that a launcher has started."""
    words = ["ps", "-o", "pid=,args=", "--ppid", str(launcher)]
    listed = subprocess.run(words, capture_output=True, text=True, check=False)
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "localgrad train" in line]


def rows(folder: Path) -> list[dict[str, object]]:
    """The rows of a run's metrics without times."""
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def disturbed(folder: Path, processes: int, kills: int, rng: random.Random) -> list[str]:
    """Train and kill; returns what was done, in words. Raises SystemExit when the run does not end well."""
    log = (folder.parent / f"{folder.name}.log").open("w")
    run = subprocess.Popen(
        command(folder, "--processes", str(processes), "--save-every", "5"), stdout=log, stderr=log, env=ENVIRONMENT
    )
    done = []
    try:
        for _ in range(kills):
            before = set(ranks_of(run.pid))
            begun = time.monotonic()
            # Not before anything was trained, and not only in the first epoch.
            while not (folder / "metrics.rank-0.jsonl").exists() and time.monotonic() - begun < 60:
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 4))
            alive = ranks_of(run.pid)
            if not alive:
                break
            victim = rng.choice(alive)
            os.kill(victim, signal.SIGKILL)
            done.append(f"one of {len(alive)} processes{' while starting again' if set(alive) != before else ''}")
            time.sleep(0.5)
        if run.wait(timeout=240) != 0:
            raise SystemExit(f"the run ended with status {run.returncode}: {log.name}")
    finally:
        if run.poll() is None:
            run.terminate()
            run.wait()
    return done


def same(folder: Path, expected: Path) -> list[str]:
    """Where two runs differ."""
    (_, mine, _), (_, theirs, _) = read_newest(folder), read_newest(expected)
    names = sorted(name for name in theirs if not name.startswith("random."))
    found = [name for name in names if name not in mine or not torch.equal(mine[name], theirs[name])]
    return found + ([] if rows(folder) == rows(expected) else ["rows of metrics.jsonl"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)  # noqa: S311
    home = Path(tempfile.mkdtemp(prefix="localgrad-faults-"))
    subprocess.run(command(home / "expected"), check=True, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    total, lines = 0, list[str]()
    while total < options.kills:
        folder = home / f"run-{len(lines)}"
        kills = disturbed(folder, options.processes, min(PER_RUN, options.kills - total), rng)
        differences = same(folder, home / "expected")
        lines.append(f"| {len(lines)} | {len(kills)}: {'; '.join(kills)} | {', '.join(differences) or 'nothing'} |")
        print(lines[-1], flush=True)
        if differences:
            raise SystemExit(f"{folder} differs from {home / 'expected'}")
        total += len(kills)
    shutil.rmtree(home)
    text = "\n".join(
        [
            "# Kill -9 of random processes of a distributed run",
            "",
            f"{total} kills in {len(lines)} runs of `localgrad train {' '.join(RECIPE)} --processes "
            f"{options.processes} --save-every 5`; every run went on from its checkpoint and ended in the weights, "
            "optimiser states and metrics of one undisturbed process, bit for bit (float32, one thread each). "
            f"{platform.machine()} CPU, {os.cpu_count()} cores, torch {torch.__version__}, localgrad {lg.__version__}, "
            f"{date.today().isoformat()}. Command: `python {' '.join(sys.argv)}`.",
            "",
            "| run | kills | what differs in the end |",
            "|---|---|---|",
            *lines,
            "",
        ]
    )
    print(text)
    if options.out is not None:
        options.out.write_text(text)


if __name__ == "__main__":
    main()
