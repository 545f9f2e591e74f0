"""What the machine can do, and the choices of a run that change its speed but not its meaning."""

from __future__ import annotations

import logging
import os
import platform
import shlex
import shutil
import sys
import sysconfig
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._triton import has_triton

from resnet_lib.config import Config
from resnet_lib.errors import LabError
from resnet_lib.machine.cores import cores
from resnet_lib.machine.memory import keep_freed

# Steps of a run on a GPU from which on compiling it is taken to pay: those of ResNet-20 in bf16 on an H200, by the
# benchmark, when the network alone was compiled. Not measured of other networks, nor in fp32.
COMPILE_STEPS = 37_000
# How a lack of memory is told: by Metal and others, by the allocator of CPUs on Linux and elsewhere, by cuDNN, and
# by the status that cuBLAS and cuDNN return.
OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "not enough memory", "unable to find an engine", "STATUS_ALLOC_FAILED",
)  # fmt: skip
UNCOMPILED_AS_ASKED = "not compiled, as asked"
THREADS = min(torch.get_num_threads(), cores())  # torch's own choice, before any run has set another, where it may
# oneDNN may be told by its environment to compute float32 in bf16, as guides for Arm recommend.
os.environ |= dict.fromkeys(("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"), "STRICT")


class DeviceError(LabError):
    """A device is needed and is not there, is too small, or cannot be used by this torch."""


class DeviceLost(DeviceError):
    """A device gave an error after which CUDA serves this process no more, but will a new one."""


@dataclass(frozen=True)
class Choice:
    """Made once at the start of a run, kept in its checkpoint, used again on resume where the device is there."""

    device: str  # cpu, cuda or mps
    threads: int  # of the CPU; results are bit-equal only for the same number
    channels_last: bool  # NHWC in memory: what convolutions are fastest in on CPUs and NVIDIA GPUs
    products: bool = False  # convolutions that are matrix products computed as such (`models/products.py`)
    compile: bool = False  # all but the optimizer by torch.compile
    graph: bool = False  # the whole step replayed as a CUDA graph
    deterministic: bool = False  # on a GPU: only kernels that give the same bits every time; CPUs have no others
    why: str = field(default="", compare=False)  # why it is compiled or not

    def activate(self, precision: str = "fp32") -> torch.device:
        """Apply to this process and return the device. Raises DeviceError if it, or the precision, is not there.

        It stays so: threads, determinism, the precision of float32, cuDNN's benchmark, thresholds of malloc.
        """
        refuse_missing(self.device)
        refuse_precision(precision, self.device)
        torch.set_num_threads(self.threads)
        if self.device == "cpu":
            keep_freed()
            torch.backends.mkldnn.conv.fp32_precision = "ieee"  # a notebook may have asked for less
            # torch.compile warns there of a CUDA toolkit without a GPU, which no CPU run needs.
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
        torch.use_deterministic_algorithms(self.deterministic)
        # By the function, which sets what older torch.compile reads, too.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some releases warn that there is a newer way
            torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        if self.device == "cuda":
            # Without this, torch takes TF32 for the convolutions of what is said to be fp32.
            exact = "tf32" if precision == "tf32" else "ieee"
            torch.backends.cudnn.conv.fp32_precision = exact
            torch.backends.cudnn.benchmark = not self.deterministic
            # cuBLAS's condition for determinism, in NVIDIA's notes on reproducibility. Always: it is read only once in
            # a process, in which a deterministic run may follow one that is not.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        return torch.device(self.device)

    @property
    def refuses_compile(self) -> bool:
        """Whether somebody asked for a run that is not compiled."""
        return self.why.startswith(UNCOMPILED_AS_ASKED)

    @property
    def memory_format(self) -> torch.memory_format:
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        where = self.device
        if self.device == "cpu":
            where += f", {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{where}; {self.why}" if self.why else where

    def unlike(self, other: Choice) -> str:
        """What is chosen otherwise there, in words."""
        ours, theirs = self.as_dict(), other.as_dict()
        names = [name for name in ours if name != "why" and ours[name] != theirs[name]]
        return "; ".join(f"{name} {ours[name]}, not {theirs[name]}" for name in names)


def choose(
    config: Config | None = None,
    device: str | None = None,
    threads: int | None = None,
    compile: bool | None = None,
    deterministic: bool = False,
) -> Choice:
    """The choice for a run of `config` on this machine, unless told otherwise.

    The best device there is, and as many threads as torch takes, at most one for each core to use. NVIDIA GPUs replay
    the step as a graph, and have a run of at least COMPILE_STEPS steps compiled. A CPU compiles only if asked, for it
    gains with some networks and loses with others (see the benchmarks), and computes convolutions as products where it
    can; one CPU was measured with them, and no GPU. Raises DeviceError if something is asked for by name and is not to
    be had.
    """
    device = available()[0] if device is None else device
    refuse_missing(device)
    if config:
        refuse_precision(config.precision, device)
    if deterministic and device == "mps":
        raise DeviceError("Apple's GPUs have no deterministic max-pool: leave --deterministic out, or use --device cpu")
    threads = threads or THREADS
    compiled, because = _compile(device, config.total_steps if config else 0, compile)
    if config and config.precision == "bf16" and not has_bf16(device):
        because += "; no bf16 instructions here: fp32 would be many times as fast"
    return Choice(
        device,
        threads,
        channels_last=device != "mps",
        products=device == "cpu",
        compile=compiled,
        graph=device == "cuda",
        deterministic=deterministic,
        why=because,
    )


def _compile(device: str, steps: int, asked: bool | None) -> tuple[bool, str]:
    """Whether to compile, and why."""
    missing = missing_to_compile(device)
    if asked is not None:
        if asked and missing:
            raise DeviceError(f"this cannot be compiled here: {missing}; leave --compile out")
        return asked, "compiled, as asked" if asked else UNCOMPILED_AS_ASKED
    if device == "cpu":
        return False, "not compiled: on CPUs it does not always pay, so only if asked"
    if missing:
        return False, f"not compiled: {missing}"
    if steps < COMPILE_STEPS:
        return False, f"not compiled: {steps:,} steps are too few to earn it back"
    return True, f"compiled: {steps:,} steps earn it back"


def missing_to_compile(device: str) -> str:
    """What torch.compile lacks for a device, in words; empty if nothing."""
    if device == "mps":
        return "torch.compile was never tried on Apple's GPUs"
    if not shutil.which(_cxx()):
        return "there is no C++ compiler"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return "Python's headers are not there (python3-dev)"
    if device == "cuda" and not has_triton():
        return "Triton is not there"
    return ""


def _cxx() -> str:
    """The compiler that torch would call."""
    told = shlex.split(os.environ.get("CXX", ""))  # may be `ccache g++`
    return told[0] if told else {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")


def available() -> list[str]:
    """The devices that are here, the fastest first."""
    return ["cuda"] * torch.cuda.is_available() + ["mps"] * torch.backends.mps.is_available() + ["cpu"]


def refuse_missing(device: str) -> None:
    """Raises DeviceError if a device is not here."""
    if device not in available():
        raise DeviceError(f"device '{device}' is not available here: use {' or '.join(available())}")


def refuse_other_dtype() -> None:
    """Raises DeviceError if torch makes other tensors than float32 by default, which networks and images follow."""
    if torch.get_default_dtype() != torch.float32:
        raise DeviceError("torch's default dtype is another than float32: torch.set_default_dtype(torch.float32)")


def has_tf32(device: str) -> bool:
    return device == "cuda" and torch.cuda.is_tf32_supported()


def refuse_precision(precision: str, device: str) -> None:
    """Raises DeviceError if a device would compute in another precision than it is told."""
    if precision == "tf32" and not has_tf32(device):
        raise DeviceError(f"precision 'tf32' needs an NVIDIA GPU that has TF32, and not {device}: use fp32 or bf16")


def has_bf16(device: str) -> bool:
    """Whether a device has instructions for bf16: without, computing in it is many times slower than in fp32."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device == "mps":
        return True
    # Where oneDNN is not built in, as in torch for Macs, neither is its question.
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    if platform.machine() not in ("x86_64", "AMD64"):
        return True
    # There oneDNN says yes to any AVX-512, on which it may only emulate bf16. A question that torch lost is a yes.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, question, lambda: True)() for question in questions)


def is_lost(device: str) -> bool:
    """Whether CUDA serves this process no more: after some errors every later call fails, too."""
    if device != "cuda":
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


def out_of_memory(error: Exception) -> bool:
    """Whether Python, a device or its libraries lacked memory: only some say so by an exception of its own."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in said for words in OUT_OF_MEMORY)
    )
