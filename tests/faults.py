"""The faults that the lab is to come through, how often each was tried, and processes to try them on."""

from __future__ import annotations

import multiprocessing
import os
import signal
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import torch
from tiny_runs import CPU, Notes, untimed

from resnet_lib.config import Config
from resnet_lib.errors import LabError
from resnet_lib.machine.progress import Progress
from resnet_lib.machine.stop import Stopped
from resnet_lib.records.record import Diverged
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, weights
from resnet_lib.training import keeper

FAULTS = (
    "SIGKILL at every line of a save",
    "SIGKILL anywhere in training",
    "SIGINT, SIGTERM or an interrupted kernel",
    "disk full, I/O error or short write",
    "truncated or bit-flipped checkpoint",
    "malicious pickle as checkpoint, weights or data",
    "other config or network on resume",
    "two runs in one folder, or a stale lock",
    "NaN or infinite loss",
    "corrupt, mislabelled or wrong data, hostile archives",
    "history torn at any byte",
    "evaluation that would change state",
    "notebook run twice, or its cells out of order",
    "hostile names and parameters",
    "JupyterLab beyond loopback, or without its token",
    "random configs, CSVs, JSONs, notebooks and npz files",
)
NOTES = "RESNET_LAB_FAULTS"  # the file in which tries and survivals are noted, a line each

DISTURBED = Config(
    dataset="synthetic", train_images=120, test_images=40, model="resnet8", stem="imagenet", shortcut="B", width=4,
    epochs=6, batch_size=32, lr=0.05, crop=4, flip=True, milestones=(3, 5),
)  # fmt: skip


def note(fault: str, what: str) -> None:
    if fault not in FAULTS:
        raise ValueError(f"unknown fault {fault!r}")
    if path := os.environ.get(NOTES):
        with open(path, "a") as file:
            file.write(f"{what}\t{fault}\n")


@contextmanager
def survived(fault: str):
    """What is inside tries a fault once, and survives it if nothing is raised."""
    note(fault, "tried")
    yield
    note(fault, "survived")


def failing_for(seed: int):
    """Stands in for `experiment.run`: the run of this seed diverges, every other is right on half of the images."""

    def run(config, *arguments):
        if config.seed == seed:
            raise Diverged("on purpose")
        return SimpleNamespace(accuracy=0.5)

    return run


def forking():
    """Processes that begin, in hundredths of a second, as copies of one that has torch loaded and runs nothing."""
    context = multiprocessing.get_context("forkserver")
    # The second is two seconds of imports.
    context.set_forkserver_preload(["resnet_lib.runs.experiment", "torch._dynamo"])
    return context


class Ending(Progress):
    """Sends this process a signal once it has done so many steps."""

    def __init__(self, at: int, by: int) -> None:
        self.left, self.by = at, by

    def step(self, images):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), self.by)


def train(
    reports: Path,
    config: Config,
    save_seconds: float,
    epoch_seconds: float,
    file_bytes: int | None,
    at: int,
    by: int,
    seconds: float,
) -> None:
    torch.set_num_threads(1)
    keeper.SAVE_SECONDS, keeper.EPOCH_SECONDS = save_seconds, epoch_seconds
    os.environ["RESNET_LAB_REPORTS"] = str(reports)
    if file_bytes is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))
    if seconds:
        signal.setitimer(signal.ITIMER_REAL, seconds)  # whose signal ends a process as SIGKILL does, wherever it is
    try:
        experiment.run(config, choice=CPU, show=Ending(at, by))
    except (Stopped, OSError, LabError):  # what the command line says without a traceback
        raise SystemExit(1) from None


def in_process(
    reports: Path,
    config: Config = DISTURBED,
    save_seconds: float = -1.0,
    epoch_seconds: float = -1.0,
    file_bytes: int | None = None,
    at: int = 0,
    by: int = getattr(signal, "SIGKILL", signal.SIGTERM),  # Windows, which skips these tests, has none
    seconds: float = 0.0,
) -> int:
    """Train in a process of its own, saving after every epoch, and every step unless told otherwise; its exit code.

    `file_bytes`: the size above which it can write no file. A signal `by` ends it at a step `at`, counted from its
    start, or an alarm after some `seconds`.
    """
    arguments = (reports, config, save_seconds, epoch_seconds, file_bytes, at, by, seconds)
    process = forking().Process(target=train, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def resumed(config: Config = DISTURBED) -> list[str]:
    """The tiny run, finished here; what was said meanwhile."""
    notes = Notes()
    experiment.run(config, choice=CPU, show=notes)
    return notes.lines


def result(reports: Path, config: Config = DISTURBED) -> tuple:
    """All that a run ended with, to be compared bit by bit, and that nothing else is left in its folder."""
    folder = RunFolder(reports / "full" / "runs" / config.run_id, config)
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "config.json", "history.csv", "lock", "predictions.npz", "result.json", weights.NAME,
    ]  # fmt: skip
    record = folder.record()
    ended = {name: tensor.numpy().tobytes() for name, tensor in weights.load(folder.path / weights.NAME).items()}
    predictions = {name: array.tobytes() for name, array in record.predictions.items()}
    return ended, untimed(record.history), predictions, record.accuracy
