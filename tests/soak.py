"""`make soak`: minutes of faults at random, then every fault of the tests, with 10,000 random inputs and more.

Prints what was injected, survived and lost; writes `reports/faults.json` and the table in CONTRIBUTING.md; ends with
1 if anything was lost.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import faults
from tqdm import tqdm

from resnet_lib.records import checkpoint
from resnet_lib.records.run_folder import RunFolder

KILLS = 20  # in a row, before anything else
ROOT = Path(__file__).resolve().parent.parent


class Soak:
    """One run after another, disturbed all the way, each compared with one that was left alone."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.draw = random.Random(seed)
        faults.in_process(folder / "undisturbed")
        self.expected = faults.result(folder / "undisturbed")
        self.runs = self.lost = 0

    def disturbed_run(self, kinds: list, most: int) -> None:
        """Disturb a run until it is finished, at most so often before it is left alone; it must end as if it had not.

        A kind of disturbance is a method that returns the fault that it injected, or None if it could not.
        """
        reports = self.folder / f"run{self.runs}"
        run = RunFolder(reports / "full" / "runs" / faults.DISTURBED.run_id, faults.DISTURBED)
        self.runs += 1
        injected = Counter()
        while not run.finished and injected.total() < most:
            injected.update(filter(None, [self.draw.choice(kinds)(reports, run)]))
        try:
            if not run.finished and faults.in_process(reports) != 0:
                raise RuntimeError("it cannot be finished")
            for path in (*checkpoint.in_folder(run.path), *run.path.glob("*.tmp")):
                path.unlink()  # of a kill after the end
            if faults.result(reports) != self.expected:
                raise RuntimeError("it ended otherwise than undisturbed")
        except Exception as error:
            print(f"lost: {run.path}: {error}", file=sys.stderr)
            self.lost += 1
            outcomes = ("tried",)
        else:
            outcomes = ("tried", "survived")
        for fault in injected.elements():
            for outcome in outcomes:
                faults.note(fault, outcome)

    def kill(self, reports: Path, run: RunFolder) -> str | None:
        """At a step, or at any moment: in a save, between two, while the data is loaded."""
        when = (
            {"at": self.draw.randrange(1, 4)} if self.draw.random() < 0.5 else {"seconds": self.draw.uniform(0.01, 1)}
        )
        died = faults.in_process(reports, save_seconds=self.draw.choice([-1.0, 0.02]), **when) < 0
        return "SIGKILL anywhere in training" if died else None

    def ask(self, reports: Path, run: RunFolder) -> str | None:
        by = self.draw.choice([signal.SIGINT, signal.SIGTERM])
        stopped = faults.in_process(reports, at=self.draw.randrange(1, 6), by=by, save_seconds=1e9) != 0
        return "SIGINT, SIGTERM or an interrupted kernel" if stopped else None

    def damage(self, reports: Path, run: RunFolder) -> str | None:
        """Only where the state before is whole: of two damaged ones nothing can be had."""
        try:
            checkpoint.load(checkpoint.before(run.checkpoint))
            content = bytearray(run.checkpoint.read_bytes())
        except (OSError, checkpoint.CheckpointError):
            return None
        if self.draw.random() < 0.5:
            content = content[: self.draw.randrange(len(content))]
        else:
            content[self.draw.randrange(len(content))] ^= 1 << self.draw.randrange(8)
        run.checkpoint.write_bytes(content)
        return "truncated or bit-flipped checkpoint"

    def tear(self, reports: Path, run: RunFolder) -> str | None:
        history = run.path / "history.csv"
        if not history.exists() or not history.stat().st_size:
            return None
        content = history.read_bytes()
        history.write_bytes(content[: self.draw.randrange(len(content))])
        return "history torn at any byte"

    def fill(self, reports: Path, run: RunFolder) -> str | None:
        failed = faults.in_process(reports, file_bytes=self.draw.choice([1, 100, 3_000, 10_000])) != 0
        return "disk full, I/O error or short write" if failed else None

    def hold(self, reports: Path, run: RunFolder) -> str:
        """Another process has the folder: nothing may happen to it; then the lock is stale."""
        run.path.mkdir(parents=True, exist_ok=True)
        before = {path: path.read_bytes() for path in run.path.iterdir() if path.name != "lock"}
        with (run.path / "lock").open("a+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            refused = faults.in_process(reports) != 0
        after = {path: path.read_bytes() for path in run.path.iterdir() if path.name != "lock"}
        if not refused or before != after:
            raise RuntimeError(f"{run.path} was touched while another process held it")
        return "two runs in one folder, or a stale lock"


def run_tests() -> bool:
    """Every test that injects faults, with 10,000 random inputs; whether all passed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-m",
        "fault",
        "-n",
        "auto",
        "--maxprocesses",
        "8",
        "--dist",
        "loadfile",
        str(ROOT / "tests"),
    ]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"RESNET_LAB_HYPOTHESIS": "soak"}).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=4, help="of faults at random")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the faults at random")
    asked = parser.parse_args()
    os.environ.pop("RESNET_LAB_REPORTS", None)  # the table is the checkout's
    with tempfile.TemporaryDirectory() as name:
        notes = Path(name) / "notes"
        os.environ[faults.NOTES] = str(notes)
        soak = Soak(Path(name), asked.seed)
        print(f"faults at random for {asked.minutes:g} minutes, seed {asked.seed}")
        soak.disturbed_run([soak.kill], KILLS)
        kinds = [soak.kill, soak.kill, soak.ask, soak.damage, soak.tear, soak.fill, soak.hold]
        end = time.monotonic() + 60 * asked.minutes
        with tqdm(total=round(60 * asked.minutes), unit=" s", bar_format="{l_bar}{bar}| {n:.0f} of {total} s") as bar:
            while (now := time.monotonic()) < end:
                soak.disturbed_run(kinds, soak.draw.randrange(3, 9))
                bar.update(min(time.monotonic(), end) - now)
        print(f"{soak.runs} runs disturbed, {soak.lost} of them lost; now the tests, about four minutes")
        passed = run_tests()
        lines = Counter(tuple(line.split("\t")) for line in notes.read_text().splitlines())
    table = {f: {what: lines[what, f] for what in ("tried", "survived")} for f in faults.FAULTS}
    for fault, row in table.items():
        print(f"{fault:<60} tried {row['tried']:>6,}  survived {row['survived']:>6,}")
    missed = [fault for fault, row in table.items() if row["survived"] < row["tried"] or not row["tried"]]
    if missed or soak.lost or not passed:
        sys.exit(f"lost: {', '.join(missed) or 'see above'}")
    from resnet_lib.machine import device, provenance  # not above: every process of the soak would load it
    from resnet_lib.report import published

    found = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": provenance.environment(device.choose()),
        "commit": provenance.commit(),
        "minutes": asked.minutes,
        "faults": table,
    }
    target = published.CHECKOUT / "reports" / "faults.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(found, indent=1) + "\n")
    print(f"rewritten: {', '.join(published.update_documents())}")


if __name__ == "__main__":
    main()
