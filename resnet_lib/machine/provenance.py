"""What a result came from: versions, hardware, commit."""

from __future__ import annotations

import platform
import re
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy
import torch

from resnet_lib.machine.device import Choice

CPUINFO = Path("/proc/cpuinfo")  # platform.processor() is empty on most Linux systems


def environment(choice: Choice) -> dict[str, Any]:
    """Versions and hardware, for a run's record."""
    return {
        **{name: value for name, value in choice.as_dict().items() if name != "why"},
        "device_name": device_name(choice),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def device_name(choice: Choice) -> str:
    """As the system has it, without what a page could take for markup: AMD's drivers put brackets into names."""
    name = torch.cuda.get_device_name() if choice.device == "cuda" else _cpu_name()
    name += " GPU" if choice.device == "mps" else ""  # Apple's have their chip's name
    return re.sub(r"[<>\[\]|`\s]+", " ", name).strip()[:200]


def _cpu_name() -> str:
    if CPUINFO.exists():
        first, *_ = CPUINFO.read_text(errors="replace").strip().split("\n\n")  # of the cores, which are alike
        pairs = (line.partition(":") for line in first.splitlines())
        found = {key.strip(): value.strip() for key, _, value in pairs}
        if name := found.get("model name"):
            # A virtual machine may say `AMD EPYC` of processors that differ twofold in speed.
            is_vague = not any(map(str.isdigit, name)) and {"cpu family", "model"} <= found.keys()
            return f"{name} (family {found['cpu family']}, model {found['model']})" if is_vague else name
    if platform.system() == "Darwin":  # where platform.processor() is `arm`, whatever the chip
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        with suppress(OSError):
            if name := subprocess.run(command, capture_output=True, text=True).stdout.strip():
                return name
    return platform.processor() or platform.machine()


def commit() -> str:
    """The checkout's commit, marked if the library was changed since; "unknown" outside a checkout.

    As it is on disk now, which a notebook that imported the library before a `git pull` does not run.
    """

    def git(*arguments: str) -> str:
        folder = Path(__file__).resolve().parents[1]  # the whole library
        return subprocess.run(
            # This checkout alone, whoever owns it, as in a container: its code runs already.
            ["git", "-c", f"safe.directory={folder.parent}", "--no-optional-locks", *arguments],
            cwd=folder, capture_output=True, text=True, check=True,
        ).stdout.strip()  # fmt: skip

    try:
        git("ls-files", "--error-unmatch", __file__)  # the library may be installed inside another project's checkout
        return git("rev-parse", "HEAD") + (" with changes" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
