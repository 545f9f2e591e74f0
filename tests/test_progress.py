"""What is said of a run while it trains, to those who watch and to a log."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_runs import CPU, TINY, Interrupting, fit

from resnet_lib.machine import progress
from resnet_lib.machine.progress import Bar, Lines
from resnet_lib.training import keeper


class InterruptedBar(Interrupting, Bar):
    pass


class InterruptedLines(Interrupting, Lines):
    pass


def test_a_bar_shows_how_far_a_run_is_and_goes_on_where_it_was_interrupted(tmp_path, tiny_dataset, capsys):
    config = TINY.replace(epochs=2, milestones=())
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, tiny_dataset, config, InterruptedBar(6), replace(CPU, why="on an abacus"))
    first = capsys.readouterr().err
    run = fit(tmp_path, tiny_dataset, config, Bar())
    second = capsys.readouterr().err
    assert "on an abacus" in first
    for said in (first, second):
        assert said.splitlines()[-1].split("\r")[-1].startswith(config.run_id)  # nothing is cut off, and a line ends it
        assert said.endswith("\n")
    shown = [[int(float(n)) for n in re.findall(r"([\d.]+)/240 \[", said)] for said in (first, second)]
    assert [(images[0], images[-1]) for images in shown] == [(0, 120 + 2 * 32), (120, 240)]
    assert summary(run.history[0]) in first
    assert summary(run.history[1]) in second


def unwritable(*_, **__):
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("show", [Bar, Lines])
def test_what_cannot_be_told_stops_no_training(tmp_path, tiny_dataset, monkeypatch, show):
    whole = fit(tmp_path / "told", tiny_dataset)
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, SimpleNamespace(write=unwritable, flush=unwritable, isatty=lambda: False))
    told = show()
    run = fit(tmp_path / "untold", tiny_dataset, progress=told)
    told.note("nor this")
    assert [row["train_loss"] for row in run.history] == [row["train_loss"] for row in whole.history]


def test_lines_of_runs_at_a_time_each_tell_whose_they_are(tmp_path, tiny_dataset, capsys, monkeypatch):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0)
    fit(tmp_path, tiny_dataset, progress=Lines(shared=True))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 3
    assert all(line.startswith(f"{TINY.run_id}: ") for line in lines)


def summary(row):
    return f"train loss {row['train_loss']:.3f}, test accuracy {100 * row['test_accuracy']:.1f} %"


class Slow(Lines):
    """Lines, and the clock that they look at: every step takes some seconds, everything else none."""

    def __init__(self, seconds):
        self.seconds, self.now = seconds, 0

    def step(self, images):
        self.now += self.seconds

    def monotonic(self):
        return self.now

    perf_counter = monotonic


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (4, {2: "about 32 s left", 4: "done"}),  # epochs of 16 s, and 20 s are between two lines
        (20, {1: "about 4 min 00 s left", 2: "about 2 min 40 s left", 3: "about 1 min 20 s left", 4: "done"}),
        (1000, {1: "about 3 h 20 min left", 2: "about 2 h 13 min left", 3: "about 1 h 06 min left", 4: "done"}),
    ],
)
def test_lines_tell_now_and_then_what_was_reached_and_how_long_it_will_take(
    tmp_path, tiny_dataset, monkeypatch, capsys, seconds, told
):
    slow = Slow(seconds)
    for module in (keeper, progress):
        monkeypatch.setattr(module, "time", slow)
    history = fit(tmp_path, tiny_dataset, progress=slow).history
    first, *lines = capsys.readouterr().out.splitlines()
    assert TINY.run_id in first
    rate = f"{120 / (4 * seconds):.0f} images/s"
    assert lines == [f"  epoch {n}/4: {summary(history[n - 1])}, {rate}, {left}" for n, left in told.items()]


class SlowAndTelling(Slow):
    def step(self, images):
        super().step(images)
        Lines.step(self, images)


def test_lines_give_a_sign_of_life_within_the_first_epoch(tmp_path, tiny_dataset, monkeypatch, capsys):
    slow = SlowAndTelling(16)
    for module in (keeper, progress):
        monkeypatch.setattr(module, "time", slow)
    fit(tmp_path, tiny_dataset, progress=slow)
    _, *lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  64 images so far, 2 images/s"
    assert all(line.startswith("  epoch ") for line in lines[1:])


def test_the_first_line_tells_a_resumed_run_from_a_new_one(tmp_path, tiny_dataset, capsys):
    said = []
    for _ in range(2):  # from the start, and after an epoch of four steps
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, tiny_dataset, progress=InterruptedLines(5))
        said.append(capsys.readouterr().out.splitlines()[0])
    assert all(TINY.run_id in line for line in said)
    assert ["resumed" in line for line in said] == [False, True]
    assert ", resumed after 1.0 epochs (" in said[1]


@pytest.mark.parametrize(("terminal", "jupyter", "kind"), [(1, 0, Bar), (0, 1, Bar), (0, 0, Lines)])
def test_a_bar_is_for_those_who_watch(monkeypatch, terminal, jupyter, kind):
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(isatty=lambda: bool(terminal)))
    if jupyter:
        monkeypatch.setenv("JPY_SESSION_NAME", "a.ipynb")
    assert type(progress.default()) is kind


class Counting(Lines):
    left = 0

    def begin(self, name, total, *arguments):
        self.left = total
        super().begin(name, total, *arguments)

    def step(self, images):
        self.left -= images


@pytest.mark.parametrize(
    ("length", "said"),
    [
        ({"epochs": 1}, "1 epoch of 120 images ("),
        ({"iterations": 8}, "2 epochs of 120 images ("),
        ({"iterations": 7}, "216 images, 120 an epoch ("),
    ],
    ids=["an epoch", "iterations of whole epochs", "iterations"],
)
def test_progress_counts_the_images_that_are_trained_on(tmp_path, tiny_dataset, capsys, length, said):
    progress = Counting()
    fit(tmp_path, tiny_dataset, TINY.replace(**length, milestones=()), progress)
    assert progress.left == 0
    told = capsys.readouterr().out
    assert f": {said}" in told.splitlines()[0]
    assert told.endswith("done\n")
