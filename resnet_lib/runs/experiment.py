"""Run a config, once: finished runs are loaded, unfinished ones resumed, others trained."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from torch import nn

from resnet_lib.config import PROTOCOL, Config
from resnet_lib.data import cifar10
from resnet_lib.data.dataset import Dataset
from resnet_lib.machine import device, progress, provenance
from resnet_lib.machine.cores import cores
from resnet_lib.machine.device import Choice, DeviceError, DeviceLost
from resnet_lib.models.build import build_model
from resnet_lib.models.resnet import count_parameters
from resnet_lib.records import checkpoint
from resnet_lib.records.checkpoint import CheckpointError
from resnet_lib.records.record import Diverged, Record, RecordError
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import weights
from resnet_lib.training import train
from resnet_lib.training.keeper import Position
from resnet_lib.training.metrics import Evaluation

# A run that has begun goes on where it began, as long as that is to be seen.
ON_CPU = "hide it (CUDA_VISIBLE_DEVICES= before the same command), to go on on the CPU"


def run(
    config: Config,
    profile: str = "full",
    choice: Choice | None = None,
    show: progress.Progress | None = None,
) -> Record:
    """The record of `config` among the runs of `profile`, training whatever of it is missing.

    The config is taken as it is: `config.at(profile)` gives the one that belongs to the profile. `choice` is for new
    runs; an unfinished one goes on with the choice in its checkpoint, and says so where that is another. If it began
    on a device that is not here, it goes on with `choice`; if it began compiled and this machine has no compiler, or
    `choice` refuses to compile, it goes on without; if it began elsewhere with more threads than there are cores here,
    with fewer: equal but for rounding, and the record tells of it. Raises

    - ConfigError if `profile` is none, or a file of the run holds no config;
    - LabError if the network needs torchvision, and that is not there;
    - RecordError if another process trains the same run, its folder holds another or has lost its result, or it is of
      another `protocol`;
    - CheckpointError if there is nothing whole to go on from;
    - DataError if the images cannot be had;
    - DeviceError if the device is not there, or too small, or (DeviceLost) gave an error that this process cannot mend,
      or torch's default dtype is not float32;
    - Diverged if a loss is not finite, or was not when it was last tried;
    - Stopped if a signal asked for it;
    - OSError if the run's folder cannot be written when it begins, or its last state or record in the end.
    """
    folder = RunFolder.of(config, profile)
    if folder.finished:
        return _finished(folder)
    device.refuse_other_dtype()
    if config.protocol != PROTOCOL:
        raise RecordError(
            f"{config.run_id} is of protocol {config.protocol}, and this code trains by {PROTOCOL}, which gives other "
            "results: leave protocol out, or use the code it was begun with"
        )
    folder.refuse_diverged()
    folder.refuse_lost()
    dataset = cifar10.load(config)  # before anything is written: without images there is no run
    show = show or progress.default()
    with folder.lock():
        if folder.finished:  # another process finished it while this one came here
            return _finished(folder)
        folder.refuse_diverged()
        folder.start()
        state = _saved(folder, show)
        choice = _going_on(config, state, choice, show) if state else choice or device.choose(config)
        return _train(dataset, config, choice, folder, show, state)


def _finished(folder: RunFolder) -> Record:
    """The record; a process that was killed right after it was written has left what it was resumed from.

    Which goes only when record and weights can be read: else it is what they can be had from again.
    """
    record, kept = folder.record(), folder.path / weights.NAME
    if checkpoint.in_folder(folder.path) and kept.exists():
        with suppress(CheckpointError, OSError):
            weights.load(kept)
            checkpoint.remove(folder.checkpoint)
    return record


def _saved(folder: RunFolder, show: progress.Progress) -> dict[str, Any] | None:
    """The newest whole state of an unfinished run; None of one that is new."""
    state = checkpoint.newest(folder.checkpoint, show.note)
    if state:
        folder.refuse_other(Config(**state["config"]), folder.checkpoint)
    elif lost := folder.set_history_aside():
        gone = f"{folder.path} has no checkpoint to go on from"
        show.note(f"{gone}, and begins anew; {lost.name} has what it had recorded")
    return state


def _going_on(config: Config, state: dict[str, Any], choice: Choice | None, show: progress.Progress) -> Choice:
    """The choice with which an unfinished run goes on: the one it began with, as far as this machine has it.

    If `choice` refuses to compile, `state` is told so, too.
    """
    began = Choice(**state["choice"])
    if began.device not in device.available():
        choice = choice or device.choose(config)
        show.note(
            f"{config.run_id} began on {began.device}, which is not available here: it goes on on {choice.device}"
        )
        return choice
    if began.compile and choice and choice.refuses_compile:
        show.note(f"{config.run_id} began compiled, and goes on without, as asked")
        began = replace(began, compile=False, why=choice.why)
        state["choice"] = began.as_dict()  # from now on: whoever resumes it next need not ask again
    if began.compile and (missing := device.missing_to_compile(began.device)):
        show.note(f"{config.run_id} began compiled, and goes on without: {missing}")
        began = replace(began, compile=False, why=f"not compiled: {missing}")
    here = cores()
    moved = state["sessions"][0].get("cores", here) != here  # where it began, so many may have been asked for
    if moved and began.threads > here:
        threads = choice.threads if choice else device.THREADS
        show.note(f"{config.run_id} began with {began.threads} threads, more than are here: it goes on with {threads}")
        began = replace(began, threads=threads)
    if choice and choice != began:
        show.note(f"{config.run_id} goes on as it began: {began.unlike(choice)}")
    return began


def _train(
    dataset: Dataset,
    config: Config,
    choice: Choice,
    folder: RunFolder,
    show: progress.Progress,
    state: dict[str, Any] | None,
) -> Record:
    """Train to the end, and leave the record and the weights."""
    try:
        model, source = build_model(config, len(dataset.classes), ask_hub=True)
        evaluation, end = train.fit(model, dataset, config, choice, folder, show, state)
    except Diverged as error:
        folder.mark_diverged({**error.details, "environment": provenance.environment(choice)})
        with suppress(OSError):
            checkpoint.remove(folder.checkpoint)  # from which the same would come again
        raise
    except (MemoryError, RuntimeError) as error:
        if told := _told(error, config, choice):
            raise told from None
        raise
    predictions = {
        "predicted": evaluation.predicted,
        "confidence": evaluation.confidence,
        "label": evaluation.labels.astype("uint8"),
    }
    weights.write(folder.path / weights.NAME, model.state_dict(), config)
    result = _result(config, dataset, model, source, evaluation, end, choice)
    record = folder.finish(end.history, result, predictions)
    try:
        checkpoint.remove(folder.checkpoint)  # of what it holds, the record and the weights are kept
    except OSError as error:
        show.note(f"{folder.path} keeps its checkpoint, of no use any more ({error}): delete it")
    return record


def _told(error: Exception, config: Config, choice: Choice) -> DeviceError | None:
    """What a device lacked or did, and what to do; None of any other error."""
    said = str(error).partition("\n")[0] or type(error).__name__
    if device.out_of_memory(error):
        is_host = isinstance(error, MemoryError) or "DefaultCPUAllocator" in said
        where = "this machine" if is_host else choice.device
        reason = f"{where} has too little memory for batches of {config.batch_size} in {config.model}"
        helps = ["use fewer --jobs if other runs share it"]
        if choice.device == "cpu" or not is_host:  # it is the memory that batches take
            less = "a smaller batch_size" if config.precision == "bf16" else "a smaller batch_size, or precision bf16,"
            helps.append(f"or {less} in another run")
        if choice.device == "cuda" and not is_host:
            helps.append(f"or {ON_CPU}")
        return DeviceError(f"{reason}: {', '.join(helps)} ({said})")
    if device.is_lost(choice.device):
        return DeviceLost(f"{said}: this process can use the GPU no more; another goes on from what is saved")
    if choice.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return DeviceError(f"torch.compile failed: train by `resnet-lab run`, with --no-compile ({said})")
    if "no kernel image" in said:
        return DeviceError(f"{said}: use a torch that is built for this GPU, or {ON_CPU}")
    return None


def _result(
    config: Config,
    dataset: Dataset,
    model: nn.Module,
    source: str,
    evaluation: Evaluation,
    end: Position,
    choice: Choice,
) -> dict[str, Any]:
    """What is recorded of a run that came to its end, beside its history and its predictions."""
    trained = [session for session in end.sessions if session["from_step"] < end.history[-1]["step"]]  # not only ended
    return {
        "fingerprint": config.fingerprint,
        "evaluated_on": config.held_out,
        **evaluation.summary(dataset.classes),
        "parameters": count_parameters(model),
        "model_source": source,
        "data_source": dataset.source,
        "data_sha256": dataset.sha256,
        "training_seconds": round(sum(row["seconds"] for row in end.history), 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": trained[-1]["commit"],
        "sessions": end.sessions,
        "environment": provenance.environment(choice),
    }


def is_finished(config: Config, profile: str = "full") -> bool:
    """Whether there is a result, which `run` would load, training nothing."""
    return RunFolder.of(config, profile).finished
