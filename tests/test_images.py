"""The images of a run: arrays, splits, subsets, and the synthetic glyphs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from tiny_cifar import FILES, RECORDS, TINY_CIFAR, records_of, write

from resnet_lib.config import Config
from resnet_lib.data import cifar10, sources
from resnet_lib.data.dataset import Dataset
from resnet_lib.data.sources import DataError
from resnet_lib.data.synthetic import SIDE, _glyphs

pytestmark = pytest.mark.usefixtures("data_cache")


def test_load_gives_the_images_in_order(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", str(write(tmp_path / "mine", FILES)))
    dataset = cifar10.load(Config(), TINY_CIFAR)
    assert dataset.train_images.shape == (5 * RECORDS, 3, 32, 32)
    assert dataset.test_images.shape == (RECORDS, 3, 32, 32)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == np.int64
    labels, images = records_of("data_batch_2.bin")
    np.testing.assert_array_equal(dataset.train_images[RECORDS : 2 * RECORDS].reshape(RECORDS, -1), images)
    np.testing.assert_array_equal(dataset.train_labels[RECORDS : 2 * RECORDS], labels)
    np.testing.assert_array_equal(dataset.test_images.reshape(RECORDS, -1), records_of("test_batch.bin")[1])
    assert dataset.sha256 == TINY_CIFAR.sha256
    assert dataset.source == "CIFAR-10 from a local copy given by the user"
    assert str(tmp_path) not in dataset.source
    assert len(dataset.classes) == 10


@pytest.mark.fault("corrupt, mislabelled or wrong data, hostile archives")
@pytest.mark.parametrize("change", [Path.unlink, lambda path: path.write_bytes(b"half")], ids=["gone", "cut short"])
def test_a_cache_that_changes_after_it_was_verified_is_told(tmp_path, monkeypatch, change):
    def changed_meanwhile(manifest):
        cache = sources.fetch(write(tmp_path / "mine", FILES), manifest)
        change(cache / "data_batch_2.bin")
        return cache

    monkeypatch.setattr(cifar10, "fetch", changed_meanwhile)
    with pytest.raises(DataError, match=r"changed while it was read .*: run again"):
        cifar10.load(Config(), TINY_CIFAR)


def test_load_splits_then_takes_a_subset(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", str(write(tmp_path / "mine", FILES)))
    every = cifar10.load(Config(), TINY_CIFAR)
    split = cifar10.load(Config(split="train45k"), TINY_CIFAR)
    subset = cifar10.load(Config(split="train45k", train_images=30, test_images=10), TINY_CIFAR)
    assert np.bincount(split.test_labels).tolist() == [1] * 10
    assert np.bincount(split.train_labels).tolist() == [9] * 10
    assert np.bincount(subset.train_labels).tolist() == [3] * 10
    together = [*map(bytes, split.train_images), *map(bytes, split.test_images)]
    assert sorted(together) == sorted(map(bytes, every.train_images))
    assert set(map(bytes, subset.train_images)) <= set(map(bytes, split.train_images))
    assert subset.sha256 == every.sha256


def test_held_out_images_can_be_left_out_of_training_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", str(write(tmp_path / "mine", FILES)))
    left_out, held_out, every = (
        cifar10.load(Config(split=split), TINY_CIFAR) for split in ("train45k-test", "train45k", "all")
    )
    np.testing.assert_array_equal(left_out.train_images, held_out.train_images)
    np.testing.assert_array_equal(left_out.train_labels, held_out.train_labels)
    np.testing.assert_array_equal(left_out.test_images, every.test_images)
    np.testing.assert_array_equal(left_out.test_labels, every.test_labels)


LABELS = np.arange(50_000) * 7 % 10  # 5,000 of each class


@pytest.mark.parametrize(("count", "most"), [(10, 1), (1003, 101), (5000, 500), (49_999, 5000)])
def test_stratified_subsets_are_even_and_nested(count, most):
    chosen = cifar10.stratified(LABELS, count, 1)
    assert len(chosen) == count
    assert (np.diff(chosen) > 0).all()
    sizes = np.bincount(LABELS[chosen], minlength=10)
    assert sizes.max() == most
    assert sizes.max() - sizes.min() <= 1
    assert np.isin(chosen[:-1], cifar10.stratified(LABELS, count + 1, 1)).all()


def test_stratified_takes_what_a_small_class_has():
    labels = np.array([0] * 3 + [1] * 50)
    assert np.bincount(labels[cifar10.stratified(labels, 20, 1)]).tolist() == [3, 17]


@pytest.mark.parametrize(
    ("count", "stream", "golden"),
    [
        (5000, cifar10.SPLIT_STREAM, "ec3c69006fcb21e7"),
        (1000, cifar10.TRAIN_STREAM, "997fd60b43da480b"),
        (1000, cifar10.TEST_STREAM, "61f702baf2dddd15"),
    ],
)
def test_fixed_choices_have_not_changed(count, stream, golden):
    chosen = cifar10.stratified(LABELS, count, stream)
    assert hashlib.sha256(chosen.astype("<i8").tobytes()).hexdigest()[:16] == golden


def synthetic(train: int | None = 200, test: int | None = 100, **fields: object) -> Dataset:
    return cifar10.load(Config(dataset="synthetic", train_images=train, test_images=test, **fields))


def test_synthetic_is_the_same_everywhere():
    dataset = synthetic()
    assert dataset.train_images.shape == (200, 3, 32, 32)
    assert dataset.train_images.dtype == np.uint8
    assert dataset.train_labels.dtype == np.int64
    assert np.bincount(dataset.train_labels).tolist() == [20] * 10
    assert dataset.sha256[:16] == "033831232819132b"
    assert "synthetic" in dataset.source


def test_synthetic_image_does_not_depend_on_how_many_are_asked_for():
    few, many = synthetic(37, 11), synthetic(512, 234)
    np.testing.assert_array_equal(few.train_images, many.train_images[:37])
    np.testing.assert_array_equal(few.test_images, many.test_images[:11])


@pytest.mark.parametrize("split", ["all", "train45k"])
def test_synthetic_images_are_all_different(split):
    dataset = synthetic(300, 300, split=split)
    assert len({*map(bytes, dataset.train_images), *map(bytes, dataset.test_images)}) == 600


def test_synthetic_test_images_are_others_only_where_some_are_held_out():
    held_out, left_out, whole = (synthetic(split=split) for split in ("train45k", "train45k-test", "all"))
    np.testing.assert_array_equal(left_out.test_images, whole.test_images)
    assert not (held_out.test_images == whole.test_images).all()


def test_synthetic_contacts_nobody_and_needs_no_cache(data_cache):
    synthetic()
    assert not data_cache.exists()


def test_synthetic_sizes_are_those_that_the_config_counts_with(monkeypatch):
    """`Config.steps_per_epoch` counts 50,000 images where none are asked for."""
    blank = lambda first, count, stream: np.zeros((count, 3, 1, 1), np.uint8)  # noqa: E731
    monkeypatch.setattr("resnet_lib.data.synthetic._draw", blank)
    dataset = synthetic(None, None)
    assert (len(dataset.train_images), len(dataset.test_images)) == (50_000, 10_000)
    for split, test_images in (("train45k", 5_000), ("train45k-test", 10_000)):
        smaller = synthetic(None, None, split=split)
        assert (len(smaller.train_images), len(smaller.test_images)) == (45_000, test_images)


def test_synthetic_glyph_is_there_wherever_it_lies():
    """Correlation with every outline, at every place and both ways round, mostly finds the class."""
    dataset = synthetic(100, 10)
    grey = dataset.train_images.sum(axis=1, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (SIDE, SIDE), (1, 2)).reshape(100, -1, SIDE**2)
    glyphs = _glyphs()
    both = np.stack([glyphs, glyphs[:, :, ::-1]]).reshape(20, -1).astype(float)
    both -= both.mean(axis=1, keepdims=True)
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    scores = (windows @ both.T).max(axis=1)
    assert (scores.argmax(axis=1) % 10 == dataset.train_labels).mean() > 0.6
