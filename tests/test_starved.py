"""Disks that are full or fail: no state is lost, and a run comes to the same end."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import faults
import pytest
from faults import DISTURBED, in_process, resumed, survived
from tiny_runs import CPU, Notes

from resnet_lib.machine.files import write_atomic
from resnet_lib.machine.progress import Progress
from resnet_lib.records import checkpoint, run_folder
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, ledger, weights
from resnet_lib.training import keeper, train

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(os.name != "posix", reason="signals and resource limits of POSIX"),
]


@pytest.mark.parametrize("bytes_", [10, 1_000, 20_000], ids=lambda n: f"files of at most {n} bytes")
def test_a_full_disk_leaves_the_last_state_and_no_litter(reports, undisturbed, bytes_):
    in_process(reports, at=10)
    run = RunFolder.of(DISTURBED, "full")
    with survived("disk full, I/O error or short write"):
        assert in_process(reports, file_bytes=bytes_) == 1  # at 20,000 it trains to its end and cannot save the state
        assert not run.finished
        assert checkpoint.load(run.checkpoint)["step"] == 9
        assert not list(run.path.glob("*.tmp"))
        resumed()
        assert faults.result(reports) == undisturbed


def test_a_disk_that_fails_after_the_end_costs_nothing_but_space(reports, monkeypatch, undisturbed):
    def fail(path):
        raise OSError(errno.EIO, "I/O error")

    with survived("disk full, I/O error or short write"):
        monkeypatch.setattr(checkpoint, "remove", fail)
        assert "keeps its checkpoint, of no use any more" in resumed()[0]
        (found,) = ledger.entries("full")
        assert found.state == "finished"
        for path in checkpoint.in_folder(found.path):
            path.unlink()
        assert faults.result(reports) == undisturbed


@pytest.mark.parametrize("name", ["history.csv", "predictions.npz", "result.json", weights.NAME])
def test_a_disk_that_fails_while_the_end_is_written_costs_an_evaluation(reports, monkeypatch, undisturbed, name):
    """The states stay until the record and the weights stand: whatever is missing is written by the next call."""

    def failing(path, *content, **options):
        if path.name == name and is_the_end():
            raise OSError(errno.ENOSPC, "disk full")
        write_atomic(path, *content, **options)

    def is_the_end():
        saved = checkpoint.newest(RunFolder.of(DISTURBED, "full").checkpoint, pytest.fail)
        return saved is not None and saved["step"] == DISTURBED.total_steps

    with survived("disk full, I/O error or short write"):
        with monkeypatch.context() as disk:
            for module in (run_folder, weights):
                disk.setattr(module, "write_atomic", failing)
            with pytest.raises(OSError, match="disk full"):
                experiment.run(DISTURBED, choice=CPU, show=Progress())
        assert not RunFolder.of(DISTURBED, "full").finished
        resumed()
        assert faults.result(reports) == undisturbed


def test_a_run_whose_result_is_written_elsewhere_agrees_with_itself_and_was_trained_where_it_was(reports, monkeypatch):
    """After its last state, on another device: the evaluation is equal but for rounding."""

    def failing(*_):
        raise OSError(errno.ENOSPC, "disk full")

    with monkeypatch.context() as disk:
        disk.setattr(weights, "write", failing)
        with pytest.raises(OSError, match="disk full"):
            experiment.run(DISTURBED, choice=CPU, show=Progress())
    evaluate = train.evaluate

    def evaluate_elsewhere(*arguments):
        found = evaluate(*arguments)
        return replace(found, loss=found.loss + 1e-3)

    monkeypatch.setattr(train, "evaluate", evaluate_elsewhere)
    monkeypatch.setattr(keeper, "device_name", lambda choice: "abacus")
    record = experiment.run(DISTURBED, choice=CPU, show=Progress())
    assert record.history[-1]["test_loss"] == record.result["loss"]
    assert ledger.problems(ledger.entry(record.path)) == []
    assert "abacus" not in record.seconds_by_device


class FailingDisk(Notes):
    """Files can be written before the second epoch ends, and after the third."""

    failing = False

    def epoch(self, row):
        self.failing = row["epoch"] == 2

    def wrap(self, original, code):
        def call(*arguments, **options):
            if self.failing:
                raise OSError(code, os.strerror(code))
            return original(*arguments, **options)

        return call


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT], ids=errno.errorcode.get)
@pytest.mark.parametrize(("owner", "name"), [(os, "fsync"), (Path, "replace"), (Path, "open")])
def test_training_goes_on_over_a_disk_that_fails_for_a_while(reports, monkeypatch, undisturbed, code, owner, name):
    disk = FailingDisk()
    monkeypatch.setattr(keeper, "EPOCH_SECONDS", -1)  # after every epoch
    monkeypatch.setattr(owner, name, disk.wrap(getattr(owner, name), code))
    with survived("disk full, I/O error or short write"):
        experiment.run(DISTURBED, choice=CPU, show=disk)
        assert len(disk.lines) == 2  # the state and the history of the third epoch
        assert all(os.strerror(code) in line for line in disk.lines)
        assert faults.result(reports) == undisturbed
