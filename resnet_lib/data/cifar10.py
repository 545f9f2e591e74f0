"""The images of a run as arrays: CIFAR-10 or a synthetic set, its splits and subsets."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from resnet_lib.config import TRAIN_IMAGES, Config
from resnet_lib.data.formats import CIFAR10, RECORD_BYTES, Manifest
from resnet_lib.data.sources import DataError, fetch, origin

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Seeds of the fixed random choices, for RandomState, whose streams are frozen for ever.
# A change of one changes results: raise `config.PROTOCOL` with it.
SPLIT_STREAM, TRAIN_STREAM, TEST_STREAM = 45_000, 1, 2


@dataclass(frozen=True)
class Dataset:
    """The arrays of one run. `test_*` is what it evaluates on: for train45k, the held-out images."""

    train_images: np.ndarray  # uint8 [N, 3, 32, 32]
    train_labels: np.ndarray  # int64 [N]
    test_images: np.ndarray  # uint8 [M, 3, 32, 32]
    test_labels: np.ndarray  # int64 [M]
    classes: tuple[str, ...]
    sha256: str  # of CIFAR-10 as a whole, before split and subset; of synthetic images, those drawn
    source: str  # where it came from, in words


def load(config: Config, manifest: Manifest = CIFAR10) -> Dataset:
    """The images that `config` asks for, always the same ones in the same order.

    Raises DataError if CIFAR-10 cannot be had; it never falls back to synthetic images.
    """
    if config.dataset == "synthetic":
        return synthetic(config)
    dataset = _split(_read(fetch(manifest=manifest), manifest), config.split)
    train = stratified(dataset.train_labels, config.train_images, TRAIN_STREAM)
    test = stratified(dataset.test_labels, config.test_images, TEST_STREAM)
    return replace(
        dataset,
        train_images=dataset.train_images[train],
        train_labels=dataset.train_labels[train],
        test_images=dataset.test_images[test],
        test_labels=dataset.test_labels[test],
    )


def stratified(labels: np.ndarray, count: int | None, stream: int) -> np.ndarray:
    """Increasing indices [count] of a fixed subset with as many of each class as possible; None: all.

    A smaller subset of the same stream is part of every larger one.
    """
    if count is None:
        return np.arange(len(labels))
    shuffled = np.random.RandomState(stream).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)  # place within the class
    return np.sort(by_class[np.argsort(rank, kind="stable")][:count])


def _read(cache: Path, manifest: Manifest) -> Dataset:
    """The arrays of a filled cache."""
    try:
        files = [np.fromfile(cache / name, np.uint8).reshape(-1, RECORD_BYTES) for name in manifest.files]
    except (OSError, ValueError) as error:
        raise DataError(f"{cache} changed while it was read ({error}): run again") from error
    train, test = np.concatenate(files[:-1]), files[-1]
    return Dataset(
        train_images=train[:, 1:].reshape(-1, 3, 32, 32),
        train_labels=train[:, 0].astype(np.int64),
        test_images=test[:, 1:].reshape(-1, 3, 32, 32),
        test_labels=test[:, 0].astype(np.int64),
        classes=CLASSES,
        sha256=manifest.sha256,
        source=f"CIFAR-10 from {origin(cache)}",
    )


def _split(dataset: Dataset, split: str) -> Dataset:
    """`all`: as published; `train45k`: without a fixed tenth of each training class, which replaces the test set;
    `train45k-test`: without it, and the test set stays."""
    if split == "all":
        return dataset
    held_out = np.zeros(len(dataset.train_labels), bool)
    held_out[stratified(dataset.train_labels, len(held_out) // 10, SPLIT_STREAM)] = True
    images, labels = dataset.train_images, dataset.train_labels
    kept = replace(dataset, train_images=images[~held_out], train_labels=labels[~held_out])
    if split == "train45k-test":
        return kept
    return replace(kept, test_images=images[held_out], test_labels=labels[held_out])


# --- the synthetic set: ten glyphs of 7x7, drawn at twice their size

GLYPHS = {
    "ring": (0b0011100, 0b0100010, 0b1000001, 0b1000001, 0b1000001, 0b0100010, 0b0011100),
    "square": (0b1111111, 0b1000001, 0b1000001, 0b1000001, 0b1000001, 0b1000001, 0b1111111),
    "plus": (0b0001000, 0b0001000, 0b0001000, 0b1111111, 0b0001000, 0b0001000, 0b0001000),
    "saltire": (0b1000001, 0b0100010, 0b0010100, 0b0001000, 0b0010100, 0b0100010, 0b1000001),
    "corner": (0b1000000, 0b1000000, 0b1000000, 0b1000000, 0b1000000, 0b1000000, 0b1111111),
    "hook": (0b1111111, 0b1000000, 0b1000000, 0b1111100, 0b0000100, 0b0000100, 0b0111100),
    "flag": (0b1111110, 0b1000010, 0b1111110, 0b1000000, 0b1000000, 0b1000000, 0b1000000),
    "stairs": (0b1100000, 0b0100000, 0b0111000, 0b0001000, 0b0001110, 0b0000010, 0b0000011),
    "bars": (0b1111111, 0b0000000, 0b0000000, 0b1111111, 0b0000000, 0b0000000, 0b1111111),
    "diamond": (0b0001000, 0b0010100, 0b0100010, 0b1000001, 0b0100010, 0b0010100, 0b0001000),
}
SYNTHETIC_STREAM = 7
BLOCK = 100  # images drawn together, from the number of the block alone
SIDE = 14  # pixels of a drawn glyph
MARGIN = 4  # pixels it keeps from the edges
NOISE = 64  # levels of noise in every pixel
CONTRAST = (32, 128)  # levels by which a shape is brighter than its ground, drawn for each colour


def synthetic(config: Config) -> Dataset:
    """Ten kinds of bright glyphs on noisy colours, which a small net learns in seconds.

    Every image has one glyph of its class, at any place and either way round, and two fragments that tell
    nothing. Image i has class i mod 10 and is the same on every machine, however many images are asked for.
    ResNet-8 of width 8 (2 seeds, CPU, one-cycle to lr 0.1, batch 64, 1,000 test images): 1,000 images and
    6 epochs give 42 and 54 %; 300 images and 40 epochs give 51 and 72 % without crops and flips, 78 and
    81 % with.
    """
    train_images = _draw(0, config.train_size, SYNTHETIC_STREAM)
    if config.split == "train45k":  # the held-out images are the last training images
        test_images = _draw(TRAIN_IMAGES["train45k"], config.test_size, SYNTHETIC_STREAM)
    else:
        test_images = _draw(0, config.test_size, SYNTHETIC_STREAM + 1)
    digest = hashlib.sha256(train_images.tobytes())
    digest.update(test_images.tobytes())
    return Dataset(
        train_images=train_images,
        train_labels=np.arange(config.train_size) % len(GLYPHS),
        test_images=test_images,
        test_labels=np.arange(config.test_size) % len(GLYPHS),
        classes=tuple(GLYPHS),
        sha256=digest.hexdigest(),
        source="synthetic glyphs, not CIFAR-10",
    )


def _draw(first: int, count: int, stream: int) -> np.ndarray:
    """Images first to first + count of a stream, uint8 [count, 3, 32, 32]; first is a multiple of BLOCK."""
    blocks = range(first // BLOCK, math.ceil((first + count) / BLOCK))
    return np.concatenate([_draw_block(block, stream) for block in blocks])[:count]


def _draw_block(block: int, stream: int) -> np.ndarray:
    """One block of images, in integers throughout: no rounding that a machine could do differently."""
    random = np.random.RandomState([stream, block])
    images = random.randint(0, NOISE, (BLOCK, 3, 32, 32), np.int16)
    images += random.randint(0, 128, (BLOCK, 3, 1, 1), np.int16)
    glyphs = _glyphs()[np.arange(BLOCK) % len(GLYPHS)]
    mirrored = random.randint(0, 2, BLOCK, np.int64) == 1
    glyphs[mirrored] = glyphs[mirrored, :, ::-1]
    shapes = [glyphs]
    for _ in range(2):  # distractors
        fragments = np.zeros_like(glyphs)
        fragments[:, :6, :6] = _double(random.randint(0, 2, (BLOCK, 3, 3), np.int16))
        shapes.insert(0, fragments)
    for shape in shapes:
        top, left = random.randint(MARGIN, 32 - SIDE + 1 - MARGIN, (2, BLOCK), np.int64)
        colour = random.randint(*CONTRAST, (BLOCK, 3, 1, 1), np.int16)
        images += colour * _place(shape, top, left)[:, None]
    return images.clip(0, 255).astype(np.uint8)


def _glyphs() -> np.ndarray:
    """The glyphs as 0 and 1, int16 [10, SIDE, SIDE]."""
    rows = np.array(list(GLYPHS.values()), np.int16)
    return _double(rows[:, :, None] >> np.arange(6, -1, -1, dtype=np.int16) & 1)


def _double(shapes: np.ndarray) -> np.ndarray:
    """Shapes [N, H, W] at twice their size."""
    return shapes.repeat(2, axis=1).repeat(2, axis=2)


def _place(shapes: np.ndarray, top: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Each shape [N, SIDE, SIDE] on an empty canvas [N, 32, 32] at its own offset."""
    canvas = np.zeros((len(shapes), 32, 32), shapes.dtype)
    within = np.arange(SIDE)
    rows, columns = top[:, None, None] + within[:, None], left[:, None, None] + within
    canvas[np.arange(len(shapes))[:, None, None], rows, columns] = shapes
    return canvas
