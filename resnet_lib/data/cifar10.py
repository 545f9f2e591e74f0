"""The images of a run as arrays: CIFAR-10, its splits and subsets, or the synthetic set."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from resnet_lib.config import Config
from resnet_lib.data.dataset import Dataset
from resnet_lib.data.formats import CIFAR10, RECORD_BYTES, Manifest
from resnet_lib.data.sources import DataError, fetch, origin
from resnet_lib.data.synthetic import synthetic

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

# Seeds of the fixed random choices, for RandomState, whose streams are frozen for ever.
# A change of one changes results: raise `config.PROTOCOL` with it.
SPLIT_STREAM, TRAIN_STREAM, TEST_STREAM = 45_000, 1, 2


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
