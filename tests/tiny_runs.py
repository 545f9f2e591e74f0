"""Runs of a second or two: their configs, how they are trained and interrupted, and what makes two of them the same."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.machine.progress import Progress
from resnet_lib.models.build import build_model
from resnet_lib.records import checkpoint
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.training import train

CPU = Choice(device="cpu", threads=1, channels_last=True, products=True)
TINY = Config(  # with convolutions of every kind, also such as are matrix products
    model="resnet8", stem="imagenet", shortcut="B", width=4, train_images=120, test_images=40, batch_size=32, crop=4,
    flip=True, lr=0.05, epochs=4, milestones=(2, 3), nesterov=True, normalize="pixel",
)  # fmt: skip
SYNTHETIC = TINY.replace(dataset="synthetic", epochs=3, milestones=(2,))


def fit(folder, dataset, config=TINY, progress=None, choice=CPU):
    """One call of the loop in `folder`: its evaluation and what it left on disk."""
    run = RunFolder(folder, config)
    run.start()
    model, _ = build_model(config)
    state = checkpoint.newest(run.checkpoint, print)
    evaluation, _ = train.fit(model, dataset, config, choice, run, progress or Progress(), state)
    return SimpleNamespace(
        model=model, evaluation=evaluation, history=run.rows(), state=checkpoint.load(run.checkpoint)
    )


def untimed(history):
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in history]


def assert_same(one, two):
    """Bit by bit: weights, statistics, momentum, counters, history and predictions."""
    for name, value in one.state["model"].items():
        assert torch.equal(value, two.state["model"][name]), name
    momentum, again = (run.state["optimizer"]["state"] for run in (one, two))
    assert momentum.keys() == again.keys()
    for index in momentum:
        assert torch.equal(momentum[index]["momentum_buffer"], again[index]["momentum_buffer"])
    assert one.state["optimizer"]["param_groups"] == two.state["optimizer"]["param_groups"]
    assert (one.state["epoch"], one.state["step"]) == (two.state["epoch"], two.state["step"])
    assert untimed(one.history) == untimed(two.history)
    assert one.evaluation.loss == two.evaluation.loss
    np.testing.assert_array_equal(one.evaluation.predicted, two.evaluation.predicted)


class Notes(Progress):
    """Keeps what is said of a run."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> None:
        self.lines.append(line)


class Interrupting(Progress):
    """Ctrl-C at an optimizer step, counted over all steps of this process."""

    def __init__(self, at):
        self.left, self.ended = at, False

    def step(self, images):
        super().step(images)
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt

    def end(self):
        super().end()
        self.ended = True
