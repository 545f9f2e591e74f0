"""The loop, run for real on tiny sets: right to the last digit, the same every time, interrupted or not."""

import gc
import re
import shutil
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from resnet_lib.cli.options import print_outcomes
from resnet_lib.config import PROTOCOL, Config, ConfigError
from resnet_lib.data import cifar10
from resnet_lib.data.sources import DataError
from resnet_lib.machine import device, progress
from resnet_lib.machine.device import THREADS, Choice, DeviceError, DeviceLost, choose
from resnet_lib.machine.progress import Bar, Lines, Progress
from resnet_lib.models.build import build_model
from resnet_lib.records import checkpoint
from resnet_lib.records.record import Diverged, RecordError
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, many, weights
from resnet_lib.training import keeper, train
from resnet_lib.training.keeper import Position
from resnet_lib.training.loader import EvaluationBatches, Normalizer
from resnet_lib.training.optimizer import make_optimizer
from resnet_lib.training.update import Update

CPU = Choice(device="cpu", threads=1, channels_last=True, products=True)
TINY = Config(  # with convolutions of every kind, also such as are matrix products
    model="resnet8", stem="imagenet", shortcut="B", width=4, train_images=120, test_images=40, batch_size=32, crop=4,
    flip=True, lr=0.05, epochs=4, milestones=(2, 3), nesterov=True, normalize="pixel",
)  # fmt: skip


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


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory, tiny_dataset):
    return fit(tmp_path_factory.mktemp("uninterrupted"), tiny_dataset)


# --- every step of SGD


class Doubles:
    """Stands in for `TrainBatches`: 84 images of 6 numbers in 7 batches, float64, another order each epoch."""

    def __init__(self):
        random = np.random.default_rng(3)
        self.images = torch.from_numpy(random.normal(size=(84, 6)))
        self.labels = torch.from_numpy(random.integers(0, 4, 84))

    def __len__(self):
        return 7

    def plans(self, epoch):
        order = torch.from_numpy(np.random.default_rng(epoch).permutation(84))
        return order[None].split(12, dim=1)

    def take(self, plan):
        return self.images[plan[0]], self.labels[plan[0]]


def sgd_by_hand(weights, batches, rates, config):
    """Sutskever et al. 2013 as PyTorch writes it, in NumPy, on linear-tanh-linear: weights and loss of every step."""
    weights, velocity, losses = [w.copy() for w in weights], [np.zeros_like(w) for w in weights], []
    for (images, labels), lr in zip(batches, rates, strict=False):
        w1, b1, w2, b2 = weights
        hidden = np.tanh(images @ w1.T + b1)
        scores = np.exp(hidden @ w2.T + b2)
        share = scores / scores.sum(1, keepdims=True)
        target = (1 - config.label_smoothing) * np.eye(4)[labels] + config.label_smoothing / 4
        losses.append(-(target * np.log(share)).sum(1).mean())
        d_out = (share - target) / len(labels)
        d_hidden = d_out @ w2 * (1 - hidden**2)
        gradients = d_hidden.T @ images, d_hidden.sum(0), d_out.T @ hidden, d_out.sum(0)
        for i, gradient in enumerate(gradients):
            gradient = gradient + config.weight_decay * weights[i]
            velocity[i] = config.momentum * velocity[i] + gradient
            step = gradient + config.momentum * velocity[i] if config.nesterov else velocity[i]
            weights[i] = weights[i] - lr * step
    return weights, losses


@pytest.mark.parametrize(
    "changes",
    [
        {"momentum": 0},
        {},
        {"nesterov": True},
        {"nesterov": True, "weight_decay": 0.05},
        {"weight_decay": 0.05, "label_smoothing": 0.2},
    ],
    ids=str,
)
def test_twenty_steps_of_sgd_against_numpy(changes):
    config = Config(iterations=20, milestones=(5, 12), lr=0.3, gamma=0.5, **changes)
    rates = [0.3] * 5 + [0.15] * 7 + [0.075] * 8
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 4)).double()
    batches = Doubles()
    update = Update(model, make_optimizer(model, config, CPU), batches, config, CPU)
    taken = [batches.take(plan) for epoch in range(3) for plan in batches.plans(epoch)]
    passes = [(images.numpy(), labels.numpy()) for images, labels in taken]
    expected, losses = sgd_by_hand([p.detach().numpy() for p in model.parameters()], passes, rates, config)

    at = Position()
    for epoch in range(3):
        before = at.step
        train.train_epoch(update, at, config, Progress())
        assert update.totals.read()[0] == pytest.approx(np.mean(losses[before : at.step]), abs=1e-9)
        update.totals.reset()
        at.epoch = epoch + 1
    assert at.step == 20  # the third pass stops one batch early
    for parameter, value in zip(model.parameters(), expected, strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=0, atol=1e-9)


def test_weight_decay_is_on_all_parameters_as_in_the_paper():
    model, _ = build_model(TINY)
    groups = make_optimizer(model, TINY, CPU).param_groups
    assert [group["weight_decay"] for group in groups] == [1e-4]
    assert len(groups[0]["params"]) == len(list(model.parameters()))


# --- the same every time


def test_the_history_tells_what_was_done(uninterrupted):
    rows = uninterrupted.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [4, 8, 12, 16]
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.05, 0.005, 0.0005])
    assert [row["drops"] for row in rows] == [0, 0, 1, 2]
    assert rows[-1]["test_accuracy"] == uninterrupted.evaluation.accuracy
    assert rows[-1]["test_loss"] == uninterrupted.evaluation.loss
    assert all(row["seconds"] > 0 and row["images_per_second"] > 0 for row in rows)


def test_one_seed_gives_one_result(tmp_path, tiny_dataset, uninterrupted):
    torch.manual_seed(99)  # whatever happened before in this process
    assert_same(fit(tmp_path, tiny_dataset), uninterrupted)


def test_another_seed_gives_another(tmp_path, tiny_dataset, uninterrupted):
    other = fit(tmp_path, tiny_dataset, TINY.replace(seed=1))
    assert not torch.equal(other.state["model"]["fc.weight"], uninterrupted.state["model"]["fc.weight"])
    assert other.history[0]["train_loss"] != uninterrupted.history[0]["train_loss"]


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


@pytest.mark.parametrize("steps", [1, 4, 5, 11, 16], ids=lambda n: f"step {n} of 16")
def test_resumed_after_an_interrupt_is_as_if_uninterrupted(tmp_path, tiny_dataset, uninterrupted, steps):
    progress = Interrupting(steps)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, tiny_dataset, progress=progress)
    assert progress.ended
    assert len(RunFolder(tmp_path, TINY).rows()) == (steps - 1) // 4
    assert_same(fit(tmp_path, tiny_dataset), uninterrupted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_run_that_is_replayed_on_a_gpu_is_resumed_as_if_uninterrupted(tmp_path, tiny_dataset):
    """With evaluations between the replays, a state loaded before the capture, and the same bits."""
    replayed = Choice("cuda", 1, True, graph=True, deterministic=True)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "interrupted", tiny_dataset, progress=Interrupting(6), choice=replayed)
    resumed = fit(tmp_path / "interrupted", tiny_dataset, choice=replayed)
    assert_same(resumed, fit(tmp_path / "whole", tiny_dataset, choice=replayed))


def test_interrupted_again_and_again(tmp_path, tiny_dataset, uninterrupted):
    for _ in range(3):  # each time in the second epoch of the attempt
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, tiny_dataset, progress=Interrupting(6))
    assert_same(fit(tmp_path, tiny_dataset), uninterrupted)


class Clock(Interrupting):
    """Stands in for `time`: every step takes ten seconds, everything else none."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, now, at=0):
        super().__init__(at)
        self.now = now

    def step(self, images):
        self.now += 10
        super().step(images)

    def perf_counter(self):
        return self.now

    def taking(self, seconds, call):
        def slow(*arguments):
            self.now += seconds
            return call(*arguments)

        return slow


def test_the_seconds_of_an_epoch_are_of_training_and_evaluation_and_its_rate_of_training(
    tmp_path, tiny_dataset, monkeypatch
):
    clock = Clock(0)
    monkeypatch.setattr(keeper, "time", clock)
    monkeypatch.setattr(train, "evaluate", clock.taking(5, train.evaluate))
    monkeypatch.setattr(checkpoint, "save", clock.taking(7, checkpoint.save))
    rows = fit(tmp_path, tiny_dataset, progress=clock).history
    assert [row["seconds"] for row in rows] == [45, 45, 45, 45]
    assert [row["images_per_second"] for row in rows] == [3, 3, 3, 3]


def test_seconds_before_an_interrupt_count_and_those_until_the_next_session_do_not(tmp_path, tiny_dataset, monkeypatch):
    """The four steps of an epoch take forty seconds, however many sessions they are spread over."""

    def session(clock):
        monkeypatch.setattr(keeper, "time", clock)
        fit(tmp_path, tiny_dataset, progress=clock)

    monkeypatch.setattr(keeper, "SAVE_SECONDS", -1)  # after every step
    for clock in (Clock(100, at=3), Clock(5_000, at=5)):
        with pytest.raises(KeyboardInterrupt):
            session(clock)
    session(Clock(70))
    rows = RunFolder(tmp_path, TINY).rows()
    assert [row["seconds"] for row in rows] == [40, 40, 40, 40]
    assert [row["images_per_second"] for row in rows] == [3, 3, 3, 3]


def test_fitting_a_trained_run_only_evaluates(tmp_path, tiny_dataset, uninterrupted, monkeypatch):
    fit(tmp_path, tiny_dataset)
    monkeypatch.setattr(train, "train_epoch", None)
    assert_same(fit(tmp_path, tiny_dataset), uninterrupted)


@pytest.mark.parametrize(("iterations", "steps"), [(10, [4, 8, 10]), (3, [3]), (8, [4, 8])])
def test_the_last_epoch_may_be_partial(tmp_path, tiny_dataset, iterations, steps):
    config = TINY.replace(iterations=iterations, milestones=(2,))
    run = fit(tmp_path / "whole", tiny_dataset, config)
    assert [row["step"] for row in run.history] == steps
    assert run.history[0]["drops"] == 1
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken", tiny_dataset, config, Interrupting(iterations))
    assert_same(fit(tmp_path / "broken", tiny_dataset, config), run)


@pytest.mark.parametrize("other", [{"channels_last": False}, {"products": False}], ids=str)
def test_layout_and_products_are_a_matter_of_speed_alone(tmp_path, tiny_dataset, uninterrupted, other):
    plain = fit(tmp_path, tiny_dataset, choice=replace(CPU, **other))
    assert plain.history[0]["train_loss"] == pytest.approx(uninterrupted.history[0]["train_loss"], rel=1e-3)


# --- what is said meanwhile


class InterruptedBar(Interrupting, Bar):
    pass


class InterruptedLines(Interrupting, Lines):
    pass


def test_a_bar_shows_how_far_a_run_is_and_goes_on_where_it_was_interrupted(tmp_path, tiny_dataset, capsys):
    config = TINY.replace(epochs=2, milestones=())
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, tiny_dataset, config, InterruptedBar(6), replace(CPU, why="on an abacus"))
    first = capsys.readouterr().err
    run = fit(tmp_path, tiny_dataset, config, Bar())
    second = capsys.readouterr().err
    assert "on an abacus" in first
    for said in (first, second):
        assert said.splitlines()[-1].split("\r")[-1].startswith(config.run_id)  # nothing is cut off, and a line ends it
        assert said.endswith("\n")
    shown = [[int(float(n)) for n in re.findall(r"([\d.]+)/240 \[", said)] for said in (first, second)]
    assert [(images[0], images[-1]) for images in shown] == [(0, 120 + 2 * 32), (120, 240)]
    assert summary(run.history[0]) in first
    assert summary(run.history[1]) in second


def summary(row):
    return f"train loss {row['train_loss']:.3f}, test accuracy {100 * row['test_accuracy']:.1f} %"


class Slow(Lines):
    """Lines, and the clock that they look at: every step takes some seconds, everything else none."""

    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0

    def step(self, images):
        self.now += self.seconds

    def monotonic(self):
        return self.now

    perf_counter = monotonic


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (4, {2: "about 32 s left", 4: "done"}),  # epochs of 16 s, and 20 s are between two lines
        (20, {1: "about 4 min 00 s left", 2: "about 2 min 40 s left", 3: "about 1 min 20 s left", 4: "done"}),
        (1000, {1: "about 3 h 20 min left", 2: "about 2 h 13 min left", 3: "about 1 h 06 min left", 4: "done"}),
    ],
)
def test_lines_tell_now_and_then_what_was_reached_and_how_long_it_will_take(
    tmp_path, tiny_dataset, monkeypatch, capsys, seconds, told
):
    slow = Slow(seconds)
    for module in (keeper, progress):
        monkeypatch.setattr(module, "time", slow)
    history = fit(tmp_path, tiny_dataset, progress=slow).history
    first, *lines = capsys.readouterr().out.splitlines()
    assert TINY.run_id in first
    rate = f"{120 / (4 * seconds):.0f} images/s"
    assert lines == [f"  epoch {n}/4: {summary(history[n - 1])}, {rate}, {left}" for n, left in told.items()]


class SlowAndTelling(Slow):
    def step(self, images):
        super().step(images)
        Lines.step(self, images)


def test_lines_give_a_sign_of_life_within_the_first_epoch(tmp_path, tiny_dataset, monkeypatch, capsys):
    slow = SlowAndTelling(16)
    for module in (keeper, progress):
        monkeypatch.setattr(module, "time", slow)
    fit(tmp_path, tiny_dataset, progress=slow)
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  64 images so far, 2 images/s"
    assert all(line.startswith("  epoch ") for line in lines[1:])


def test_the_first_line_tells_a_resumed_run_from_a_new_one(tmp_path, tiny_dataset, capsys):
    said = []
    for _ in range(2):  # from the start, and after an epoch of four steps
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, tiny_dataset, progress=InterruptedLines(5))
        said.append(capsys.readouterr().out.splitlines()[0])
    assert all(TINY.run_id in line for line in said)
    assert said[0] != said[1]


# --- evaluation


@pytest.fixture
def evaluable(tiny_dataset, uninterrupted):
    model, _ = build_model(TINY)
    model.load_state_dict(uninterrupted.state["model"])
    normalize = Normalizer(tiny_dataset.train_images, "pixel", torch.device("cpu"))
    return model, EvaluationBatches(tiny_dataset.test_images, tiny_dataset.test_labels, normalize, torch.device("cpu"))


@pytest.mark.fault("evaluation that would change state")
@pytest.mark.parametrize("training", [True, False])
def test_evaluation_leaves_everything_as_it_was(evaluable, training):
    model, batches = evaluable
    model.train(training)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = train.evaluate(model, batches, TINY)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random[0])
    assert np.random.get_state()[1].tolist() == random[1]
    assert all(module.training == training for module in model.modules())
    assert train.evaluate(model, batches, TINY).loss == first.loss
    assert torch.is_grad_enabled()


def test_evaluation_depends_on_neither_mode_nor_batches(evaluable, monkeypatch, uninterrupted):
    model, batches = evaluable
    whole = train.evaluate(model.train(), batches, TINY)
    monkeypatch.setattr("resnet_lib.training.loader.EVALUATION_BATCH", 7)
    parts = train.evaluate(model.eval(), batches, TINY)
    assert parts.loss == pytest.approx(whole.loss, rel=1e-5)
    assert whole.loss == pytest.approx(uninterrupted.evaluation.loss, rel=1e-5)


# --- learning


def test_a_small_net_learns_the_synthetic_set_and_in_bf16_no_worse(tmp_path):
    config = Config(
        dataset="synthetic", train_images=600, test_images=200, model="resnet8", width=8, epochs=6, batch_size=25,
        schedule="onecycle", lr=0.2,
    )  # fmt: skip
    dataset, accuracies = cifar10.load(config), {"fp32": [], "bf16": []}
    for precision, found in accuracies.items():
        for seed in range(2 if precision == "fp32" else 1):  # without its instructions bf16 takes ten times as long
            one = config.replace(precision=precision, seed=seed)
            run = fit(tmp_path / one.run_id, dataset, one)
            assert run.evaluation.accuracy > 0.4  # chance is 0.1, whose standard deviation here is 0.02
            assert run.history[-1]["train_loss"] < 0.75 * run.history[0]["train_loss"]
            assert {p.dtype for p in run.model.parameters()} == {torch.float32}
            found.append(run.evaluation.accuracy)
    fp32, bf16 = accuracies.values()
    spread = max(fp32) - min(fp32) + 0.07  # two seeds tell little of it: add two standard deviations of 200 images
    assert min(fp32) - spread < np.mean(bf16) < max(fp32) + spread


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_what_the_config_says(tiny_dataset, evaluable, precision, expected):
    model, batches = evaluable
    seen = []
    model.fc.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    evaluation = train.evaluate(model, batches, TINY.replace(precision=precision))
    assert seen == [expected]
    assert 0 < evaluation.loss < 10


def test_label_smoothing_acts_on_training_alone(tmp_path, tiny_dataset):
    smooth, plain = (
        fit(tmp_path / str(s), tiny_dataset, TINY.replace(epochs=1, milestones=(), lr=1e-9, label_smoothing=s))
        for s in (0.5, 0.0)
    )  # at this rate nothing is learned, so that only the losses differ
    assert smooth.evaluation.loss == pytest.approx(plain.evaluation.loss, rel=1e-4)
    assert smooth.history[0]["train_loss"] != pytest.approx(plain.history[0]["train_loss"], rel=1e-3)


@pytest.mark.fault("NaN or infinite loss")
@pytest.mark.parametrize("seconds", [300, -1], ids=["saved after epochs", "saved after steps"])
def test_divergence_is_told_with_where_and_what_to_try_and_its_state_not_saved(
    tmp_path, tiny_dataset, monkeypatch, seconds
):
    monkeypatch.setattr(keeper, "SAVE_SECONDS", seconds)
    config = TINY.replace(  # each step: weights times -19
        stem="cifar", shortcut="A", lr=20.0, weight_decay=1.0, epochs=20, milestones=()
    )
    with pytest.raises(Diverged, match=r"the training loss .* at step \d+ \(.*, lr 20\); try a smaller lr") as caught:
        fit(tmp_path, tiny_dataset, config)
    found = caught.value.details
    assert found["epoch"] > 1
    assert found["step"] == 4 * (found["epoch"] - 1) + found["batch"]
    state = checkpoint.load(tmp_path / "checkpoint.pt")
    if seconds < 0:
        assert state["step"] == found["step"] - 1
        return
    assert state["step"] == 4 * (found["epoch"] - 1)
    weights = [value for name, value in state["model"].items() if "running" not in name]
    assert all(torch.isfinite(weight).all() for weight in weights)


@pytest.mark.fault("NaN or infinite loss")
def test_a_net_that_diverges_at_the_last_step_is_not_a_result(tmp_path, tiny_dataset, monkeypatch):
    """The losses of the last epoch are taken before its last step, which may be the one that breaks the net."""
    evaluate = train.evaluate
    monkeypatch.setattr(train, "evaluate", lambda *arguments: replace(evaluate(*arguments), loss=float("nan")))
    with pytest.raises(Diverged, match="test loss is no longer a number at step 4"):
        fit(tmp_path, tiny_dataset)
    assert RunFolder(tmp_path, TINY).rows() == []


# --- run


SYNTHETIC = TINY.replace(dataset="synthetic", epochs=3, milestones=(2,))


@pytest.fixture
def trained(reports):
    return experiment.run(SYNTHETIC, choice=CPU, show=Progress())


def test_a_finished_run_is_loaded_not_trained_again(trained, monkeypatch):
    monkeypatch.setattr(train, "fit", None)
    monkeypatch.setattr(cifar10, "load", None)
    again = experiment.run(SYNTHETIC)
    assert (again.config, again.history, again.result) == (trained.config, trained.history, trained.result)
    assert experiment.is_finished(SYNTHETIC)
    assert not experiment.is_finished(SYNTHETIC.replace(seed=1))
    assert not experiment.is_finished(SYNTHETIC, "quick")


def test_the_result_agrees_with_history_and_predictions(trained):
    result, predictions = trained.result, trained.predictions
    assert result["accuracy"] == trained.history[-1]["test_accuracy"] == trained.correct.mean()
    assert result["loss"] == trained.history[-1]["test_loss"]
    assert result["images"] == len(predictions["label"]) == 40
    assert np.trace(result["confusion"]) == trained.correct.sum()
    assert result["per_class_accuracy"] == pytest.approx(
        [trained.correct[predictions["label"] == c].mean() for c in range(10)]
    )
    assert result["fingerprint"] == SYNTHETIC.fingerprint
    assert result["parameters"] == sum(p.numel() for p in build_model(SYNTHETIC)[0].parameters())
    assert result["data_sha256"] == cifar10.load(SYNTHETIC).sha256
    assert "synthetic" in result["data_source"]
    assert result["environment"].items() >= {k: v for k, v in CPU.as_dict().items() if k != "why"}.items()


def test_the_weights_of_a_run_give_its_result(trained):
    path = trained.path / weights.NAME
    assert weights.config_of(path) == SYNTHETIC
    metrics = weights.evaluate(SYNTHETIC, path, CPU)
    assert metrics == {name: trained.result[name] for name in metrics}
    assert not checkpoint.in_folder(trained.path)


def test_held_out_training_images_are_never_called_test(reports):
    config = SYNTHETIC.replace(split="train45k", epochs=1, milestones=())
    record = experiment.run(config, choice=CPU, show=Progress())
    assert {"val_loss", "val_accuracy"} < record.history[0].keys()
    assert not [name for name in record.history[0] if name.startswith("test")]
    assert record.result["evaluated_on"] == "val"


def test_without_the_images_there_is_no_run_and_none_on_others(reports, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv("RESNET_LAB_DATA", raising=False)
    with pytest.raises(DataError, match="CIFAR-10 could not be had"):
        experiment.run(TINY, choice=CPU, show=Progress())
    assert not reports.exists()


KILLED = """
import os, signal, sys
from resnet_lib.runs import experiment
from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.machine.progress import Progress

class Killing(Progress):
    def epoch(self, row):
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)

choice = Choice("cpu", 1, channels_last=True, products=True)
experiment.run(Config.model_validate_json(sys.argv[1]), choice=choice, show=Killing())
"""


def test_a_killed_process_is_resumed_by_another(trained, reports, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "killed"))
    died = subprocess.run([sys.executable, "-c", KILLED, SYNTHETIC.model_dump_json()], capture_output=True, text=True)
    assert died.returncode == -9, died.stderr
    folder = RunFolder.of(SYNTHETIC, "full")
    assert len(folder.rows()) == 2
    assert not folder.finished

    other = Choice(device="cpu", threads=2, channels_last=False, products=True)  # the checkpoint's choice goes on
    show, told = Progress(), []
    monkeypatch.setattr(show, "note", told.append)
    resumed = experiment.run(SYNTHETIC, choice=other, show=show)
    assert told == [f"{SYNTHETIC.run_id} goes on as it began: threads 1, not 2; channels_last True, not False"]
    assert untimed(resumed.history) == untimed(trained.history)
    assert resumed.result["environment"] == trained.result["environment"]
    one, two = (weights.load(record.path / weights.NAME) for record in (trained, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)
    np.testing.assert_array_equal(resumed.predictions["confidence"], trained.predictions["confidence"])


def test_a_run_begun_before_there_were_products_goes_on_without():
    began = CPU.as_dict()
    del began["products"]
    state = {"choice": began, "sessions": [{}]}
    assert experiment._going_on(SYNTHETIC, state, CPU, Progress()) == replace(CPU, products=False)


def test_a_run_begun_with_more_threads_than_are_here_goes_on_with_fewer(monkeypatch):
    told, show = [], Progress()
    monkeypatch.setattr(show, "note", told.append)
    cores = device.cores()
    began = replace(CPU, threads=cores + 1, why="not compiled")
    elsewhere, here = ({"choice": began.as_dict(), "sessions": [{"cores": n}]} for n in (cores + 1, cores))
    assert str(experiment._going_on(SYNTHETIC, elsewhere, CPU, show)) == "cpu, 1 thread; not compiled"
    assert told[0].endswith(f"began with {cores + 1} threads, more than are here: it goes on with 1")
    assert experiment._going_on(SYNTHETIC, elsewhere, None, show).threads == THREADS
    assert experiment._going_on(SYNTHETIC, here, None, show) == began  # as it was asked to
    again = {"choice": began.as_dict(), "sessions": [{"cores": cores + 1}, {"cores": cores}]}
    assert experiment._going_on(SYNTHETIC, again, CPU, show).threads == 1  # here for the second time


def test_a_run_of_another_protocol_is_shown_but_not_trained_by_this_code(trained, reports):
    config = SYNTHETIC.replace(protocol=PROTOCOL + 1)
    with pytest.raises(RecordError, match=f"protocol {PROTOCOL + 1}, and this code trains by {PROTOCOL}"):
        experiment.run(config, choice=CPU, show=Progress())
    assert not RunFolder.of(config, "full").path.exists()


def test_a_profile_that_there_is_not_is_refused_before_anything_is_trained(reports):
    with pytest.raises(ConfigError, match="profile = 'Full' is not valid"):
        experiment.run(SYNTHETIC, "Full")


def test_a_run_that_another_process_finished_meanwhile_is_loaded(trained, reports, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "meanwhile"))
    folder, load = RunFolder.of(SYNTHETIC, "full").path, cifar10.load

    def load_slowly(config):
        shutil.copytree(trained.path, folder)
        return load(config)

    monkeypatch.setattr(cifar10, "load", load_slowly)
    monkeypatch.setattr(train, "fit", None)
    assert experiment.run(SYNTHETIC, choice=CPU, show=Progress()).result == trained.result


def test_many_runs_go_on_after_a_failure(reports, monkeypatch):
    configs = [SYNTHETIC.replace(epochs=1, milestones=(), seed=seed) for seed in (2, 1)]
    broken = configs[0].replace(seed=5)
    monkeypatch.setattr(train, "fit", fit_failing_for(broken, train.fit))
    outcomes = list(many.run_many([configs[0], broken, configs[1]], "quick", on_cpu))
    assert [config.seed for config, _ in outcomes] == [2, 5, 1]
    assert isinstance(outcomes[1][1], Diverged)
    with ThreadPoolExecutor(2) as pool:
        again = dict(many.run_many(configs, "full", on_cpu, pool))
    assert {config.seed: untimed(record.history) for config, record in again.items()} == {
        config.seed: untimed(record.history) for config, record in outcomes if config != broken
    }


def test_of_many_runs_those_that_nobody_waits_for_are_not_begun(reports):
    configs = [SYNTHETIC.replace(epochs=1, milestones=(), seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(1) as executor:
        outcomes = many.run_many(configs, "quick", on_cpu, executor)
        next(outcomes)
        outcomes.close()
    assert not experiment.is_finished(configs[-1], "quick")


class Unsendable(Exception):
    def __init__(self, *, because):
        super().__init__(because)


def test_what_another_library_raises_comes_back_from_a_process_or_what_it_said():
    error = Unsendable(because="no luck")
    error.add_note("there")
    sent = many._sendable(error)
    assert (type(sent), str(sent), sent.__notes__) == (RuntimeError, "Unsendable: no luck", ["there"])
    for fine in (Diverged("lost", {"step": 1}), ValueError("x")):
        assert many._sendable(fine) is fine


def test_one_run_of_many_that_this_machine_cannot_do_does_not_stop_the_others(reports):
    configs = [SYNTHETIC.replace(precision="tf32"), SYNTHETIC.replace(epochs=1, milestones=())]
    (_, refused), (_, record) = many.run_many(configs, "quick", partial(choose, device="cpu"))
    assert isinstance(refused, DeviceError)
    assert record.config == configs[1]


def on_cpu(config):
    return CPU


@pytest.mark.parametrize("choice", [CPU, None], ids=["as told", "as this machine chooses"])
def test_a_run_whose_device_is_not_here_goes_on_with_another(trained, reports, monkeypatch, tmp_path, choice):
    """As bytes show, from where it stopped; would come back to where it began; the record names both devices."""
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "moved"))
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cpu"])
    with pytest.raises(KeyboardInterrupt):
        experiment.run(SYNTHETIC, choice=CPU, show=Interrupting(6))
    saved = RunFolder.of(SYNTHETIC, "full").checkpoint
    state = checkpoint.load(saved)
    state["choice"] |= {"device": "cuda", "graph": True, "compile": True}
    state["sessions"][0]["device_name"] = "abacus"
    checkpoint.save(saved, state)

    with pytest.raises(KeyboardInterrupt):
        experiment.run(SYNTHETIC, choice=choice, show=Interrupting(6))
    assert checkpoint.load(saved)["step"] > state["step"]
    assert checkpoint.load(saved)["choice"] == state["choice"]
    show, told = Progress(), []
    monkeypatch.setattr(show, "note", told.append)
    moved = experiment.run(SYNTHETIC, choice=choice, show=show)
    assert told == [f"{SYNTHETIC.run_id} began on cuda, which is not available here: it goes on on cpu"]
    assert untimed(moved.history) == untimed(trained.history)
    first, second, _ = moved.result["sessions"]
    assert (first["from_step"], second["from_step"]) == (0, state["step"])
    assert moved.result["environment"] == trained.result["environment"]
    assert list(moved.seconds_by_device) == ["abacus", *trained.seconds_by_device]
    before = [row["seconds"] for row in moved.history if row["step"] <= state["step"]]
    assert 0 < len(before) < len(moved.history)
    assert moved.seconds_by_device["abacus"] == pytest.approx(sum(before))


def test_a_run_goes_on_where_weights_are_laid_out_otherwise_in_memory(trained, reports, monkeypatch, tmp_path):
    """As from one of Apple's GPUs to a CPU: the momentum of each weight stays its own."""
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "moved"))
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cpu"])
    with pytest.raises(KeyboardInterrupt):
        experiment.run(SYNTHETIC, choice=replace(CPU, channels_last=False), show=Interrupting(6))
    saved = RunFolder.of(SYNTHETIC, "full").checkpoint
    state = checkpoint.load(saved)
    state["choice"]["device"] = "mps"
    checkpoint.save(saved, state)
    moved = experiment.run(SYNTHETIC, show=Progress())
    for name in ("train_loss", "test_loss"):
        ours, theirs = ([row[name] for row in record.history] for record in (moved, trained))
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_run_in_a_precision_that_no_other_device_has_stays_where_it_began(monkeypatch):
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cpu"])
    state = {"choice": Choice("cuda", 1, True).as_dict(), "sessions": [{}]}
    with pytest.raises(DeviceError, match="'tf32' needs an NVIDIA GPU"):
        experiment._going_on(SYNTHETIC.replace(precision="tf32"), state, None, Progress())
    with pytest.raises(DeviceError, match="'tf32' needs an NVIDIA GPU"):
        CPU.activate("tf32")  # nor is another choice of a device one of a precision


def test_a_compiled_run_goes_on_without_where_there_is_no_compiler(monkeypatch):
    told, show = [], Progress()
    monkeypatch.setattr(show, "note", told.append)
    monkeypatch.setattr("resnet_lib.machine.device.missing_to_compile", lambda device: "there is no C++ compiler")
    state = {"choice": replace(CPU, compile=True).as_dict(), "sessions": [{}]}
    uncompiled = experiment._going_on(SYNTHETIC, state, None, show)
    assert (uncompiled, uncompiled.why) == (CPU, "not compiled: there is no C++ compiler")
    without = f"{SYNTHETIC.run_id} began compiled, and goes on without: there is no C++ compiler"
    assert told == [without]
    assert experiment._going_on(SYNTHETIC, state, replace(CPU, threads=CPU.threads + 1), show) == CPU
    as_it_began = f"{SYNTHETIC.run_id} goes on as it began: threads {CPU.threads}, not {CPU.threads + 1}"
    assert told == [without, without, as_it_began]


def fit_failing_for(config, fit):
    def fit_or_fail(model, dataset, given, *arguments):
        if given == config:
            raise Diverged("on purpose")
        return fit(model, dataset, given, *arguments)

    return fit_or_fail


def test_networks_built_in_parallel_are_those_of_their_seeds():
    configs = [Config(model="resnet20", seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads:
        built = [model for model, _ in threads.map(build_model, configs)]
    for config, model in zip(configs, built, strict=True):
        alone, _ = build_model(config)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), alone.parameters(), strict=True))


# --- the choices of a run


def test_a_device_that_is_not_there_is_refused_by_name():
    with pytest.raises(DeviceError, match=r"device 'abacus' is not available here: use .*cpu"):
        choose(device="abacus")
    assert choose(None, "cpu", threads=3) == Choice(device="cpu", threads=3, channels_last=True, products=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_choice_for_another_machine_is_refused():
    with pytest.raises(DeviceError, match="device 'cuda' is not available here"):
        Choice(device="cuda", threads=1, channels_last=True).activate()


def test_what_is_said_to_be_fp32_is_computed_in_it_whatever_was_asked_of_torch_before():
    torch.set_float32_matmul_precision("medium")
    CPU.activate()
    assert torch.get_float32_matmul_precision() == "highest"


def test_the_threads_of_one_run_are_not_those_of_the_next():
    before = choose(None, "cpu")
    Choice(device="cpu", threads=before.threads + 1, channels_last=True).activate()
    assert choose(None, "cpu") == before
    before.activate()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError(),
        RuntimeError("MPS backend out of memory (MPS allocated: 3.00 GB)"),
        RuntimeError("FIND was unable to find an engine to execute this computation"),
    ],
    ids=["CUDA", "Metal", "cuDNN"],
)
def test_a_device_too_small_for_the_batch_is_said_with_what_to_set(reports, monkeypatch, error):
    def exhausted(*arguments):
        raise error

    monkeypatch.setattr(train, "fit", exhausted)
    with pytest.raises(DeviceError, match=r"too little memory for batches of 64 in resnet8: use fewer --jobs if "):
        experiment.run(SYNTHETIC.replace(batch_size=64), "quick", CPU)


@pytest.mark.parametrize(
    ("error", "is_lost", "kind", "told"),
    [
        (torch.AcceleratorError("CUDA error: an illegal memory access"), True, DeviceLost, "access: this process can"),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), True, DeviceLost, "FAILED: this process can"),
        (torch.AcceleratorError("CUDA error: no kernel image"), False, DeviceError, "image: use --device cpu, or a"),
    ],
)
def test_a_gpu_that_failed_is_said_with_what_to_do(reports, monkeypatch, error, is_lost, kind, told):
    def failing(*arguments):
        if is_lost or arguments:
            raise error

    monkeypatch.setattr(train, "fit", failing)
    monkeypatch.setattr(torch.cuda, "synchronize", failing)
    with pytest.raises(DeviceError, match=told) as raised:
        experiment.run(SYNTHETIC, "quick", replace(CPU, device="cuda"))
    assert type(raised.value) is kind


@pytest.mark.parametrize("kind", [ZeroDivisionError, RuntimeError])  # the second is no lack of memory
def test_an_unexpected_error_of_one_run_of_several_says_where_it_was(reports, monkeypatch, capsys, kind):
    def broken(*arguments):
        raise kind("on purpose")

    monkeypatch.setattr(train, "fit", broken)
    ((config, error),) = many.run_many([SYNTHETIC], "quick", on_cpu)
    assert type(error) is kind
    assert error.__traceback__ is None
    assert print_outcomes([(config, error)]) == (1, 1)
    assert "in broken" in capsys.readouterr().err


def test_a_failed_run_of_several_leaves_nothing_of_its_network_behind(reports, monkeypatch):
    networks = []

    def exhausted(model, *arguments):
        networks.append(weakref.ref(model))
        raise torch.OutOfMemoryError

    monkeypatch.setattr(train, "fit", exhausted)
    ((_, error),) = many.run_many([SYNTHETIC], "quick", on_cpu)
    assert isinstance(error, DeviceError)
    gc.collect()
    assert networks[0]() is None


@pytest.mark.parametrize(("terminal", "jupyter", "kind"), [(1, 0, Bar), (0, 1, Bar), (0, 0, Lines)])
def test_a_bar_is_for_those_who_watch(monkeypatch, terminal, jupyter, kind):
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: bool(terminal)))
    if jupyter:
        monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    assert type(progress.default()) is kind


class Counting(Lines):
    left = 0

    def begin(self, name, total, *arguments):
        self.left = total
        super().begin(name, total, *arguments)

    def step(self, images):
        self.left -= images


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ({"epochs": 1}, "1 epoch of 120 images ("),
        ({"iterations": 8}, "2 epochs of 120 images ("),
        ({"iterations": 7}, "216 images, 120 an epoch ("),
    ],
    ids=["an epoch", "iterations of whole epochs", "iterations"],
)
def test_progress_counts_the_images_that_are_trained_on(tmp_path, tiny_dataset, capsys, length, said):
    progress = Counting()
    fit(tmp_path, tiny_dataset, TINY.replace(**length, milestones=()), progress)
    assert progress.left == 0
    told = capsys.readouterr().out
    assert f": {said}" in told.splitlines()[0]
    assert told.endswith("done\n")
