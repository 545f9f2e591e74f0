"""An unfinished run goes on in another process, on another device, or by another choice."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_runs import CPU, SYNTHETIC, Interrupting, Notes, untimed

from resnet_lib.machine.cores import cores
from resnet_lib.machine.device import THREADS, Choice, DeviceError, choose
from resnet_lib.machine.progress import Progress
from resnet_lib.records import checkpoint
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, weights

KILLED = """
import os, signal, sys
from resnet_lib.runs import experiment
from resnet_lib.config import Config
from resnet_lib.machine.device import Choice
from resnet_lib.machine.progress import Progress

class Killing(Progress):
    def epoch(self, row):
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGKILL)

choice = Choice("cpu", 1, channels_last=True, products=True)
experiment.run(Config.model_validate_json(sys.argv[1]), choice=choice, show=Killing())
"""


def test_a_killed_process_is_resumed_by_another(trained, reports, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "killed"))
    died = subprocess.run([sys.executable, "-c", KILLED, SYNTHETIC.model_dump_json()], capture_output=True, text=True)
    assert died.returncode == -9, died.stderr
    folder = RunFolder.of(SYNTHETIC, "full")
    assert len(folder.rows()) == 2
    assert not folder.finished

    other = Choice(device="cpu", threads=2, channels_last=False, products=True)  # the checkpoint's choice goes on
    show = Notes()
    resumed = experiment.run(SYNTHETIC, choice=other, show=show)
    assert show.lines == [f"{SYNTHETIC.run_id} goes on as it began: threads 1, not 2; channels_last True, not False"]
    assert untimed(resumed.history) == untimed(trained.history)
    assert resumed.result["environment"] == trained.result["environment"]
    one, two = (weights.load(record.path / weights.NAME) for record in (trained, resumed))
    assert all(torch.equal(one[name], two[name]) for name in one)
    np.testing.assert_array_equal(resumed.predictions["confidence"], trained.predictions["confidence"])


def test_a_run_begun_before_there_were_products_goes_on_without():
    began = CPU.as_dict()
    del began["products"]
    state = {"choice": began, "sessions": [{}]}
    assert experiment._going_on(SYNTHETIC, state, CPU, Progress()) == replace(CPU, products=False)


def test_a_run_begun_with_more_threads_than_are_here_goes_on_with_fewer():
    show, most = Notes(), cores()
    began = replace(CPU, threads=most + 1, why="not compiled")
    elsewhere, here = ({"choice": began.as_dict(), "sessions": [{"cores": n}]} for n in (most + 1, most))
    assert str(experiment._going_on(SYNTHETIC, elsewhere, CPU, show)) == "cpu, 1 thread; not compiled"
    assert show.lines[0].endswith(f"began with {most + 1} threads, more than are here: it goes on with 1")
    assert experiment._going_on(SYNTHETIC, elsewhere, None, show).threads == THREADS
    assert experiment._going_on(SYNTHETIC, here, None, show) == began  # as it was asked to
    again = {"choice": began.as_dict(), "sessions": [{"cores": most + 1}, {"cores": most}]}
    assert experiment._going_on(SYNTHETIC, again, CPU, show).threads == 1  # here for the second time


@pytest.mark.parametrize("choice", [CPU, None], ids=["as told", "as this machine chooses"])
def test_a_run_whose_device_is_not_here_goes_on_with_another(trained, reports, monkeypatch, tmp_path, choice):
    """As bytes show, from where it stopped; would come back to where it began; the record names both devices."""
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "moved"))
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cpu"])
    monkeypatch.setattr("resnet_lib.training.keeper.EPOCH_SECONDS", -1)  # after every epoch
    with pytest.raises(KeyboardInterrupt):
        experiment.run(SYNTHETIC, choice=CPU, show=Interrupting(6))
    saved = RunFolder.of(SYNTHETIC, "full").checkpoint
    state = checkpoint.load(saved)
    state["choice"] |= {"device": "cuda", "graph": True, "compile": True}
    state["sessions"][0]["device_name"] = "abacus"
    checkpoint.save(saved, state)

    with pytest.raises(KeyboardInterrupt):
        experiment.run(SYNTHETIC, choice=choice, show=Interrupting(6))
    assert checkpoint.load(saved)["step"] > state["step"]
    assert checkpoint.load(saved)["choice"] == state["choice"]
    show = Notes()
    moved = experiment.run(SYNTHETIC, choice=choice, show=show)
    assert show.lines == [f"{SYNTHETIC.run_id} began on cuda, which is not available here: it goes on on cpu"]
    assert untimed(moved.history) == untimed(trained.history)
    first, second, _ = moved.result["sessions"]
    assert (first["from_step"], second["from_step"]) == (0, state["step"])
    assert moved.result["environment"] == trained.result["environment"]
    assert list(moved.seconds_by_device) == ["abacus", *trained.seconds_by_device]
    before = [row["seconds"] for row in moved.history if row["step"] <= state["step"]]
    assert 0 < len(before) < len(moved.history)
    assert moved.seconds_by_device["abacus"] == pytest.approx(sum(before))


def test_a_run_goes_on_where_weights_are_laid_out_otherwise_in_memory(trained, reports, monkeypatch, tmp_path):
    """As from one of Apple's GPUs to a CPU: the momentum of each weight stays its own."""
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path / "moved"))
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cpu"])
    with pytest.raises(KeyboardInterrupt):
        experiment.run(SYNTHETIC, choice=replace(CPU, channels_last=False), show=Interrupting(6))
    saved = RunFolder.of(SYNTHETIC, "full").checkpoint
    state = checkpoint.load(saved)
    state["choice"]["device"] = "mps"
    checkpoint.save(saved, state)
    moved = experiment.run(SYNTHETIC, show=Progress())
    for name in ("train_loss", "test_loss"):
        ours, theirs = ([row[name] for row in record.history] for record in (moved, trained))
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_a_run_in_a_precision_that_no_other_device_has_stays_where_it_began(monkeypatch):
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cpu"])
    state = {"choice": Choice("cuda", 1, True).as_dict(), "sessions": [{}]}
    with pytest.raises(DeviceError, match="'tf32' needs an NVIDIA GPU"):
        experiment._going_on(SYNTHETIC.replace(precision="tf32"), state, None, Progress())
    with pytest.raises(DeviceError, match="'tf32' needs an NVIDIA GPU"):
        CPU.activate("tf32")  # nor is another choice of a device one of a precision


def test_a_compiled_run_goes_on_without_where_there_is_no_compiler(monkeypatch):
    show = Notes()
    monkeypatch.setattr("resnet_lib.machine.device.missing_to_compile", lambda device: "there is no C++ compiler")
    state = {"choice": replace(CPU, compile=True).as_dict(), "sessions": [{}]}
    uncompiled = experiment._going_on(SYNTHETIC, state, None, show)
    assert (uncompiled, uncompiled.why) == (CPU, "not compiled: there is no C++ compiler")
    without = f"{SYNTHETIC.run_id} began compiled, and goes on without: there is no C++ compiler"
    assert show.lines == [without]
    assert experiment._going_on(SYNTHETIC, state, replace(CPU, threads=CPU.threads + 1), show) == CPU
    as_it_began = f"{SYNTHETIC.run_id} goes on as it began: threads {CPU.threads}, not {CPU.threads + 1}"
    assert show.lines == [without, without, as_it_began]


def test_a_compiled_run_goes_on_without_if_that_is_asked_and_only_then(monkeypatch):
    """As where torch.compile fails, though all that it needs is there."""
    monkeypatch.setattr("resnet_lib.machine.device.missing_to_compile", lambda device: "")
    began = replace(CPU, compile=True)
    state = {"choice": began.as_dict(), "sessions": [{}]}
    show = Notes()
    usual, told = (choose(SYNTHETIC, "cpu", CPU.threads, compile=asked) for asked in (None, False))
    assert experiment._going_on(SYNTHETIC, state, usual, Notes()) == began
    uncompiled = experiment._going_on(SYNTHETIC, state, told, show)
    assert (uncompiled, uncompiled.why) == (CPU, "not compiled, as asked")
    assert show.lines == [f"{SYNTHETIC.run_id} began compiled, and goes on without, as asked"]
    assert experiment._going_on(SYNTHETIC, state, usual, Notes()) == CPU  # nobody has to ask again
