"""Many configs, several at a time: in processes of their own, dealt out to all GPUs there are."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from functools import partial
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import torch

from resnet_lib.config import Config
from resnet_lib.errors import LabError
from resnet_lib.machine import device as machine
from resnet_lib.machine.stop import Stopped, StopSignals
from resnet_lib.records.record import Record
from resnet_lib.runs import experiment, many

Outcomes = Iterator[tuple[Config, Record | Exception]]


def run_all(
    configs: list[Config],
    profile: str,
    jobs: int,
    device: str | None,
    threads: int | None,
    say: Callable[[str], None],
) -> Outcomes:
    """Every config, once, with its record or what went wrong, as they come; at most `jobs` at a time.

    A generator: nothing is trained before it is iterated over.

    Where a process is killed or loses its GPU, which ends all of its pool, the runs left go on in another with one
    process less, and `say` tells so; if it was alone, its run comes with a LabError. Raises Stopped if a signal asked
    for it, DeviceError if the device is not there.
    """
    is_cuda = machine.choose(device=device).device == "cuda"  # refused here, once, and not by every run
    waiting = {config.run_id: config for config in configs}
    left = sum(not experiment.is_finished(config, profile) for config in waiting.values())
    jobs = max(1, min(jobs, left))
    # Alone, this process runs them, and saves by itself what it trains; on a GPU another, which an error of it may end.
    in_pool = jobs > 1 or (is_cuda and left > 1)
    turns = get_context("spawn").Value("i", 0)  # goes on from pool to pool: a GPU that fails is not always the first
    with _handed_on() if in_pool else nullcontext([]) as asked:
        while waiting:
            choose = partial(machine.choose, device=device, threads=threads or max(1, machine.THREADS // jobs))
            with processes(jobs, is_cuda, turns) if in_pool else nullcontext() as executor:
                for config, outcome in many.run_many([*waiting.values()], profile, choose, executor):
                    _refuse(asked)
                    if not isinstance(outcome, BrokenProcessPool):
                        del waiting[config.run_id]
                        yield config, outcome
            _refuse(asked)
            if waiting:
                said = "a process was ended: by you, by the system for lack of memory, or by an error of its GPU"
                if jobs == 1:  # whose process had the first of those that wait
                    killed = waiting.pop(next(iter(waiting)))
                    said += "; the same command goes on from what is saved, and if memory lacks again, a smaller "
                    yield killed, LabError(f"{said}batch_size may do, in another run")
                else:
                    jobs = min(jobs - 1, len(waiting))
                    say(f"{said}; going on, {jobs} at a time ({len(waiting)} left)")


def _refuse(asked: list[str]) -> None:
    if asked:
        raise Stopped(f"stopped by {asked[0]}: the same command goes on from what is saved")


def processes(jobs: int, is_cuda: bool, turns: Synchronized[int] | None = None) -> Executor:
    """A pool whose processes end with this one, and, where there are several GPUs, each take the next in turn."""
    context, names = get_context("spawn"), gpus() if is_cuda else []
    return ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(names, turns or context.Value("i", 0)))


def apart(function: Callable[..., Any], *arguments: Any) -> Any:
    """What `function` returns, called in another process: one that used a GPU would hold memory of it to its end."""
    with processes(1, is_cuda=True) as executor:
        try:
            return executor.submit(function, *arguments).result()
        except BrokenProcessPool:
            by = "by you, by the system for lack of memory, or by its GPU"
            raise LabError(f"the process that was to measure was ended, {by}: free memory, and try again") from None


def _begin(names: list[str], taken: Synchronized[int]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if len(names) > 1:
        take_gpu(names, taken)


def _end_with_parent() -> None:
    """Or a process whose parent was killed would train what it was given, and then wait for more for ever.

    It saves what is in training, but on Windows, where the signal ends it at once.
    """
    parent_process().join()
    os.kill(os.getpid(), signal.SIGTERM)


def gpus() -> list[str]:
    """NVIDIA's GPUs that this process sees, each as CUDA_VISIBLE_DEVICES would name it."""
    count = torch.cuda.device_count()
    told = os.environ.get("CUDA_VISIBLE_DEVICES")
    return (told.split(",") if told else [str(number) for number in range(count)])[:count]


def take_gpu(names: list[str], taken: Synchronized[int]) -> None:
    """Have this process, in which nothing has used CUDA yet, see one GPU alone: of all who ask, the next in turn."""
    with taken:
        turn = taken.value
        taken.value += 1
    os.environ["CUDA_VISIBLE_DEVICES"] = names[turn % len(names)]


@contextmanager
def _handed_on() -> Iterator[list[str]]:
    """While entered, signals that ask to stop go to all child processes, each of which saves; their names so far."""
    asked: list[str] = []
    over = threading.Event()

    def hand_on(number: int, frame: Any) -> None:
        asked.append(signal.Signals(number).name)
        if os.name == "nt" and number == signal.SIGINT:  # which the console gives to all; `terminate` lets none save
            return
        threading.Thread(target=end_children, daemon=True).start()

    def end_children() -> None:
        while not over.is_set():  # again and again, for some may only come into being
            for process in active_children():
                process.terminate()
            over.wait(1)

    is_main = threading.current_thread() is threading.main_thread()  # the only one that may handle signals
    before = {number: signal.signal(number, hand_on) for number in (StopSignals.SIGNALS if is_main else ())}
    try:
        yield asked
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: set by another than Python
