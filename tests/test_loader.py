import numpy as np
import pytest
import torch
from torchvision.transforms import functional as reference

from resnet_lib.config import Config
from resnet_lib.data import cifar10
from resnet_lib.data.sources import DataError
from resnet_lib.report.own_code import MEAN, SD
from resnet_lib.training.loader import (
    EvaluationBatches,
    Normalizer,
    TrainBatches,
    channel_statistics,
    crop_and_flip,
    draw,
)

CPU = torch.device("cpu")


def batches(dataset, **fields):
    config = Config(train_images=120, **{"batch_size": 32, "crop": 4, "flip": True, **fields})
    return TrainBatches(dataset.train_images, dataset.train_labels, config, CPU)


def passed(train, epoch):
    """The batches of one pass."""
    return map(train.take, train.plans(epoch))


@pytest.fixture(scope="module")
def synthetic():
    return cifar10.load(Config(dataset="synthetic", train_images=300, test_images=100))


@pytest.mark.parametrize("padding", [0, 1, 4, 16])
@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 8, 12)], ids=str)
def test_crop_and_flip_is_torchvisions_pad_crop_hflip(padding, shape):
    images = torch.randn(24, *shape)
    top, left = torch.randint(0, 2 * padding + 1, (2, 24))
    top[:4], left[:4] = torch.tensor([0, 0, 1, 1]) * 2 * padding, torch.tensor([0, 1, 0, 1]) * 2 * padding  # corners
    mirrored = torch.arange(24) % 3 == 0
    out = crop_and_flip(images, top, left, mirrored, padding)
    for i, image in enumerate(images):
        expected = reference.crop(reference.pad(image, [padding]), int(top[i]), int(left[i]), *shape[1:])
        assert torch.equal(out[i], reference.hflip(expected) if mirrored[i] else expected)


@pytest.mark.parametrize(("crop", "flip"), [(4, True), (4, False), (0, True), (0, False)])
def test_an_epoch_is_every_image_once_normalised_cropped_and_mirrored(tiny_dataset, crop, flip):
    train = batches(tiny_dataset, crop=crop, flip=flip)
    order, top, left, mirrored = draw(120, 5, train.config)
    assert sorted(order.tolist()) == list(range(120))
    got_images, got_labels = (torch.cat(parts) for parts in zip(*passed(train, 5), strict=True))
    assert got_images.dtype == torch.float32
    plain = train.normalize(torch.from_numpy(tiny_dataset.train_images))
    for place, i in enumerate(order.tolist()):
        expected = reference.crop(reference.pad(plain[i], [crop]), int(top[i]), int(left[i]), 32, 32)
        assert torch.equal(got_images[place], reference.hflip(expected) if mirrored[i] else expected)
        assert got_labels[place] == tiny_dataset.train_labels[i]
    assert mirrored.any() == flip
    assert (top.max() > 0) == (crop > 0)


@pytest.mark.parametrize(("batch_size", "sizes"), [(32, [32, 32, 32, 24]), (60, [60, 60]), (500, [120])])
def test_batch_sizes(tiny_dataset, batch_size, sizes):
    train = batches(tiny_dataset, batch_size=batch_size)
    assert [len(labels) for _, labels in passed(train, 0)] == sizes
    assert len(train) == len(sizes) == train.config.steps_per_epoch


@pytest.mark.parametrize(
    ("changes", "epoch", "same"),
    [
        ({}, 3, True),
        ({"lr": 0.7, "batch_size": 7, "model": "resnet56", "normalize": "none"}, 3, True),
        ({"seed": 1}, 3, False),
        ({}, 4, False),
        ({"seed": 1}, 2, False),  # the epochs of a seed are not those of its neighbour, shifted
    ],
    ids=["same", "unrelated", "seed", "epoch", "neighbour"],
)
def test_order_crops_and_flips_depend_on_seed_and_epoch_alone(changes, epoch, same):
    config = Config(crop=4, flip=True)
    expected = draw(1000, 3, config)
    torch.manual_seed(123)  # the global state has no say
    before = torch.get_rng_state()
    got = draw(1000, epoch, config.replace(**changes))
    assert [torch.equal(a, b) for a, b in zip(expected, got, strict=True)] == [same] * 4
    assert torch.equal(torch.get_rng_state(), before)


def test_the_draws_that_published_records_were_trained_with():
    """If this changes, so do results: raise `config.PROTOCOL`."""
    drawn = [t[:6].tolist() for t in draw(50_000, 7, Config(crop=4, flip=True, seed=3))]
    assert drawn == [
        [33735, 7637, 5049, 27542, 34292, 2952],
        [6, 1, 4, 6, 7, 2],
        [0, 4, 2, 0, 4, 2],
        [True, False, False, False, False, False],
    ]


def test_offsets_are_uniform_and_half_the_images_are_mirrored():
    count = 9 * 4000
    _, top, left, mirrored = draw(count, 0, Config(crop=4, flip=True))
    for offsets in (top, left):
        counts = torch.bincount(offsets, minlength=9)
        assert len(counts) == 9
        assert ((counts - 4000) ** 2 / 4000).sum() < 30  # chi-square, 8 degrees of freedom: p = 0.0002
    assert abs(mirrored.double().mean() - 0.5) < 4 * 0.5 / count**0.5
    assert abs(np.corrcoef(top, left)[0, 1]) < 4 / count**0.5


def test_any_pass_through_an_epoch_gives_the_same_batches(tiny_dataset):
    train = batches(tiny_dataset)
    whole = list(passed(train, 2))
    interrupted = passed(train, 2)
    next(interrupted)
    list(passed(train, 1))
    for (images, labels), (again, labels_again) in zip(whole, passed(batches(tiny_dataset), 2), strict=True):
        assert torch.equal(images, again)
        assert torch.equal(labels, labels_again)
    assert torch.equal(next(interrupted)[0], whole[1][0])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_memory_format_changes_nothing_else(tiny_dataset, memory_format):
    plain = batches(tiny_dataset)
    train = TrainBatches(tiny_dataset.train_images, tiny_dataset.train_labels, plain.config, CPU, memory_format)
    test = EvaluationBatches(tiny_dataset.test_images, tiny_dataset.test_labels, train.normalize, CPU, memory_format)
    for (images, _), (expected, _) in zip(passed(train, 0), passed(plain, 0), strict=True):
        assert images.is_contiguous(memory_format=memory_format)
        assert torch.equal(images, expected)
    for images in test:
        assert images.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize(("device", "sizes"), [("cpu", [500, 500, 500]), ("meta", [1_000, 500])])
def test_off_the_cpu_evaluation_has_larger_batches(device, sizes):
    images, labels = np.zeros((1_500, 3, 1, 1), np.uint8), np.zeros(1_500, np.int64)
    normalize = Normalizer(images, "none", torch.device(device))
    assert [len(batch) for batch in EvaluationBatches(images, labels, normalize, torch.device(device))] == sizes


def test_evaluation_is_plain_whole_and_in_order(tiny_dataset, monkeypatch):
    monkeypatch.setattr("resnet_lib.training.loader.EVALUATION_BATCH", 15)
    normalize = batches(tiny_dataset).normalize
    test = EvaluationBatches(tiny_dataset.test_images, tiny_dataset.test_labels, normalize, CPU)
    assert [len(images) for images in test] == [15, 15, 10]
    assert torch.equal(torch.cat(list(test)), normalize(torch.from_numpy(tiny_dataset.test_images)))


def test_channel_statistics_of_cifar10_are_the_published_ones():
    try:
        dataset = cifar10.load(Config())
    except DataError as error:
        pytest.skip(f"CIFAR-10 is not in the cache: {str(error).splitlines()[0]}")
    mean, std = channel_statistics(dataset.train_images)
    assert tuple((mean / 255).ravel().round(4).tolist()) == MEAN == (0.4914, 0.4822, 0.4465)
    assert tuple((std / 255).ravel().round(4).tolist()) == SD == (0.2470, 0.2435, 0.2616)


def test_channel_statistics_against_float64(synthetic):
    values = synthetic.train_images.astype(np.float64)
    mean, std = channel_statistics(synthetic.train_images)
    np.testing.assert_allclose(mean, values.mean(axis=(0, 2, 3), keepdims=True), rtol=1e-12)
    np.testing.assert_allclose(std, values.std(axis=(0, 2, 3), keepdims=True), rtol=1e-10)


def oracle(train, images, kind):
    train, images = train.astype(np.float64), images.astype(np.float64)
    if kind == "channel":
        axes = (0, 2, 3)
        return (images - train.mean(axis=axes, keepdims=True)) / train.std(axis=axes, keepdims=True)
    return (images - (train.mean(axis=0) if kind == "pixel" else 0)) / 255


@pytest.mark.parametrize("kind", ["channel", "pixel", "none"])
def test_normalisation_against_float64(synthetic, kind):
    normalize = Normalizer(synthetic.train_images, kind, CPU)
    for images in (synthetic.train_images, synthetic.test_images):  # the test set with the training set's statistics
        got = normalize(torch.from_numpy(images))
        assert got.dtype == torch.float32
        np.testing.assert_allclose(got.numpy(), oracle(synthetic.train_images, images, kind), atol=3e-6)


def test_the_crop_border_is_the_mean_colour(tiny_dataset):
    """Zero after normalisation, not black before it."""
    train = batches(tiny_dataset, flip=False)
    order, top, _, _ = draw(120, 0, train.config)
    images = torch.cat([images for images, _ in passed(train, 0)])
    at_the_top = images[top[order] == 0]
    assert len(at_the_top) > 3
    assert at_the_top[:, :, :4].abs().max() == 0


def test_alternating_flips_show_every_image_both_ways():
    config = Config(flip="alternating", crop=4, seed=3)
    flips = [draw(1_000, epoch, config)[3] for epoch in range(4)]
    assert 400 < flips[0].sum() < 600
    assert torch.equal(flips[0], flips[2])
    assert torch.equal(flips[1], ~flips[0])
    assert torch.equal(flips[3], flips[1])
    for drawn, plain in zip(draw(1_000, 1, config)[:3], draw(1_000, 1, config.replace(flip=True))[:3], strict=True):
        assert torch.equal(drawn, plain)


def test_channel_statistics_are_the_same_bits_whatever_the_block(synthetic, monkeypatch):
    whole = channel_statistics(synthetic.train_images)
    monkeypatch.setattr("resnet_lib.training.loader.BLOCK", 7)  # the last block is not full
    np.testing.assert_array_equal(channel_statistics(synthetic.train_images), whole)
