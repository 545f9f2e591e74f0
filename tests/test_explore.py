"""Runs that somebody asks for by name, and one of them looked at closely."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from crafted import craft, texts

from resnet_lib.config import Config, ConfigError
from resnet_lib.data import cifar10
from resnet_lib.errors import LabError
from resnet_lib.findings.selection import MOST, chosen, one_of
from resnet_lib.machine.progress import Progress
from resnet_lib.questions import story
from resnet_lib.records.record import Record
from resnet_lib.report import closely, lab, tables
from resnet_lib.report.notebook import Page
from resnet_lib.runs import experiment

SHORT = Config(model="resnet20", epochs=10)


def test_runs_are_found_by_parts_of_their_names_and_shown_by_setting():
    one, two = craft(SHORT, 0.7), craft(SHORT, 0.72, seed=1)
    other = craft(SHORT.replace(lr=0.01), 0.8)
    found = chosen(["resnet20-10ep-*"], "full")
    assert [[run.path for run in runs] for runs in found.values()] == [[other.path], [one.path, two.path]]
    setting = list(found)[1]
    assert setting == one.path.name.replace("-s0-", "-")
    assert chosen(two.path.name, "full") == {setting: [two]}
    assert chosen([setting, two.path.name], "full") == {setting: [one, two]}
    assert one_of(found, "", "full").path == other.path
    assert one_of(found, setting, "full").path == two.path  # the most accurate of them, and not the first
    assert one_of({}, one.path.name, "full").path == one.path
    table = tables.settings(found)
    assert table["test accuracy, %"].tolist() == ["80.00", "71.00"]
    assert table["seeds"].tolist() == ["0", "0, 1"]
    assert "learning rate 0.01" in table["what was trained"][0]


def test_without_names_the_most_accurate_on_the_test_images_are_shown():
    for place in range(MOST + 2):
        craft(SHORT.replace(lr=0.01 * (place + 1)), 0.5 + place / 100)
    trial = craft(SHORT.replace(split="train45k"), 0.99)
    found = [record.accuracy for (record,) in chosen([], "full").values()]
    assert found == pytest.approx([0.57, 0.56, 0.55, 0.54, 0.53, 0.52])
    for folder in trial.path.parent.glob("*"):
        if folder != trial.path:
            shutil.rmtree(folder)
    assert [record.accuracy for (record,) in chosen([], "full").values()] == [0.99]  # better than none


def test_what_is_damaged_or_a_copy_stops_nobody():
    one, damaged = craft(SHORT, 0.7), craft(SHORT, 0.9, seed=1)
    (damaged.path / "history.csv").unlink()
    shutil.copytree(one.path, one.path.with_name(f"{one.path.name}-before"))
    assert chosen([], "full") == {one.path.name.replace("-s0-", "-"): [one]}
    with pytest.raises(ConfigError, match="`resnet-lab runs --profile full` lists them all"):
        chosen([damaged.path.name], "full")


@pytest.mark.parametrize("names", ["", [], None])
def test_no_names_are_none(names):
    assert chosen(names, "full") == {}


@pytest.mark.parametrize("names", [3, [3], {"a": 1}, True])
def test_what_is_no_name_is_refused(names):
    with pytest.raises(ConfigError, match="is not valid: give a run's name, or a list of names"):
        chosen(names, "full")


def test_a_name_that_no_run_has_is_refused():
    assert one_of({}, "", "full") is None
    craft(SHORT, 0.7)
    with pytest.raises(ConfigError, match=r"no finished run is named 'resnet50\*'"):
        chosen(["resnet20*", "resnet50*"], "full")
    with pytest.raises(ConfigError, match="no finished run is named 'resnet50'"):
        one_of(chosen([], "full"), "resnet50", "full")


def test_confusions_are_told_in_percent_and_shaded_without_the_diagonal():
    record = craft(SHORT, 0.75)  # the last quarter of the images is taken for the class that comes next
    figure = closely.confusion(record, "full")
    (axes,) = figure.axes
    shown = np.array([float(text.get_text()) for text in axes.texts]).reshape(10, 10)
    counts = np.array(record.result["confusion"])
    assert shown == pytest.approx(100 * counts / counts.sum(axis=1, keepdims=True), abs=0.05)
    shades = axes.collections[0].get_array().reshape(10, 10)
    assert shades.diagonal().tolist() == [0] * 10
    assert shades.max() == shown[~np.eye(10, dtype=bool)].max() > 0
    assert [label.get_text() for label in axes.get_yticklabels()] == list(cifar10.CLASSES)


def unsure(record: Record, confidence: np.ndarray) -> Record:
    """The same, as confident as is said."""
    other = replace(record)
    other.__dict__["predictions"] = record.predictions | {"confidence": confidence.astype(np.float16)}
    return other


def test_reliability_is_the_accuracy_of_what_was_about_as_confident():
    record = craft(SHORT, 0.5)
    count = len(record.correct)
    right = record.correct
    record = unsure(record, np.where(right, 0.9, np.where(np.arange(count) % 2, 0.9, 0.3)))
    (axes,) = closely.reliability(record, "full").axes
    confidence, accuracy = axes.lines[1].get_data()
    assert confidence == pytest.approx([30, 90], abs=0.1)
    assert accuracy == pytest.approx([0, 100 * right.sum() / (right.sum() + (~right[1::2]).sum())])
    weights = axes.collections[0].get_sizes() - 12
    assert weights / weights.sum() == pytest.approx([0.25, 0.75])


def test_the_surest_mistakes_are_shown_with_what_they_are_and_were_taken_for(tiny_dataset):
    record = craft(SHORT, 0.5)
    count = len(record.correct)
    wrong = np.flatnonzero(~record.correct)
    record = unsure(record, np.where(np.arange(count) == wrong[3], 0.99, 0.4))
    images = np.zeros((count, 3, 32, 32), np.uint8)
    images[wrong[3]] = 200
    dataset = replace(tiny_dataset, test_images=images, test_labels=record.predictions["label"].astype(np.int64))
    figure = closely.mistakes(record, dataset, "full")
    told = [text.get_text() for text in figure.axes[0].texts]
    names = dataset.classes
    label = record.predictions["label"][wrong[3]]
    assert told[0] == f"{names[label]}\n→ {names[(label + 1) % 10]}, 99 %"
    assert len(told) == min(len(wrong), closely.ROWS * closely.COLUMNS)
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    assert canvas[16, 16].tolist() == [200, 200, 200]
    title = figure.axes[0].get_title(loc="left")
    assert title == f"{len(told)} of {len(wrong):,} at a confidence of 40.0 % or more; wrong in all: {len(wrong):,}"
    drawn = closely.mistakes(craft(SHORT, 0.1), dataset, "full")  # all as sure: some from the first to the last
    assert len(drawn.axes[0].texts) == closely.ROWS * closely.COLUMNS
    with pytest.raises(LabError, match="was evaluated on other images"):
        closely.mistakes(record, tiny_dataset, "full")


def test_a_figure_of_a_small_run_says_so():
    record = craft(SHORT.at("quick"), 0.5, profile="quick")
    for draw in (closely.confusion, closely.reliability):
        assert story.stamp("quick") in texts(draw(record, "quick"))


def test_a_page_without_the_images_says_so_and_shows_the_rest(monkeypatch, tmp_path):
    record = craft(SHORT, 0.5)
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "empty"))
    shown = []
    monkeypatch.setattr("resnet_lib.report.notebook.display", lambda what, **_: shown.append(getattr(what, "data", "")))
    Page("full", train=False).one_run(record)
    assert shown[0].startswith(f"`{record.path.name}`")
    assert shown.count(f"*{closely.RELIABILITY}*") == 1
    assert "not on this machine" in shown[-1]
    shown.clear()
    Page("full", train=False).one_run(None)
    Page("full", train=False).mistakes(craft(SHORT, 1.0))
    assert shown == ["None is recorded.", "It made no mistake."]


def test_the_notebook_shows_what_there_is(reports):
    small = Config(model="resnet8", width=4, epochs=2, dataset="synthetic", train_images=200, test_images=100)
    record = experiment.run(small, "smoke", show=Progress())
    (outcome,) = lab.report("smoke", ("explore",))
    assert outcome.error is None
    page = (reports / "smoke" / "explore.html").read_text()
    assert "ResNet-8, no augmentation" in page
    assert f"<code>{record.path.name}</code>: ResNet-8, no augmentation" in page
    assert page.count("<img") == 4
    assert "No figure" not in page
