"""The one training loop, of every recorded run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import nn

from resnet_lib.config import Config
from resnet_lib.data.dataset import Dataset
from resnet_lib.machine.device import Choice
from resnet_lib.machine.progress import Progress
from resnet_lib.machine.stop import StopSignals
from resnet_lib.records.record import Row
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.training.keeper import Keeper, Position
from resnet_lib.training.loader import EvaluationBatches
from resnet_lib.training.metrics import Evaluation, evaluate_logits
from resnet_lib.training.optimizer import set_lr
from resnet_lib.training.schedule import drops_before, lr_at
from resnet_lib.training.update import Update, autocast, make_update


def train_epoch(
    update: Update,
    position: Position,
    config: Config,
    progress: Progress,
    after_step: Callable[[], None],
) -> None:
    """Train from `position` to the end of its epoch, or to the config's last step, counting its steps.

    `update.totals` then holds what was seen in the epoch, by the model as it was when it saw it.
    """
    update.model.train()
    done = position.step - position.epoch * len(update.batches)
    for plan in islice(update.batches.plans(position.epoch), done, None):
        if position.step == config.total_steps:
            break
        set_lr(update.optimizer, lr_at(position.step, config))
        update(plan)
        position.step += 1
        progress.step(plan.shape[1])
        after_step()


@torch.inference_mode()
def evaluate(
    model: nn.Module, batches: EvaluationBatches, config: Config, after_batch: Callable[[], None] = lambda: None
) -> Evaluation:
    """Evaluate in evaluation mode, plain single view; leaves weights, statistics and random state as they were."""
    was_training, logits = model.training, []
    model.eval()
    with autocast(batches.images.device, config):
        for images in batches:
            logits.append(model(images))
            after_batch()
    model.train(was_training)
    return evaluate_logits(torch.cat(logits), batches.labels)


def fit(
    model: nn.Module,
    dataset: Dataset,
    config: Config,
    choice: Choice,
    run: RunFolder,
    progress: Progress,
    state: dict[str, Any] | None = None,
) -> tuple[Evaluation, Position]:
    """Train `model` to the config's last step, from a saved `state` of the run where there is one.

    Every epoch ends with an evaluation and a row in the history; `Keeper` says when the state is saved. Returns the
    last evaluation and where the run ended. Raises Diverged when a loss is not finite, Stopped when a signal asked for
    it.
    """
    update = make_update(model, dataset.train_images, dataset.train_labels, config, choice)
    batches = update.batches
    held_out = EvaluationBatches(
        dataset.test_images, dataset.test_labels, batches.normalize, batches.images.device, choice.memory_format
    )
    epochs = config.total_epochs
    evaluation = None
    try:
        with StopSignals() as signals:
            keeper = Keeper(run, update, choice, progress, signals, state)
            position = keeper.position
            seen = position.epoch * len(batches.images) + update.totals.count.item()
            progress.begin(config.run_id, config.total_images, len(batches.images), seen, str(choice))
            while position.epoch < epochs:
                train_epoch(update, position, config, progress, keeper.after_step)
                images = update.totals.count.item()  # to read it waits until the device has trained on them all
                trained = position.seconds
                evaluation = evaluate(model, held_out, config, partial(keeper.while_evaluating, trained))
                keeper.refuse_divergence(evaluation)
                row = row_of(position, update, evaluation, config, images / trained)
                keeper.after_epoch(row)  # counts the epoch in `position`, saves, and stops if a signal asked for it
                progress.epoch(row)
            keeper.after_end()
    finally:
        progress.end()
    if evaluation is None:  # the run ended in an earlier session, before its result was written
        evaluation = evaluate(model, held_out, config)
        position.history[-1] |= held_out_columns(evaluation, config)  # elsewhere equal but for rounding
    return evaluation, position


def row_of(position: Position, update: Update, evaluation: Evaluation, config: Config, rate: float) -> Row:
    """An epoch's row of the history; `rate` is that of training alone, in images/s."""
    loss, accuracy = update.totals.read()
    return {
        "epoch": position.epoch + 1,
        "step": position.step,
        "lr": lr_at(position.step - 1, config),
        "drops": drops_before(position.step - 1, config),
        "train_loss": loss,
        "train_accuracy": accuracy,
        **held_out_columns(evaluation, config),
        "seconds": round(position.seconds, 3),
        "images_per_second": round(rate, 1),
    }


def held_out_columns(evaluation: Evaluation, config: Config) -> Row:
    return {f"{config.held_out}_loss": evaluation.loss, f"{config.held_out}_accuracy": evaluation.accuracy}
