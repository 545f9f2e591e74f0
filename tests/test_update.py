"""The fast path computes what a plain loop computes."""

from __future__ import annotations

import gc
import os
import weakref
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
import torch.nn.functional as F
from tiny_runs import CPU
from torch._dynamo.utils import counters
from torchvision.transforms import functional as reference

from resnet_lib.config import Config
from resnet_lib.machine.device import Choice, missing_to_compile
from resnet_lib.models.build import build_model
from resnet_lib.runs.pool import gpus, take_gpu
from resnet_lib.training.loader import draw
from resnet_lib.training.optimizer import set_lr
from resnet_lib.training.schedule import lr_at
from resnet_lib.training.update import Replay, make_update, undone

# Rates without rounding in float32, in which a graph has them: Muon makes much of the smallest difference.
CIFAR = Config(
    model="resnet8", width=8, train_images=120, batch_size=32, crop=4, flip=True, lr=2**-4, gamma=0.5, milestones=(2, 4)
)
IMAGENET = CIFAR.replace(model="resnet18", width=4, nesterov=True, label_smoothing=0.1, normalize="pixel")
MUON = CIFAR.replace(muon_lr=2**-5, nesterov=True)
STEPS = 20


@pytest.fixture
def doubles():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def prepare(config, dataset, choice=CPU):
    """An update of a new network."""
    model, _ = build_model(config)
    return make_update(model, dataset.train_images, dataset.train_labels, config, choice)


def train(config, dataset, choice=CPU, steps=STEPS):
    """The weights after so many steps of the fast path, and what was counted in them, by name, on the CPU."""
    update = prepare(config, dataset, choice)
    plans = [plan for epoch in range(5) for plan in update.batches.plans(epoch)]
    for step, plan in enumerate(plans[:steps]):
        set_lr(update.optimizer, lr_at(step, config))
        update(plan)
    counted = {f"total {name}": total for name, total in update.totals.tensors.items()}
    return {name: tensor.cpu() for name, tensor in (update.model.state_dict() | counted).items()}


def train_plainly(config, dataset):
    """The same by torchvision's transforms, image by image, NCHW, and an optimizer that is not fused."""
    model, _ = build_model(config)
    optimizer = torch.optim.SGD(
        model.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay, nesterov=config.nesterov
    )
    pixels = torch.from_numpy(dataset.train_images).double()
    if config.normalize == "pixel":
        pixels = (pixels - pixels.mean(0)) / 255
    else:
        pixels = (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std((0, 2, 3), keepdim=True, correction=0)
    step = 0
    for epoch in range(5):
        order, top, left, mirrored = draw(len(pixels), epoch, config)
        for chosen in order.split(config.batch_size):
            images = []
            for i in chosen.tolist():
                image = reference.crop(reference.pad(pixels[i], [config.crop]), int(top[i]), int(left[i]), 32, 32)
                images.append(reference.hflip(image) if mirrored[i] else image)
            loss = F.cross_entropy(
                model(torch.stack(images)),
                torch.from_numpy(dataset.train_labels)[chosen],
                label_smoothing=config.label_smoothing,
            )
            for group in optimizer.param_groups:
                group["lr"] = lr_at(step, config)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            if step == STEPS:
                return model.state_dict()
    raise AssertionError


@pytest.mark.parametrize("config", [CIFAR, IMAGENET], ids=["CIFAR shape", "ImageNet shape"])
def test_twenty_steps_equal_a_plain_loop_in_float64(doubles, tiny_dataset, config):
    fast, plain = train(config, tiny_dataset), train_plainly(config, tiny_dataset)
    assert any((value - build_model(config)[0].state_dict()[name]).abs().max() > 1e-2 for name, value in plain.items())
    for name, value in plain.items():
        torch.testing.assert_close(fast[name], value, rtol=0, atol=1e-9)


@pytest.mark.skipif(bool(missing_to_compile("cpu")), reason="no C++ compiler")
def test_compiled_steps_equal_plain_ones_in_float64_and_are_one_graph(doubles, tiny_dataset):
    config = CIFAR.replace(width=4, stem="imagenet", shortcut="B")
    counters.clear()
    compiled = train(config, tiny_dataset, replace(CPU, compile=True))
    assert counters["stats"]["unique_graphs"] == 1
    assert not counters["graph_break"]
    for name, value in train(config, tiny_dataset).items():
        torch.testing.assert_close(compiled[name], value, rtol=0, atol=1e-9)


@pytest.mark.skipif(bool(missing_to_compile("cpu")), reason="no C++ compiler")
def test_compiled_steps_in_bf16_differ_from_plain_ones_by_rounding(tiny_dataset):
    config = CIFAR.replace(width=4, precision="bf16")
    start, plain, compiled = (
        train(config, tiny_dataset, choice, steps)
        for choice, steps in ((CPU, 0), (CPU, 3), (replace(CPU, compile=True), 3))
    )
    for name, value in plain.items():
        if name.endswith("weight"):
            moved = (value - start[name]).norm()
            assert (compiled[name] - value).norm() < 0.1 * moved, name
    assert compiled["total count"] == plain["total count"] == 96
    assert compiled["total loss"].item() == pytest.approx(plain["total loss"].item(), rel=0.01)


def test_an_update_is_gone_once_nobody_has_it(tiny_dataset, monkeypatch):
    """Its network, images and graph take memory that the next run in the process needs."""
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    for compile in (False, True):
        update = prepare(CIFAR, tiny_dataset, replace(CPU, compile=compile))
        update(next(update.batches.plans(0)))
        kept = weakref.ref(update)
        gc.disable()
        try:
            del update
            assert kept() is None
        finally:
            gc.enable()


@pytest.mark.parametrize("before", [0, 3], ids=["at the start", "after three steps"])
@pytest.mark.parametrize("config", [CIFAR, MUON], ids=["SGD", "Muon"])
def test_what_a_capture_warms_up_with_is_put_back(tiny_dataset, before, config):
    """The same bits as if the steps inside had never been, in the same memory."""
    results = []
    for disturb in (False, True):
        update = prepare(config, tiny_dataset)
        plans = list(update.batches.plans(0))
        for plan in plans[:before]:
            update(plan)
        addresses = [tensor.data_ptr() for tensor in update.model.state_dict().values()]
        if disturb:
            with undone(update):
                update(plans[1])
                update(plans[2])
        assert [tensor.data_ptr() for tensor in update.model.state_dict().values()] == addresses
        update(plans[3])
        momentum = [state["momentum_buffer"] for state in update.optimizer.state.values()]
        results.append([*update.model.state_dict().values(), *momentum, torch.tensor(update.totals.read())])
    for one, two in zip(*results, strict=True):
        assert torch.equal(one, two)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("config", [CIFAR, IMAGENET, MUON], ids=["CIFAR shape", "ImageNet shape", "Muon"])
def test_replayed_steps_equal_plain_ones_in_float64(doubles, tiny_dataset, compile, config):
    choice = Choice("cuda", 1, True, compile=compile, graph=True)
    replayed = train(config, tiny_dataset, choice)
    for name, value in train(config, tiny_dataset, Choice("cuda", 1, True)).items():
        torch.testing.assert_close(replayed[name], value, rtol=0, atol=1e-7)


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_step_trains_in_the_precision_of_the_config(tiny_dataset, precision, expected):
    update = prepare(CIFAR.replace(precision=precision), tiny_dataset)
    seen = []
    update.model.fc.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    update(next(update.batches.plans(0)))
    assert seen == [expected]


# --- the choice


@pytest.mark.parametrize("channels_last", [True, False])
def test_network_and_images_have_the_layout_that_is_chosen(tiny_dataset, channels_last):
    update = prepare(CIFAR, tiny_dataset, Choice("cpu", 1, channels_last))
    images, _ = update.batches.take(next(update.batches.plans(0)))
    banks = [parameter for parameter in update.model.parameters() if parameter.shape[2:] == (3, 3)]
    assert all(t.is_contiguous(memory_format=torch.channels_last) == channels_last for t in [images, *banks])
    assert all(t.is_contiguous() != channels_last for t in [images, *banks])


@pytest.mark.parametrize("config", [CIFAR, MUON], ids=["SGD", "Muon"])
def test_one_kernel_updates_all_weights(tiny_dataset, config):
    assert all(group["fused"] for group in prepare(config, tiny_dataset).optimizer.param_groups)


@pytest.mark.parametrize("compile", [True, False])
def test_whole_batches_are_compiled_if_chosen_and_only_then(tiny_dataset, monkeypatch, compile):
    compiled = []

    def compiler(function, **options):
        def call(update, plan):
            compiled.append(plan.shape[1])
            return function(update, plan)

        return call

    monkeypatch.setattr(torch, "compile", compiler)
    update = prepare(CIFAR, tiny_dataset, Choice("cpu", 1, True, compile=compile))
    for plan in update.batches.plans(0):  # 120 images: the last batch has 24
        update(plan)
    assert compiled == ([32, 32, 32] if compile else [])


@pytest.mark.parametrize("graph", [True, False])
def test_steps_are_replayed_if_chosen_and_only_then(tiny_dataset, graph):
    assert isinstance(prepare(CIFAR, tiny_dataset, Choice("cpu", 1, True, graph=graph)), Replay) == graph


def test_processes_take_the_gpus_that_are_seen_in_turn(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,GPU-8f,-1,5")  # CUDA sees none behind one that is not there
    assert gpus() == ["3", "GPU-8f"]
    context, seen = get_context("spawn"), []
    taken = context.Value("i", 0)
    for _ in range(3):
        with ProcessPoolExecutor(1, context, initializer=take_gpu, initargs=(gpus(), taken)) as pool:
            seen.append(pool.submit(os.getenv, "CUDA_VISIBLE_DEVICES").result())
    assert seen == ["3", "GPU-8f", "3"]
