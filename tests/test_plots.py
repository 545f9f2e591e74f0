"""Figures of records."""

from __future__ import annotations

import re

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from crafted import craft, texts

from resnet_lib.findings.recorded import overlay, recorded_story
from resnet_lib.questions import story
from resnet_lib.records.find import find_runs
from resnet_lib.report import answer_figure, canvas, gallery, plots

pytestmark = pytest.mark.usefixtures("no_warnings")


def test_curves_draw_the_history(story_runs):
    runs = story_runs["01_ten_epochs"]
    figure = plots.curves(runs, "smoke")
    for axes, column in zip(figure.axes, ("train_loss", "test_accuracy", "test_loss"), strict=True):
        mean = np.mean([[row[column] for row in record.history] for record in runs["ResNet-50"]], axis=0)
        line = axes.lines[0]
        assert line.get_xdata().tolist() == [1, 2]
        assert line.get_ydata() == pytest.approx(mean * (100 if column == "test_accuracy" else 1))
        assert line.get_marker() != "None"
    assert [axes.get_xlabel() for axes in figure.axes] == ["", "", "Epoch"]
    assert "smoke profile: 200 synthetic images" in texts(figure)
    assert "ResNet-50 (n = 2)" in texts(figure)
    assert plt.get_fignums() == []


def test_curves_mark_drops_and_what_the_story_told(tmp_path):
    step = story.step("02_hundred_epochs")
    record = craft(step.configs[step.headline], 0.78)
    figure = plots.curves(find_runs(step.configs, "full"), "full")
    loss, accuracy, _ = figure.axes
    drops = [line for line in accuracy.lines if line.get_color() == canvas.DROP["color"]]
    assert [list(line.get_xdata()) for line in drops] == [[50, 50], [75, 75]]
    assert "its end, as the story tells it: 82 %" in texts(figure)
    ((start, end),) = accuracy.collections[-1].get_segments()
    assert start[0] > len(record.history)  # behind the curve's end
    assert start[1] == end[1] == 82
    assert "profile" not in texts(figure)
    assert loss.get_yscale() == "log"  # from 3 to 0.03
    canvas.save(figure, tmp_path / "curves.png")  # draws without a warning


def test_a_legend_has_two_columns_where_both_have_room():
    def columns(*labels):
        runs = {label: [craft(story.BASELINE.replace(lr=0.1 + n / 100), 0.5)] for n, label in enumerate(labels)}
        (legend,) = plots.curves(runs, "full").legends
        return legend._ncols

    assert columns("a" * 38, "b" * 38) == 2
    assert columns("a" * 50, "b" * 25) == 2
    assert columns("a" * 50, "b" * 40) == 1


def test_validation_is_never_called_test():
    figure = plots.curves({"x": [craft(story.BASELINE.replace(split="train45k"), 0.5)]}, "full")
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels[1:] == ["Validation accuracy (%)", "Validation loss (nats)"]


def test_one_epoch_can_be_drawn_and_of_nothing_there_is_no_figure(tmp_path):
    single = craft(story.BASELINE.replace(epochs=1), 0.5)
    figure = plots.curves({"one": [single], "none": []}, "quick")
    assert figure.axes[0].lines[0].get_marker() == "o"
    canvas.save(figure, tmp_path / "one.png")
    assert plots.curves({"none": []}, "full") is None


def test_a_run_of_the_story_has_one_colour_in_all_figures_and_no_two_lines_of_a_figure_share_one():
    step = story.step("03_cifar_architecture")
    network = step.configs["ResNet-20, 100 epochs"]
    for config in (story.BASELINE, *step.configs.values(), network.replace(milestones=())):
        craft(config, 0.8)
    drawn = {
        "step": plots.curves(recorded_story("full")[step.notebook], "full"),
        "all": plots.curves(overlay(recorded_story("full")), "full"),
        "answer": answer_figure.draw("full"),
    }
    colours = {}
    for where, figure in drawn.items():
        named = [(text, text.get_color()) for text in figure.axes[0].texts]  # beside their curves, or in a legend
        for legend in figure.legends:
            named = [(t, line.get_color()) for t, line in zip(legend.get_texts(), legend.get_lines(), strict=False)]
        lines = {text.get_text(): look for text, look in named if re.search("ResNet|assumed|no learn", text.get_text())}
        assert len(set(lines.values())) == len(lines) > 1
        (colours[where],) = (look for name, look in lines.items() if re.search("100 epochs|assumed", name))
    assert len(set(colours.values())) == 1


def test_no_two_lines_of_the_whole_story_look_alike():
    for step in story.STEPS:
        for config in step.configs.values():
            craft(config, 0.8)
    whole = overlay(recorded_story("full"))
    assert len(set(plots.looks_of(whole, "full").values())) == len(whole) == 11
    many = {str(n): [craft(story.BASELINE.replace(lr=0.1 + n / 100), 0.5)] for n in range(30)}
    assert len(set(plots.looks_of(many, "full").values())) == plots.ALL_LOOKS


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_same_record_same_bytes(story_runs, tmp_path, kind):
    for name in ("a", "b"):
        canvas.save(plots.curves(overlay(story_runs), "smoke"), tmp_path / f"{name}.{kind}")
    content = (tmp_path / f"a.{kind}").read_bytes()
    assert content == (tmp_path / f"b.{kind}").read_bytes()
    assert b"Date" not in content
    assert b"/Type3" not in content
    assert matplotlib.__version__.encode() not in content  # nor do they change with it


def test_images_show_every_class_with_its_count(tiny_dataset, tmp_path):
    figure = gallery.images(tiny_dataset, "full")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{name}  12" for name in "abcdefghij"]
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    first_of_b = tiny_dataset.train_images[tiny_dataset.train_labels == 1][0]
    assert np.array_equal(sheet[35:67, :32], first_of_b.transpose(1, 2, 0))
    canvas.save(figure, tmp_path / "images.png")


def test_a_caption_explains_losses_before_batch_norm_has_settled(story_runs):
    steps = story_runs["01_ten_epochs"]["ResNet-50"][0].config.steps_per_epoch
    said = plots.settling(story_runs["01_ten_epochs"])
    assert said.startswith("The loss on the images held out begins too high, and the accuracy too low: batch norm's")
    assert f"first epoch's {steps} steps" in said
    assert plots.settling({"x": [craft(story.BASELINE, 0.5)]}) == ""
    assert plots.settling({"x": []}) == ""
