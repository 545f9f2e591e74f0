"""A synthetic set for tests: ten glyphs of 7x7, drawn at twice their size."""

from __future__ import annotations

import hashlib
import math

import numpy as np

from resnet_lib.config import TRAIN_IMAGES, Config
from resnet_lib.data.dataset import Dataset

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
# A change of any constant here changes results: raise `config.PROTOCOL` with it.
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
