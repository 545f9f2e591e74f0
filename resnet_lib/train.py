"""The only training loop."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import nn

from resnet_lib import checkpoint
from resnet_lib.config import Config, LabError
from resnet_lib.data import Dataset
from resnet_lib.device import Choice
from resnet_lib.loader import EvaluationBatches, TrainBatches
from resnet_lib.metrics import Evaluation, evaluate_logits
from resnet_lib.progress import Quiet
from resnet_lib.records import RunFolder
from resnet_lib.schedule import drops_before, lr_at
from resnet_lib.update import Replay, Update, autocast, make_optimizer, set_lr


class Diverged(LabError):
    """The loss is no longer a number; the message says where and what to try."""


def train_epoch(update: Update, batches: TrainBatches, epoch: int, step: int, config: Config, progress: Quiet) -> int:
    """Train on the batches of `epoch`, from optimizer step `step` on, stopping at the config's last step.

    Returns the next step. `update.totals` then holds what was seen, by the model as it was when it saw it.
    """
    update.model.train()
    update.totals.reset()
    for plan in batches.plans(epoch):
        if step == config.total_steps():
            break
        set_lr(update.optimizer, lr_at(step, config))
        update(plan)
        progress.step(plan.shape[1])
        step += 1
    return step


@torch.inference_mode()
def evaluate(model: nn.Module, batches: EvaluationBatches, config: Config) -> Evaluation:
    """Evaluate in evaluation mode, plain single view; leaves weights, statistics and random state as they were."""
    was_training = model.training
    model.eval()
    with autocast(batches.images.device, config):
        logits = torch.cat([model(images) for images in batches])
    model.train(was_training)
    return evaluate_logits(logits, batches.labels)


def fit(
    model: nn.Module, dataset: Dataset, config: Config, choice: Choice, run: RunFolder, progress: Quiet
) -> Evaluation:
    """Train `model` to the config's last step, resuming from the run's checkpoint where there is one.

    Every epoch ends with an evaluation, a row in the history and a checkpoint. Returns the last evaluation.
    Raises Diverged when the training or evaluation loss of an epoch is not finite.
    """
    device = choice.activate(config.precision)
    model = model.to(device, memory_format=choice.memory_format)
    optimizer = make_optimizer(model, config, choice)
    batches = TrainBatches(dataset.train_images, dataset.train_labels, config, device, choice.memory_format)
    held_out = EvaluationBatches(
        dataset.test_images, dataset.test_labels, batches.normalize, device, choice.memory_format
    )
    update = (Replay if choice.graph else Update)(model, optimizer, batches, config, choice)
    epoch, step = resume(model, optimizer, run)
    run.trim(epoch)

    epochs = math.ceil(config.total_steps() / len(batches))
    progress.begin(config.run_id, epochs, len(batches.images), epoch, choice.why)
    evaluation = evaluate(model, held_out, config) if epoch == epochs else None
    try:
        while step < config.total_steps():
            began = time.perf_counter()
            step = train_epoch(update, batches, epoch, step, config, progress)
            train_loss, train_accuracy = update.totals.read()
            seconds = time.perf_counter() - began
            evaluation = evaluate(model, held_out, config)
            if not math.isfinite(train_loss + evaluation.loss):
                raise Diverged(
                    f"{config.run_id}: the training loss became {train_loss} and the {config.held_out} loss "
                    f"{evaluation.loss} in epoch {epoch + 1} (step {step}, lr {lr_at(step - 1, config):g}); "
                    "try a smaller lr or a warmup"
                )
            epoch += 1
            row = {
                "epoch": epoch,
                "step": step,
                "lr": lr_at(step - 1, config),
                "drops": drops_before(step - 1, config),
                "train_loss": train_loss,
                "train_accuracy": train_accuracy,
                f"{config.held_out}_loss": evaluation.loss,
                f"{config.held_out}_accuracy": evaluation.accuracy,
                "seconds": round(time.perf_counter() - began, 3),
                "images_per_second": round(update.totals.count.item() / seconds, 1),
            }
            run.append(row)
            checkpoint.save(run.checkpoint, state_of(model, optimizer, epoch, step, choice))
            progress.epoch(row)
    finally:
        progress.end()
    return evaluation


def state_of(
    model: nn.Module, optimizer: torch.optim.Optimizer, epoch: int, step: int, choice: Choice
) -> dict[str, Any]:
    """All that the rest of a run depends on; order and crops follow from (seed, epoch) and need no state."""
    return {
        "epoch": epoch,
        "step": step,
        "choice": choice.as_dict(),
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def resume(model: nn.Module, optimizer: torch.optim.Optimizer, run: RunFolder) -> tuple[int, int]:
    """Load the run's checkpoint, if any, into model and optimizer; epochs and steps done."""
    if not run.checkpoint.exists():
        return 0, 0
    state = checkpoint.load(run.checkpoint)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return state["epoch"], state["step"]
