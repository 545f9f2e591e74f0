"""What git tracks of this checkout, whatever else was trained or left in it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def tracked(folder: str = ".") -> list[Path]:
    """The files of a folder that git tracks and that are there."""
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    # A checkout of somebody else's is trusted: the settings that could say so are not read here.
    listing = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--", folder]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True)
    if done.returncode or not done.stdout:  # or one of something else, in which this one lies
        pytest.skip("not a git checkout")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def copy_reports(folder: Path) -> Path:
    """A copy of the reports folder with what is tracked alone."""
    for path in tracked("reports"):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder / "reports"
