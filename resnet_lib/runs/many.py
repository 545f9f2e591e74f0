"""Run many configs, in turn or by an executor: one failure does not stop the others."""

from __future__ import annotations

import errno
import os
import pickle
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, as_completed
from multiprocessing import parent_process

from resnet_lib.config import Config
from resnet_lib.errors import LabError
from resnet_lib.machine import progress
from resnet_lib.machine.device import Choice, DeviceLost
from resnet_lib.machine.stop import Stopped
from resnet_lib.records.record import Record
from resnet_lib.runs import experiment

# What a user can mend: a disk that is full or cannot be written. Others are defects, to be told with a traceback.
MENDABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


def run_many(
    configs: list[Config],
    profile: str = "full",
    choose: Callable[[Config], Choice] | None = None,
    executor: Executor | None = None,
) -> Iterator[tuple[Config, Record | Exception]]:
    """Every config with its record, or with what went wrong, as they come: one failure does not stop the others.

    A generator: nothing is trained before it is iterated over.

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
        is_unfinished = not experiment.is_finished(config, profile)
        return experiment.run(config, profile, choose(config) if choose and is_unfinished else None, show)
    except Exception as error:
        if not isinstance(error, LabError) and getattr(error, "errno", None) not in MENDABLE:  # say where, as text
            error.add_note("".join(traceback.format_exception(error)))
        error.__cause__ = error.__context__ = None  # whose frames would keep the network and its memory alive
        return error.with_traceback(None)


def _outcome_in_pool(config: Config, profile: str, choose: Callable[[Config], Choice] | None) -> Record | Exception:
    show = progress.Lines(shared=True)  # several bars would draw over each other
    try:
        outcome = _outcome(config, profile, choose, show)
    except (Stopped, KeyboardInterrupt):  # only in a process of its own: signals reach no thread but the main one
        os._exit(1)  # a worker that returned would be given the next run; one that ends has the others stopped too
    if isinstance(outcome, DeviceLost) and parent_process():  # where the next run would fail, too
        show.note(f"{config.run_id}: {outcome}")
        os._exit(1)
    return _sendable(outcome)


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
