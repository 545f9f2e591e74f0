"""The loop, run for real on tiny sets: right to the last digit, and told where it diverges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import CPU, TINY, fit
from torch import nn

from resnet_lib.config import Config
from resnet_lib.data import cifar10
from resnet_lib.machine.progress import Progress
from resnet_lib.models.build import build_model
from resnet_lib.records import checkpoint
from resnet_lib.records.record import Diverged
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.training import keeper, train
from resnet_lib.training.keeper import Position
from resnet_lib.training.loader import EvaluationBatches, Normalizer
from resnet_lib.training.optimizer import make_optimizer
from resnet_lib.training.update import Update

# --- a whole run


def test_the_history_tells_what_was_done(uninterrupted):
    rows = uninterrupted.history
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4]
    assert [row["step"] for row in rows] == [4, 8, 12, 16]
    assert [row["lr"] for row in rows] == pytest.approx([0.05, 0.05, 0.005, 0.0005])
    assert [row["drops"] for row in rows] == [0, 0, 1, 2]
    assert rows[-1]["test_accuracy"] == uninterrupted.evaluation.accuracy
    assert rows[-1]["test_loss"] == uninterrupted.evaluation.loss
    assert all(row["seconds"] > 0 and row["images_per_second"] > 0 for row in rows)


@pytest.mark.parametrize("other", [{"channels_last": False}, {"products": False}], ids=str)
def test_layout_and_products_are_a_matter_of_speed_alone(tmp_path, tiny_dataset, uninterrupted, other):
    plain = fit(tmp_path, tiny_dataset, choice=replace(CPU, **other))
    assert plain.history[0]["train_loss"] == pytest.approx(uninterrupted.history[0]["train_loss"], rel=1e-3)


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
        train.train_epoch(update, at, config, Progress(), after_step=lambda: None)
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
    monkeypatch.setattr(keeper, "EPOCH_SECONDS", -1)
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
