"""Ways to train, from the usual CIFAR-10 script's to this lab's, a step at a time: what the benchmark compares."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from resnet_lib.config import Config
from resnet_lib.machine.cores import cores
from resnet_lib.machine.device import Choice, has_bf16, has_tf32
from resnet_lib.models.build import build_model, place
from resnet_lib.speed.measured import BF16, COMPILED, CONVENTIONAL, PRODUCTS
from resnet_lib.training.loader import TrainBatches
from resnet_lib.training.optimizer import make_optimizer
from resnet_lib.training.update import Replay, Update

IMAGES = 10_000
BATCH = 128
BASE = Config(batch_size=BATCH, crop=4, flip=True, train_images=IMAGES)


@dataclass(frozen=True)
class Rung:
    """One way to train; each of `ladder` adds one improvement to the one before."""

    name: str
    choice: Choice
    in_memory: bool  # batches from tensors; else PIL transforms image by image, in workers
    read_once: bool  # metrics once per epoch; else at every step
    fused: bool
    precision: str


def ladder(choice: Choice) -> list[Rung]:
    """From the pipeline that most CIFAR-10 scripts use to this lab's, as `choice` has it; bf16 where it is fast."""
    plain = replace(choice, channels_last=False, products=False, compile=False, graph=False)
    usual = "tf32" if has_tf32(choice.device) else "fp32"  # torch's default for convolutions on NVIDIA GPUs
    rung = Rung(CONVENTIONAL, plain, in_memory=False, read_once=False, fused=False, precision=usual)
    rungs = [rung]

    def add(name: str, **changes: Any) -> None:
        rungs.append(replace(rungs[-1], name=name, **changes))

    add("images in memory, crop and flip by batch", in_memory=True)
    add("metrics read once per epoch", read_once=True)
    if choice.channels_last:
        add("channels_last", choice=replace(plain, channels_last=True))
    if choice.products:
        add(PRODUCTS, choice=replace(rungs[-1].choice, products=True))
    if has_bf16(choice.device):
        add(BF16, precision="bf16")
    add("fused SGD", fused=True)
    if choice.graph:
        add("CUDA graph", choice=replace(choice, compile=False))
    if choice.compile:
        add(COMPILED, choice=choice)
    return rungs


class Pipeline:
    """A network in training, a step at a time."""

    def __init__(self, model: str, rung: Rung, batch: int = BATCH) -> None:
        self.rung, self.batch = rung, batch
        self.config = BASE.replace(model=model, precision=rung.precision, batch_size=batch)
        self.device = rung.choice.activate(rung.precision)
        images, labels = noise()
        network, _ = build_model(self.config)
        network = place(network, rung.choice)
        self.optimizer = (
            make_optimizer(network, self.config, rung.choice)
            if rung.fused
            else torch.optim.SGD(
                network.parameters(), self.config.lr, self.config.momentum, weight_decay=self.config.weight_decay
            )
        )
        self.network = network.train()
        if rung.in_memory:
            batches = TrainBatches(images, labels, self.config, self.device, rung.choice.memory_format)
            kind = Replay if rung.choice.graph else Update
            self.update = kind(network, self.optimizer, batches, self.config, rung.choice)
            whole = (plan for epoch in itertools.count() for plan in batches.plans(epoch) if plan.shape[1] == batch)
            self.source: Iterator[Any] = whole
        else:
            self.source, self.ready = pil_batches(images, labels, batch, self.device)

    def steps(self, count: int) -> None:
        for item in itertools.islice(self.source, count):
            if self.rung.in_memory:
                self.update(item)
                if not self.rung.read_once:
                    self.update.totals.read()
            else:
                self.conventional_step(*item)
        synchronize(self.device)

    def conventional_step(self, images: Tensor, labels: Tensor) -> None:
        images, labels = images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
        logits = self.network(images)
        loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item(), (logits.argmax(1) == labels).sum().item()

    def rate(self, seconds: float = 2.0) -> float:
        """Images/s over a slice of about `seconds`, after a step to warm up."""
        self.rung.choice.activate(self.rung.precision)  # threads and, on NVIDIA, TF32 are the process's
        if not self.rung.in_memory:  # what the workers have made ready in the meantime would come for nothing
            for _ in range(self.ready):
                next(self.source)
        began = time.perf_counter()
        self.steps(1)
        count = min(1_000, max(3, round(seconds / (time.perf_counter() - began))))
        began = time.perf_counter()
        self.steps(count)
        return count * self.batch / (time.perf_counter() - began)


def noise() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.integers(0, 256, (IMAGES, 3, 32, 32), np.uint8), random.integers(0, 10, IMAGES)


class PilImages(Dataset):
    """Image by image through PIL and torchvision's transforms, as in most CIFAR-10 scripts."""

    def __init__(self, images: np.ndarray, labels: np.ndarray) -> None:
        from torchvision import transforms

        self.images, self.labels = images.transpose(0, 2, 3, 1), labels
        self.transform = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def pil_batches(images: np.ndarray, labels: np.ndarray, batch: int, device: torch.device) -> tuple[Iterator[Any], int]:
    """Batches without end, and how many the workers keep ready."""
    workers = min(4, cores())
    loader = DataLoader(
        PilImages(images, labels), batch, shuffle=True, num_workers=workers, drop_last=True,
        persistent_workers=True, pin_memory=device.type == "cuda",
    )  # fmt: skip
    return itertools.chain.from_iterable(itertools.repeat(loader)), workers * loader.prefetch_factor


def synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        (torch.cuda if device.type == "cuda" else torch.mps).synchronize()
