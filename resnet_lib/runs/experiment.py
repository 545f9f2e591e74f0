"""Run a config, once: finished runs are loaded, unfinished ones resumed, others trained."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, as_completed
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from torch import nn

from resnet_lib.config import PROTOCOL, Config, checked_profile
from resnet_lib.data import cifar10
from resnet_lib.data.cifar10 import Dataset
from resnet_lib.errors import LabError
from resnet_lib.machine import device, progress, provenance
from resnet_lib.machine.device import Choice, DeviceError
from resnet_lib.machine.stop import Stopped
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


def run(
    config: Config,
    profile: str = "full",
    choice: Choice | None = None,
    show: progress.Progress | None = None,
) -> Record:
    """The record of `config` among the runs of `profile`, training whatever of it is missing.

    The config is taken as it is: `config.at(profile)` gives the one that belongs to the profile. `choice` is for new
    runs; an unfinished one goes on with the choice in its checkpoint, and says so where that is another. If it began
    on a device that is not here, it goes on with `choice`; if it began compiled and this machine has no compiler, it
    goes on without; if it began elsewhere with more threads than there are cores here, with fewer: equal but for
    rounding, and the record tells of it. Raises

    - RecordError if another process trains the same run, its folder holds another or has lost its result, or it is of
      another `protocol`;
    - CheckpointError if there is nothing whole to go on from;
    - DataError if the images cannot be had;
    - DeviceError if the device is not there, or too small;
    - Diverged if a loss is not finite, or was not when it was last tried;
    - Stopped if a signal asked for it;
    - OSError if the last state or the record cannot be written.
    """
    folder = RunFolder.of(config, checked_profile(profile))
    if folder.finished:
        return _finished(folder)
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
    """The choice with which an unfinished run goes on: the one it began with, as far as this machine has it."""
    began = Choice(**state["choice"])
    if began.device not in device.available():
        choice = choice or device.choose(config)
        show.note(
            f"{config.run_id} began on {began.device}, which is not available here: it goes on on {choice.device}"
        )
        return choice
    if began.compile and (missing := device.missing_to_compile(began.device)):
        show.note(f"{config.run_id} began compiled, and goes on without: {missing}")
        began = replace(began, compile=False, why=f"not compiled: {missing}")
    cores = os.cpu_count() or 1
    if began.threads > cores != state["sessions"][0].get("cores", cores):  # where it began they may have been asked for
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
        raise
    except (MemoryError, RuntimeError) as error:
        if not device.out_of_memory(error):
            raise
        reason = f"{choice.device} has too little memory for batches of {config.batch_size} in {config.model}"
        said = str(error).partition("\n")[0] or type(error).__name__
        help_ = "use fewer --jobs if other runs share it, or a smaller batch_size, or precision bf16, in another run"
        raise DeviceError(f"{reason}: {help_} ({said})") from None
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
    """Whether `run` would only load."""
    return RunFolder.of(config, profile).finished


def run_many(
    configs: list[Config],
    profile: str = "full",
    choose: Callable[[Config], Choice] | None = None,
    executor: Executor | None = None,
) -> Iterator[tuple[Config, Record | Exception]]:
    """Every config with its record, or with what went wrong, as they come: one failure does not stop the others.

    `executor` (any of concurrent.futures, so processes, threads or Dask's) runs them in parallel; without one they run
    in turn. Its processes must be spawned, for torch's threads do not outlive a fork; on a GPU, take no threads, for
    one process can capture one graph at a time. If a process is killed, what has not ended comes with
    BrokenProcessPool. `choose` is for what is not finished, as the choice is in `run`.
    """
    if executor is None:
        for config in configs:
            yield config, _outcome(config, profile, choose)
    else:
        waiting = {}
        for config in configs:
            try:
                waiting[executor.submit(_outcome_in_pool, config, profile, choose)] = config
            except BrokenExecutor as error:  # a process was killed before all runs were handed out
                yield config, error
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.exception() or done.result()
        finally:
            for one in waiting:  # if the caller has enough: what has not begun is not trained
                one.cancel()


def _outcome(
    config: Config, profile: str, choose: Callable[[Config], Choice] | None, show: progress.Progress | None = None
) -> Record | Exception:
    try:
        is_unfinished = not is_finished(config, profile)
        return run(config, profile, choose(config) if choose and is_unfinished else None, show)
    except Exception as error:
        if not isinstance(error, LabError):  # nothing that a user did: say where, as text
            error.add_note("".join(traceback.format_exception(error)))
        error.__cause__ = error.__context__ = None  # whose frames would keep the network and its memory alive
        return error.with_traceback(None)


def _outcome_in_pool(config: Config, profile: str, choose: Callable[[Config], Choice] | None) -> Record | Exception:
    try:
        return _sendable(_outcome(config, profile, choose, progress.Lines()))  # several bars would draw over each other
    except (Stopped, KeyboardInterrupt):  # only in a process of its own: signals reach no thread but the main one
        os._exit(1)  # a worker that returned would be given the next run; one that ends has the others stopped too


def _sendable(outcome: Record | Exception) -> Record | Exception:
    """As it is, unless it is another library's exception that pickle cannot bring back: that would end the pool."""
    if not isinstance(outcome, Exception):
        return outcome
    try:
        pickle.loads(pickle.dumps(outcome))
        return outcome
    except Exception:
        plain = RuntimeError(f"{type(outcome).__name__}: {outcome}")
        for note in getattr(outcome, "__notes__", []):
            plain.add_note(note)
        return plain
