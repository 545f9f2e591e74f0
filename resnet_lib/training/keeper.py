"""Keeps a run's state while it trains: saves it, goes on from it, stops when asked or when a loss is not finite."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import torch

from resnet_lib.machine.cores import cores
from resnet_lib.machine.device import Choice
from resnet_lib.machine.progress import Progress
from resnet_lib.machine.provenance import commit, device_name
from resnet_lib.machine.stop import Stopped, StopSignals
from resnet_lib.records import checkpoint
from resnet_lib.records.record import Diverged, Row
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.training.metrics import Evaluation
from resnet_lib.training.optimizer import load_state
from resnet_lib.training.schedule import lr_at
from resnet_lib.training.update import Update

SAVE_SECONDS = 300  # what a kill in a long epoch may cost
EPOCH_SECONDS = 10  # and among short ones, as on GPUs, where saving each would take a good part of the time


@dataclass
class Position:
    """Where a run stands."""

    epoch: int = 0  # whole epochs done
    step: int = 0  # optimizer steps done, those of an unfinished epoch too
    history: list[Row] = field(default_factory=list)  # one row per finished epoch
    sessions: list[dict[str, Any]] = field(default_factory=list)  # it may go on by other code, or on another device
    epoch_began: float = field(default_factory=time.perf_counter)  # on its clock; of a resumed epoch, as if in one go

    @property
    def seconds(self) -> float:
        """Spent on the epoch under way."""
        return time.perf_counter() - self.epoch_began

    def end_epoch(self, row: Row) -> None:
        self.epoch += 1
        self.history.append(row)
        self.start_clock()

    def start_clock(self, spent: float = 0.0) -> None:
        """The epoch under way begins now, or goes on after so many seconds."""
        self.epoch_began = time.perf_counter() - spent


def session(step: int, choice: Choice) -> dict[str, Any]:
    """By what code, and on what, a run goes on from a step."""
    return {
        "from_step": step,
        "commit": commit(),
        "torch": str(torch.__version__),
        "device_name": device_name(choice),
        "compile": choice.compile,
        "threads": choice.threads,
        "cores": cores(),
    }


class Keeper:
    """Saves after the first epoch, after others EPOCH_SECONDS or more after the last time, every SAVE_SECONDS within a
    long one, and when a signal asks to stop.
    """

    def __init__(
        self,
        run: RunFolder,
        update: Update,
        choice: Choice,
        progress: Progress,
        signals: StopSignals,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Go on from a saved `state` where there is one: network, optimizer, totals, history and position.

        The first two are taken out of it.
        """
        self.run = run
        self.update = update
        self.choice_at_start = state["choice"] if state else choice.as_dict()
        self.progress = progress
        self.signals = signals
        self.position = self.load(state) if state else Position()
        self.position.sessions.append(session(self.position.step, choice))
        self.saved_step = self.position.step
        self.last_try = time.monotonic()
        run.write_history(self.position.history)  # whatever a crash left there
        self.position.start_clock(state["spent"] if state else 0.0)

    def load(self, state: dict[str, Any]) -> Position:
        # Taken out of the state, for the callers hold that until the run ends.
        self.update.model.load_state_dict(state.pop("model"))
        load_state(self.update.optimizer, state.pop("optimizer"))
        for name, total in self.update.totals.tensors.items():
            total.copy_(state["totals"][name])
        return Position(**{name: state[name] for name in ("epoch", "step", "history", "sessions")})

    def state(self) -> dict[str, Any]:
        """All that the rest of a run depends on; order and crops follow from (seed, epoch) and need no state."""
        return {
            "config": self.run.config.model_dump(mode="json"),
            "choice": self.choice_at_start,  # also of a run that goes on elsewhere: to come back where it began
            "epoch": self.position.epoch,
            "step": self.position.step,
            "history": self.position.history,
            "sessions": self.position.sessions,
            "spent": self.position.seconds,
            "totals": self.update.totals.tensors,
            "model": self.update.model.state_dict(),
            "optimizer": self.update.optimizer.state_dict(),
        }

    def save(self) -> None:
        checkpoint.save(self.run.checkpoint, self.state())
        self.saved_step = self.position.step

    def try_save(self) -> None:
        """A failure is told and leaves the last saved state: a full disk may be mended while training goes on."""
        self.last_try = time.monotonic()
        try:
            self.save()
        except OSError as error:
            self.progress.note(f"{self.run.checkpoint} could not be saved ({error}): the state before it is kept")

    def is_time(self, seconds: float) -> bool:
        """Whether to save now: so many seconds after the last time, or where a signal asks to stop."""
        return bool(self.signals.asked) or time.monotonic() - self.last_try > seconds

    def after_step(self) -> None:
        if self.is_time(SAVE_SECONDS):
            self.refuse_divergence()
            self.try_save()
            self.stop_if_asked()  # only after saving; a later signal is handled after the next step

    def while_evaluating(self, trained: float) -> None:
        """Stops if a signal asks for it; the epoch, trained for so many seconds, is then evaluated once more."""
        if self.signals.asked:
            self.position.start_clock(trained)
            self.after_step()

    def after_epoch(self, row: Row) -> None:
        self.position.end_epoch(row)
        self.update.totals.reset()
        if not self.saved_step or self.is_time(EPOCH_SECONDS):
            self.try_save()
        try:
            self.run.write_history(self.position.history)
        except OSError as error:  # the checkpoint has it too
            self.progress.note(f"the history of {self.run.path} could not be written ({error}): tried again next epoch")
        if self.signals.asked and self.saved_step < self.position.step:  # asked meanwhile
            self.try_save()
        self.stop_if_asked()
        self.position.start_clock()  # again: the next epoch has not begun while this one is saved

    def after_end(self) -> None:
        """The last state has to be on disk, for the result to be written again from it if that fails.

        Raises OSError if it cannot be.
        """
        if self.saved_step < self.position.step:
            self.save()

    def stop_if_asked(self) -> None:
        if self.signals.asked:
            raise Stopped(
                f"stopped by {self.signals.asked} at step {self.position.step:,} of {self.run.config.total_steps:,}; "
                f"the same command goes on from step {self.saved_step:,}"
            )

    def refuse_divergence(self, evaluation: Evaluation | None = None) -> None:
        """Raises Diverged if a training loss of this epoch, or that of its evaluation, is not finite."""
        config, position, batches = self.run.config, self.position, self.update.batches
        first = position.epoch * len(batches)
        finite = self.update.totals.finite.item()
        if first + finite < position.step:
            kind, step = "training", first + finite + 1
        elif evaluation and not math.isfinite(evaluation.loss):
            kind, step = config.held_out, position.step
        else:
            return
        lr = lr_at(step - 1, config)
        raise Diverged(
            f"{config.run_id}: the {kind} loss is no longer a number at step {step:,} (epoch {position.epoch + 1}, "
            f"batch {step - first} of {len(batches)}, lr {lr:g}); try a smaller lr or a warmup",
            {"loss": kind, "step": step, "epoch": position.epoch + 1, "batch": step - first, "lr": lr},
        )
