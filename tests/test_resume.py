"""A run is the same every time, interrupted or not, and so are its seconds."""

from __future__ import annotations

import time

import pytest
import torch
from tiny_runs import TINY, Interrupting, assert_same, fit

from resnet_lib.machine.device import Choice
from resnet_lib.records import checkpoint
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.training import keeper, train


def test_one_seed_gives_one_result(tmp_path, tiny_dataset, uninterrupted):
    torch.manual_seed(99)  # whatever happened before in this process
    assert_same(fit(tmp_path, tiny_dataset), uninterrupted)


def test_another_seed_gives_another(tmp_path, tiny_dataset, uninterrupted):
    other = fit(tmp_path, tiny_dataset, TINY.replace(seed=1))
    assert not torch.equal(other.state["model"]["fc.weight"], uninterrupted.state["model"]["fc.weight"])
    assert other.history[0]["train_loss"] != uninterrupted.history[0]["train_loss"]


@pytest.mark.parametrize("steps", [1, 4, 5, 11, 16], ids=lambda n: f"step {n} of 16")
def test_resumed_after_an_interrupt_is_as_if_uninterrupted(tmp_path, tiny_dataset, uninterrupted, steps):
    progress = Interrupting(steps)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, tiny_dataset, progress=progress)
    assert progress.ended
    assert len(RunFolder(tmp_path, TINY).rows()) == (steps - 1) // 4
    assert_same(fit(tmp_path, tiny_dataset), uninterrupted)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_run_that_is_replayed_on_a_gpu_is_resumed_as_if_uninterrupted(tmp_path, tiny_dataset):
    """With evaluations between the replays, a state loaded before the capture, and the same bits."""
    replayed = Choice("cuda", 1, True, graph=True, deterministic=True)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "interrupted", tiny_dataset, progress=Interrupting(6), choice=replayed)
    resumed = fit(tmp_path / "interrupted", tiny_dataset, choice=replayed)
    assert_same(resumed, fit(tmp_path / "whole", tiny_dataset, choice=replayed))


def test_interrupted_again_and_again(tmp_path, tiny_dataset, uninterrupted):
    for _ in range(3):  # each time in the second epoch of the attempt
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, tiny_dataset, progress=Interrupting(6))
    assert_same(fit(tmp_path, tiny_dataset), uninterrupted)


class Clock(Interrupting):
    """Stands in for `time`: every step takes ten seconds, everything else none."""

    monotonic = staticmethod(time.monotonic)

    def __init__(self, now, at=0):
        super().__init__(at)
        self.now = now

    def step(self, images):
        self.now += 10
        super().step(images)

    def perf_counter(self):
        return self.now

    def taking(self, seconds, call):
        def slow(*arguments):
            self.now += seconds
            return call(*arguments)

        return slow


def test_the_seconds_of_an_epoch_are_of_training_and_evaluation_and_its_rate_of_training(
    tmp_path, tiny_dataset, monkeypatch
):
    clock = Clock(0)
    monkeypatch.setattr(keeper, "time", clock)
    monkeypatch.setattr(train, "evaluate", clock.taking(5, train.evaluate))
    monkeypatch.setattr(checkpoint, "save", clock.taking(7, checkpoint.save))
    rows = fit(tmp_path, tiny_dataset, progress=clock).history
    assert [row["seconds"] for row in rows] == [45, 45, 45, 45]
    assert [row["images_per_second"] for row in rows] == [3, 3, 3, 3]


def test_seconds_before_an_interrupt_count_and_those_until_the_next_session_do_not(tmp_path, tiny_dataset, monkeypatch):
    """The four steps of an epoch take forty seconds, however many sessions they are spread over."""

    def session(clock):
        monkeypatch.setattr(keeper, "time", clock)
        fit(tmp_path, tiny_dataset, progress=clock)

    monkeypatch.setattr(keeper, "SAVE_SECONDS", -1)  # after every step
    for clock in (Clock(100, at=3), Clock(5_000, at=5)):
        with pytest.raises(KeyboardInterrupt):
            session(clock)
    session(Clock(70))
    rows = RunFolder(tmp_path, TINY).rows()
    assert [row["seconds"] for row in rows] == [40, 40, 40, 40]
    assert [row["images_per_second"] for row in rows] == [3, 3, 3, 3]


def test_fitting_a_trained_run_only_evaluates(tmp_path, tiny_dataset, uninterrupted, monkeypatch):
    fit(tmp_path, tiny_dataset)
    monkeypatch.setattr(train, "train_epoch", None)
    assert_same(fit(tmp_path, tiny_dataset), uninterrupted)


@pytest.mark.parametrize(("iterations", "steps"), [(10, [4, 8, 10]), (3, [3]), (8, [4, 8])])
def test_the_last_epoch_may_be_partial(tmp_path, tiny_dataset, iterations, steps):
    config = TINY.replace(iterations=iterations, milestones=(2,))
    run = fit(tmp_path / "whole", tiny_dataset, config)
    assert [row["step"] for row in run.history] == steps
    assert run.history[0]["drops"] == 1
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "broken", tiny_dataset, config, Interrupting(iterations))
    assert_same(fit(tmp_path / "broken", tiny_dataset, config), run)
