"""Files of a run that are damaged, lost or of another: told, refused, or written anew."""

from __future__ import annotations

import os
import random
import re

import faults
import pytest
from faults import DISTURBED, in_process, resumed, survived
from tiny_runs import CPU, Notes

from resnet_lib.data import cifar10
from resnet_lib.machine.progress import Progress
from resnet_lib.records import checkpoint
from resnet_lib.records.checkpoint import CheckpointError
from resnet_lib.records.record import Diverged, RecordError
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, ledger, weights

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(os.name != "posix", reason="signals and resource limits of POSIX"),
]


@pytest.mark.parametrize("lost", [["result.json"], ["result.json", weights.NAME]], ids=", ".join)
def test_a_finished_run_that_lost_its_result_is_damaged_and_not_trained_anew(reports, lost):
    experiment.run(DISTURBED, choice=CPU, show=Progress())
    folder = RunFolder.of(DISTURBED, "full")
    for name in lost:
        (folder.path / name).unlink()
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    said = "has lost its result.json: restore it, or delete the folder"
    with pytest.raises(RecordError, match=re.escape(said)):
        experiment.run(DISTURBED, choice=CPU, show=Progress())
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    (entry,) = ledger.entries("full")
    assert entry.state == "damaged"
    assert said in entry.detail


def test_a_run_that_lost_its_checkpoint_begins_anew_and_keeps_what_it_had_recorded(reports, undisturbed, monkeypatch):
    in_process(reports, DISTURBED, at=10)
    folder, kept, show = RunFolder.of(DISTURBED, "full"), [], Notes()
    before = (folder.path / "history.csv").read_text()
    assert len(folder.rows()) == 2
    checkpoint.remove(folder.checkpoint)
    monkeypatch.setattr(show, "epoch", lambda row: kept.append((folder.path / "history-lost.csv").read_text()))
    experiment.run(DISTURBED, choice=CPU, show=show)
    said = "has no checkpoint to go on from, and begins anew; history-lost.csv has what it had recorded"
    assert show.lines == [f"{folder.path} {said}"]
    assert kept == [before] * DISTURBED.epochs
    assert faults.result(reports) == undisturbed


def damage(path, how, draw):
    content = bytearray(path.read_bytes())
    if how == "truncated":
        content = content[: draw.randrange(len(content))]
    else:
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["truncated", "bit-flipped"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_used(reports, undisturbed, how):
    draw = random.Random(2)
    in_process(reports, at=11)
    run = RunFolder.of(DISTURBED, "full")
    whole = {path: path.read_bytes() for path in (run.checkpoint, checkpoint.before(run.checkpoint))}
    for _ in range(20):
        with survived("truncated or bit-flipped checkpoint"):
            damage(run.checkpoint, how, draw)
            said = []
            checkpoint.before(run.checkpoint).write_bytes(whole[checkpoint.before(run.checkpoint)])
            assert checkpoint.newest(run.checkpoint, said.append)["step"] == 9
            assert "checkpoint.pt is not a whole checkpoint of this lab: going on from the state before" in said[0]
        run.checkpoint.write_bytes(whole[run.checkpoint])
    damage(run.checkpoint, how, draw)
    assert len(resumed()) == 1
    assert faults.result(reports) == undisturbed


def test_with_no_whole_checkpoint_it_is_said_what_to_do(reports):
    in_process(reports, at=11)
    run = RunFolder.of(DISTURBED, "full")
    for path in (run.checkpoint, checkpoint.before(run.checkpoint)):
        path.write_bytes(b"")
    with survived("truncated or bit-flipped checkpoint"), pytest.raises(CheckpointError, match="delete both to train"):
        resumed()


def test_the_history_is_written_anew_whatever_became_of_it(reports, undisturbed):
    in_process(reports, at=11)
    run = RunFolder.of(DISTURBED, "full")
    run.start()
    path = run.path / "history.csv"
    whole = path.read_bytes()
    kept = {path: path.read_bytes() for path in run.path.iterdir()}
    last = whole.rindex(b"\n", 0, -1) + 1
    # Nothing, a torn header, and twice a torn last row. Each is a training: test_records.py reads it torn at any byte.
    for length in (0, 5, last + 7, len(whole) - 1):
        with survived("history torn at any byte"):
            for file, content in kept.items():
                file.write_bytes(content)
            (run.path / "result.json").unlink(missing_ok=True)
            path.write_bytes(whole[:length])
            resumed()
            assert faults.result(reports) == undisturbed


@pytest.mark.parametrize("changes", [{"lr": 0.2}, {"width": 8}, {"model": "resnet14"}], ids=str)
def test_a_checkpoint_of_another_config_is_refused_by_the_fields_that_differ(reports, changes):
    other = DISTURBED.replace(**changes)
    in_process(reports, other, at=5)
    ours, theirs = RunFolder.of(DISTURBED, "full"), RunFolder.of(other, "full")
    ours.start()
    ours.checkpoint.write_bytes(theirs.checkpoint.read_bytes())
    (field,) = changes
    with (
        survived("other config or network on resume"),
        pytest.raises(RecordError, match=rf"another run, with {field} "),
    ):
        resumed()


def test_a_run_that_diverged_is_marked_and_not_tried_again(reports, monkeypatch):
    config = DISTURBED.replace(lr=100.0, weight_decay=1.0, milestones=(), epochs=20)
    with survived("NaN or infinite loss"):
        with pytest.raises(Diverged, match="is no longer a number at step"):
            experiment.run(config, choice=CPU, show=Progress())
        monkeypatch.setattr(cifar10, "load", None)
        with pytest.raises(Diverged, match=r"diverged at step \d+ \(lr 100\); delete .* to try once more"):
            experiment.run(config, choice=CPU, show=Progress())
        assert not experiment.is_finished(config)
        assert not checkpoint.in_folder(RunFolder.of(config, "full").path)  # from which it would only diverge again
