"""The choices of a run: where, by how many threads, compiled or not, in which arithmetic."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_runs import CPU, SYNTHETIC

from resnet_lib.config import Config
from resnet_lib.machine.cores import cores
from resnet_lib.machine.device import (
    COMPILE_STEPS,
    THREADS,
    Choice,
    DeviceError,
    available,
    choose,
    missing_to_compile,
    out_of_memory,
)
from resnet_lib.runs import experiment, weights


def test_a_device_that_is_not_there_is_refused_by_name():
    with pytest.raises(DeviceError, match=r"device 'abacus' is not available here: use .*cpu"):
        choose(device="abacus")
    assert choose(None, "cpu", threads=3) == Choice(device="cpu", threads=3, channels_last=True, products=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_choice_for_another_machine_is_refused():
    with pytest.raises(DeviceError, match="device 'cuda' is not available here"):
        Choice(device="cuda", threads=1, channels_last=True).activate()


def test_what_is_said_to_be_fp32_is_computed_in_it_whatever_was_asked_of_torch_before():
    torch.set_float32_matmul_precision("medium")
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    CPU.activate()
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.backends.mkldnn.conv.fp32_precision == "ieee"


def test_an_environment_that_asks_onednn_for_bf16_is_not_heard():
    names = ("DNNL_DEFAULT_FPMATH_MODE", "ONEDNN_DEFAULT_FPMATH_MODE")
    code = f"import os, resnet_lib.machine.device; print(*map(os.environ.get, {names}))"
    asked = os.environ | dict.fromkeys(names, "BF16")
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True)
    assert done.stdout == "STRICT STRICT\n"


def test_another_default_dtype_is_refused():
    torch.set_default_dtype(torch.float64)
    try:
        with pytest.raises(DeviceError, match="default dtype"):
            experiment.run(SYNTHETIC, choice=CPU)
        with pytest.raises(DeviceError, match="default dtype"):
            weights.evaluate(SYNTHETIC, Path("none"), CPU)
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize(("told", "most"), [("200000 100000", 2), ("50000 100000", 1), ("max 100000", 512), ("", 512)])
def test_a_containers_quota_limits_the_cores(tmp_path, monkeypatch, told, most):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(512)), raising=False)
    monkeypatch.setattr("resnet_lib.machine.cores.QUOTA", tmp_path / "cpu.max")
    assert cores() == 512
    (tmp_path / "cpu.max").write_text(told)
    assert cores() == most


def test_the_threads_of_one_run_are_not_those_of_the_next():
    before = choose(None, "cpu")
    Choice(device="cpu", threads=before.threads + 1, channels_last=True).activate()
    assert choose(None, "cpu") == before
    before.activate()


@pytest.fixture
def headers(tmp_path, monkeypatch):
    """Python's headers, which a system's own Python comes without: the path of `Python.h`."""
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    (tmp_path / "Python.h").touch()
    return tmp_path / "Python.h"


def test_a_long_run_is_compiled_on_a_gpu_where_it_can_be_and_on_a_cpu_only_if_asked(monkeypatch, headers):
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cuda", "mps", "cpu"])
    monkeypatch.setattr("resnet_lib.machine.device.has_triton", lambda: True)
    monkeypatch.setattr("shutil.which", lambda name: "/usr/bin/c++")
    short, long = (choose(Config(iterations=steps), "cuda") for steps in (100, 64_000))
    assert (short.compile, long.compile) == (False, True)
    assert "100 steps are too few" in short.why
    assert "64,000 steps earn it back" in long.why
    edge = (choose(Config(iterations=COMPILE_STEPS - fewer), "cuda").compile for fewer in (1, 0))
    assert tuple(edge) == (False, True)
    assert not choose(Config(iterations=64_000), "cuda", compile=False).compile
    cpu = choose(Config(iterations=64_000), "cpu")
    assert not cpu.compile
    assert "only if asked" in cpu.why
    assert choose(Config(iterations=100), "cpu", compile=True).compile
    monkeypatch.setattr("resnet_lib.machine.device.has_triton", lambda: False)
    assert "Triton is not there" in choose(Config(iterations=64_000), "cuda").why


@pytest.mark.parametrize(
    ("told", "system", "asked"),
    [
        ("", "linux", "g++"),
        ("", "darwin", "clang++"),
        ("", "win32", "cl"),
        ("ccache c++ -O1", "linux", "ccache"),
        ("clang++", "win32", "clang++"),
    ],
)
def test_the_compiler_that_is_looked_for_is_the_one_that_torch_calls(monkeypatch, headers, told, system, asked):
    monkeypatch.setenv("CXX", told)
    monkeypatch.setattr("sys.platform", system)
    monkeypatch.setattr("shutil.which", {asked: asked}.get)
    assert not missing_to_compile("cpu")
    headers.unlink()
    assert "Python's headers" in missing_to_compile("cpu")


def test_without_a_compiler_it_says_so_and_trains_or_refuses_when_asked(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cuda", "mps", "cpu"])
    choice = choose(Config(iterations=64_000), "cuda")
    assert not choice.compile
    assert "no C++ compiler" in choice.why
    with pytest.raises(DeviceError, match="no C\\+\\+ compiler; leave --compile out"):
        choose(Config(), "cpu", compile=True)


def test_a_machine_without_bf16_says_so(monkeypatch):
    monkeypatch.setattr("resnet_lib.machine.device.has_bf16", lambda device: False)
    assert "no bf16 instructions" in choose(Config(precision="bf16"), "cpu").why
    assert "bf16" not in choose(Config(), "cpu").why


@pytest.fixture
def gpu_settings(monkeypatch):
    """What torch is told about the arithmetic of NVIDIA's GPUs, which it can be without one; put back afterwards."""
    settings = torch.backends.cudnn.conv, torch.backends.cuda.matmul
    before, deterministic = [one.fp32_precision for one in settings], torch.are_deterministic_algorithms_enabled()
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cuda", "cpu"])
    monkeypatch.setattr("resnet_lib.machine.device.has_tf32", lambda device: True)
    yield settings
    for one, precision in zip(settings, before, strict=True):
        one.fp32_precision = precision
    torch.use_deterministic_algorithms(deterministic)


def test_a_gpu_computes_in_the_precision_that_is_said(gpu_settings):
    """And not in that of an earlier run of the process, nor in TF32, which is torch's default for convolutions."""
    for precision in ("fp32", "tf32", "bf16", "tf32", "fp32"):
        expected = "tf32" if precision == "tf32" else "ieee"
        Choice("cuda", 1, True).activate(precision)
        assert [one.fp32_precision for one in gpu_settings] == [expected, expected]


def test_a_gpu_computes_the_same_bits_every_time_if_chosen_and_only_then(gpu_settings, monkeypatch):
    """And not as an earlier run of the process chose; only cuBLAS is told always, for it asks once."""
    for deterministic in (False, True, False):
        monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
        Choice("cuda", 1, True, deterministic=deterministic).activate()
        assert torch.are_deterministic_algorithms_enabled() == deterministic
        assert torch.backends.cudnn.benchmark != deterministic
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


@pytest.mark.parametrize(
    ("device", "graph", "channels_last", "products"),
    [("cuda", True, True, False), ("mps", False, False, False), ("cpu", False, True, True)],
)
def test_each_kind_of_device_has_what_is_fast_on_it(monkeypatch, device, graph, channels_last, products):
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: [device, "cpu"])
    choice = choose()
    assert choice == Choice(device, THREADS, channels_last, products, graph=graph)


def test_the_same_bits_every_time_are_refused_where_they_are_not_to_be_had(monkeypatch):
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cuda", "mps", "cpu"])
    assert all(choose(device=device, deterministic=True).deterministic for device in ("cuda", "cpu"))
    with pytest.raises(DeviceError, match="Apple's GPUs have no deterministic max-pool"):
        choose(device="mps", deterministic=True)


def test_the_fastest_device_comes_first_and_a_cpu_is_always_there(monkeypatch):
    here = set()
    for name, module in (("cuda", torch.cuda), ("mps", torch.backends.mps)):
        monkeypatch.setattr(module, "is_available", lambda name=name: name in here)
    assert available() == ["cpu"]
    for name, expected in (("mps", ["mps", "cpu"]), ("cuda", ["cuda", "mps", "cpu"])):
        here.add(name)
        assert available() == expected


@pytest.mark.parametrize(
    ("error", "is_lack"),
    [
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(handle)`"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_a_lack_of_memory_is_known_by_the_words_of_a_library(error, is_lack):
    assert out_of_memory(error) == is_lack


def test_tf32_is_refused_where_there_is_none():
    with pytest.raises(DeviceError, match="'tf32' needs an NVIDIA GPU"):
        choose(Config(precision="tf32"), "cpu")


@pytest.mark.parametrize(
    ("machine", "avx512_bf16", "amx", "is_fast"),
    [
        ("x86_64", False, False, False),  # AVX-512 alone, on which oneDNN emulates bf16
        ("AMD64", True, False, True),
        ("x86_64", False, True, True),
        ("x86_64", None, None, True),  # a torch that cannot be asked
        ("aarch64", False, False, True),
    ],
)
def test_bf16_is_slow_on_x86_without_instructions_for_it(monkeypatch, machine, avx512_bf16, amx, is_fast):
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
    for name, answer in (("_is_avx512_bf16_supported", avx512_bf16), ("_is_amx_tile_supported", amx)):
        monkeypatch.setattr(torch.cpu, name, lambda answer=answer: answer, raising=False)
        if answer is None:
            monkeypatch.delattr(torch.cpu, name)
    assert ("no bf16 instructions" not in choose(Config(precision="bf16"), "cpu").why) == is_fast
