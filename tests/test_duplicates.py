"""Near-duplicates: found where planted and nowhere else, kept in a CSV that is not believed when damaged."""

from __future__ import annotations

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.config import Config
from resnet_lib.data import cifar10, duplicates
from resnet_lib.data.dataset import Dataset
from resnet_lib.data.duplicates import Pairs, near, nearest, read, write
from resnet_lib.data.synthetic import synthetic
from resnet_lib.errors import LabError
from resnet_lib.report import gallery


@pytest.fixture(scope="module")
def planted() -> Dataset:
    """40 test and 60 training images of glyphs; the test images 0 to 5 are versions of training images 50 to 55."""
    glyphs = synthetic(Config(dataset="synthetic", train_images=60, test_images=40))
    test = glyphs.test_images.astype(float)
    source = glyphs.train_images[50:56].astype(float)
    test[0] = source[0]
    test[1] = source[1][:, :, ::-1]
    test[2] = 40 + 0.8 * source[2]  # brighter, with less contrast
    test[3] = source[3] + np.random.default_rng(0).normal(0, 6, source[3].shape)
    test[4] = 0.5 * source[4] + np.linspace(0, 120, 32)  # lit from one side
    test[5] = source[5]
    test[5][:, :, :3] = 0  # a frame at one side
    images = test.round().clip(0, 255).astype(np.uint8)
    return Dataset(
        glyphs.train_images, glyphs.train_labels, images, glyphs.test_labels, glyphs.classes, glyphs.sha256, "planted"
    )


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Of the detail of two images, pixel by pixel."""

    def by_hand(image):
        half = np.array([[[image[c, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() for x in range(16)] for y in range(16)]
                         for c in range(3)])  # fmt: skip
        return [
            half[c, y, x] - half[c, y - 2 : y + 3, x - 2 : x + 3].mean()
            for c in range(3) for y in range(2, 14) for x in range(2, 14)
        ]  # fmt: skip

    return np.corrcoef(by_hand(a), by_hand(b))[0, 1]


def test_agrees_with_a_double_loop(planted, monkeypatch):
    monkeypatch.setattr(duplicates, "BLOCK", 3)  # the last block is not full
    test, train = planted.test_images[:4], planted.train_images[48:54]
    found = nearest(test, train)
    for index, image in enumerate(test):
        as_it_is, mirrored = ([correlation(way, other) for other in train] for way in (image, image[..., ::-1]))
        assert found.mirrored[index] == (max(mirrored) > max(as_it_is))
        best = mirrored if found.mirrored[index] else as_it_is
        assert found.train[index] == np.argmax(best)
        assert found.correlation[index] == pytest.approx(max(best), abs=1e-5)


def test_finds_what_is_planted_and_nothing_else(planted):
    said = []
    found = nearest(planted.test_images, planted.train_images, said.append)
    assert len(found) == 40
    assert near(found).test.tolist() == [0, 1, 2, 3, 4, 5]
    assert near(found).train.tolist() == [50, 51, 52, 53, 54, 55]
    assert near(found).mirrored.tolist() == [False, True, False, False, False, False]
    assert found.correlation[:2] == pytest.approx(1, abs=1e-5)
    assert said == ["detail of the images", "test image 0 of 40"]


def test_an_image_without_detail_is_like_nothing(planted):
    flat = np.full((1, 3, 32, 32), 200, np.uint8)
    assert nearest(flat, planted.train_images).correlation == 0
    assert nearest(planted.test_images[:1], flat).correlation == 0


PAIRS = Pairs(
    np.array([7, 2, 5]), np.array([40, 0, 49_999]), np.array([True, False, True]), np.float32([0.9, 1, 0.79])
)  # fmt: skip


def test_the_file_holds_what_counts_by_test_image(tmp_path):
    file = tmp_path / "new" / "pairs.csv"
    write(PAIRS, file)
    assert file.read_text() == "test,train,mirrored,correlation\n2,0,0,1.0000\n7,40,1,0.9000\n"
    back = read(file)
    assert back.test.tolist() == [2, 7]
    assert back.train.tolist() == [0, 40]
    assert back.mirrored.tolist() == [False, True]
    assert back.correlation == pytest.approx([1, 0.9])
    write(back, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == file.read_bytes()
    write(PAIRS[PAIRS.correlation < 0.8], file)
    assert len(read(file)) == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "torn"),
        (b"\xff\n", "decode"),
        (b"test,train\n1,2\n", "columns"),
        (b"test,train,mirrored,correlation\n1,2,0,0.9", "torn"),
        (b"test,train,mirrored,correlation\n1,2,0\n", "columns"),
        (b"test,train,mirrored,correlation\n1,x,0,0.9\n", "'x'"),
        (b"test,train,mirrored,correlation\n1,2,2,0.9\n", "mirrored leaves 0 to 1"),
        (b"test,train,mirrored,correlation\n1,2,0,nan\n", "correlation leaves 0.8 to 1"),
        (b"test,train,mirrored,correlation\n1,2,0,0.7\n", "correlation leaves 0.8 to 1"),
        (b"test,train,mirrored,correlation\n1,50000,0,0.9\n", "train leaves"),
        (b"test,train,mirrored,correlation\n-1,2,0,0.9\n", "test leaves"),
        (b"test,train,mirrored,correlation\n3,2,0,0.9\n3,4,0,0.9\n", "increase"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path, content, words):
    file = tmp_path / "pairs.csv"
    file.write_bytes(content)
    with pytest.raises(LabError, match=rf"pairs\.csv.*{words}.*resnet-lab data duplicates"):
        read(file)


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(LabError, match=r"pairs\.csv.*resnet-lab data duplicates"):
        read(tmp_path / "pairs.csv")


def test_the_command_writes_counts_and_draws(planted, monkeypatch, reports, tmp_path):
    monkeypatch.setattr(cifar10, "load", lambda config: planted)
    figure = tmp_path / "img" / "pairs.png"
    ended = CliRunner().invoke(app, ["data", "duplicates", "--figure", str(figure)])
    assert ended.exit_code == 0, ended.output
    differ = (planted.test_labels[:6] != planted.train_labels[50:56]).sum()
    assert re.search(
        rf"^6 of 40 test images .* {differ} of them with another label: .+csv$", ended.output, re.MULTILINE
    )
    assert read(reports / "near_duplicates.csv").train.tolist() == [50, 51, 52, 53, 54, 55]
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_the_figure_shows_the_test_image_above_the_training_image(planted):
    found = nearest(planted.test_images, planted.train_images)
    axes = gallery.pairs(planted, found, columns=2, rows=2).axes[0]
    canvas = np.asarray(axes.images[0].get_array()).transpose(2, 0, 1)
    best = near(found)[np.argsort(-near(found).correlation, kind="stable")][np.arange(6) == 0]
    train = planted.train_images[best.train[0]]
    assert (canvas[:, :32, :32] == planted.test_images[best.test[0]]).all()
    assert (canvas[:, 32:64, :32] == (train[..., ::-1] if best.mirrored[0] else train)).all()
    assert [text.get_text() for text in axes.texts] == sorted((text.get_text() for text in axes.texts), reverse=True)
    assert len(axes.texts) == 4
    assert axes.get_title(loc="left").startswith("6 of 40")


def test_a_figure_of_no_pairs_can_be_drawn(planted):
    none = nearest(planted.test_images[10:12], planted.train_images)
    assert gallery.pairs(planted, none).axes[0].get_title(loc="left").startswith("0 of 40")
