"""Batches from uint8 images that live on the device: normalised, cropped and flipped there.

Order, crops and flips of an epoch are functions of (seed, epoch) alone, whatever the device and however often the
run was interrupted.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from resnet_lib.config import Config

EVALUATION_BATCH = 500  # images, and on a GPU twice as many: launching small batches takes longer than computing them
BLOCK = 1_000  # images that are counted at a time


class Normalizer:
    """Shift and scale fitted to training images: uint8 [N, 3, H, W] -> torch's default float, same shape.

    `mean` is in levels of 0 to 255, [1, 3, 1, 1], or for `pixel` [1, 3, H, W]; `scale`, [1, 3, 1, 1], is per level.

    channel: zero mean and unit deviation per colour; pixel: the mean of every pixel position is subtracted and the
    range scaled to 1 (He et al. 2015, section 4.2: "per-pixel mean subtracted"); none: the range scaled to 1.
    """

    def __init__(self, train_images: np.ndarray, kind: str, device: torch.device) -> None:
        mean, std = np.zeros((1, 1, 1, 1)), np.full((1, 1, 1, 1), 255.0)
        if kind == "pixel":
            mean = train_images.mean(axis=0, keepdims=True, dtype=np.float64)
        elif kind == "channel":
            mean, std = channel_statistics(train_images)
        self.mean = torch.from_numpy(mean).to(torch.get_default_dtype()).to(device)
        self.scale = torch.from_numpy(1 / std).to(torch.get_default_dtype()).to(device)

    def __call__(self, images: Tensor) -> Tensor:
        return (images.to(self.mean.dtype) - self.mean) * self.scale


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation per colour, each [1, 3, 1, 1], in units of 0 to 255, of uint8 [N, 3, H, W].

    Over all pixels of all images; the widely copied 0.2023 for CIFAR-10's red is the mean of each image's own
    deviation instead. Taken from histograms, which is exact, of a block of images at a time, for counting copies them
    as int64.
    """
    levels = np.arange(256.0)
    mean, std = [], []
    for channel in range(images.shape[1]):
        blocks = (images[start : start + BLOCK, channel].ravel() for start in range(0, len(images), BLOCK))
        share = sum(np.bincount(block, minlength=256) for block in blocks) / images[:, channel].size
        mean.append(share @ levels)
        std.append(np.sqrt(share @ levels**2 - mean[-1] ** 2))
    return np.reshape(mean, (1, -1, 1, 1)), np.reshape(std, (1, -1, 1, 1))


class TrainBatches:
    """Training batches: images float32 [B, 3, H, W] in the memory format asked for, labels int64 [B]."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        config: Config,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.config = config
        self.memory_format = memory_format
        self.normalize = Normalizer(images, config.normalize, device)
        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels).to(device)

    def __len__(self) -> int:
        return math.ceil(len(self.images) / self.config.batch_size)

    def plans(self, epoch: int) -> Iterator[Tensor]:
        """What `take` needs for each batch of an epoch, on the device: int64 [4, B], image, top, left and mirrored.

        Every image comes once; the last batch may be smaller. In one tensor: an epoch's draws move to the device in one
        copy, and a CUDA graph has one input.
        """
        order, *drawn = draw(len(self.images), epoch, self.config)
        plan = torch.stack([order, *(values[order] for values in drawn)]).to(self.images.device)
        return iter(plan.split(self.config.batch_size, dim=1))

    def take(self, plan: Tensor) -> tuple[Tensor, Tensor]:
        """The batch of a plan [4, B]."""
        chosen, top, left, mirrored = plan
        images = self.normalize(self.images[chosen])
        if self.config.crop or self.config.flip:
            images = crop_and_flip(images, top, left, mirrored.bool(), self.config.crop)
        return images.contiguous(memory_format=self.memory_format), self.labels[chosen]


class EvaluationBatches:
    """Plain images [B, 3, H, W], normalised with the training set's statistics, in the order of `labels`."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        normalize: Normalizer,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        self.normalize = normalize
        self.memory_format = memory_format
        self.images = torch.from_numpy(images).to(device)
        self.labels = torch.from_numpy(labels).to(device)

    def __iter__(self) -> Iterator[Tensor]:
        size = EVALUATION_BATCH * (1 if self.images.device.type == "cpu" else 2)
        for images in self.images.split(size):
            yield self.normalize(images).contiguous(memory_format=self.memory_format)


def draw(count: int, epoch: int, config: Config) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Order of the images, crop offsets (top, left) and mirroring of one epoch, each int64 or bool [count].

    Drawn on the CPU, so that they are the same on every device.
    """
    generator = torch.Generator().manual_seed((config.seed << 20) + epoch)
    order = torch.randperm(count, generator=generator)
    offsets = torch.randint(0, 2 * config.crop + 1, (2, count), generator=generator)
    mirrored = torch.rand(count, generator=generator) < (0.5 if config.flip else 0.0)
    if config.flip == "alternating":  # each image one way round, then the other (Jordan 2024, arXiv 2404.00498)
        # From the state that epoch 0's order is drawn from, too. One of its own would be cleaner, but other results
        # under the same settings would make the recorded runs untrue.
        first = torch.rand(count, generator=torch.Generator().manual_seed(config.seed << 20)) < 0.5
        mirrored = first if epoch % 2 == 0 else ~first
    return order, offsets[0], offsets[1], mirrored


def crop_and_flip(images: Tensor, top: Tensor, left: Tensor, mirrored: Tensor, padding: int) -> Tensor:
    """Crop every image [B, C, H, W] of the zero-padded batch at its own offset, mirroring some; one gather.

    The padding is zero after normalisation, so the border has the mean colour (as in fb.resnet.torch), or is black
    where nothing is subtracted.
    """
    height, width = images.shape[2:]
    rows = top[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device)
    columns = left[:, None] + torch.where(mirrored[:, None], columns.flip(0), columns)
    padded = F.pad(images, (padding,) * 4).permute(0, 2, 3, 1)
    batch = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[batch, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
