"""What the machine can do, and the choices of a run that change its speed but not its meaning."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import torch

from resnet_lib.config import LabError

THREADS = torch.get_num_threads()  # torch's own choice, before any run has set another


class DeviceError(LabError):
    """A device is needed and is not there."""


@dataclass(frozen=True)
class Choice:
    """Made once at the start of a run, kept in its checkpoint, used again on resume."""

    device: str  # cpu, cuda or mps
    threads: int  # of the CPU; results are bit-equal only for the same number
    channels_last: bool  # NHWC in memory: what convolutions are fastest in on CPUs and NVIDIA GPUs

    def activate(self) -> torch.device:
        """Apply to this process and return the device. Raises DeviceError if it is not there."""
        if not _available(self.device):
            raise DeviceError(f"this run began on {self.device}, which is not available here: finish it where it is")
        torch.set_num_threads(self.threads)
        return torch.device(self.device)

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def choose(device: str | None = None, threads: int | None = None) -> Choice:
    """The choice for this machine: the best device there is, torch's own number of threads, unless told otherwise.

    Raises DeviceError if `device` is named and not available.
    """
    available = [name for name in ("cuda", "mps", "cpu") if _available(name)]
    if device is not None and device not in available:
        raise DeviceError(f"device '{device}' is not available here: use {' or '.join(available)}")
    chosen = device or available[0]
    return Choice(
        device=chosen,
        threads=threads or THREADS,
        channels_last=chosen != "mps",
    )


def _available(name: str) -> bool:
    return name == "cpu" or (torch.cuda if name == "cuda" else torch.backends.mps).is_available()


def environment(choice: Choice) -> dict[str, Any]:
    """Versions and hardware, for a run's record."""
    return {
        "device": choice.device,
        "device_name": torch.cuda.get_device_name() if choice.device == "cuda" else _cpu_name(),
        "threads": choice.threads,
        "channels_last": choice.channels_last,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    cpuinfo = Path("/proc/cpuinfo")  # platform.processor() is empty on most Linux systems
    if cpuinfo.exists():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
