"""SIGKILL, at every line of a save and anywhere in training: what is left, and that a run comes to the same end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from itertools import count

import faults
import pytest
import torch
from faults import DISTURBED, in_process, resumed, survived
from tiny_runs import CPU

from resnet_lib.machine.progress import Progress
from resnet_lib.records import checkpoint
from resnet_lib.records.record import RecordError
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, ledger, weights
from resnet_lib.training import keeper

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(os.name != "posix", reason="signals and resource limits of POSIX"),
]
MUON = DISTURBED.replace(muon_lr=0.03, nesterov=True)


@pytest.fixture(scope="module")
def undisturbed_muon(tmp_path_factory):
    reports = tmp_path_factory.mktemp("undisturbed")
    assert in_process(reports, MUON) == 0
    return faults.result(reports, MUON)


def killed_at_line(path, states, line):
    """Save the second state after the first, killed before the line-th line of the code that saves; False if done."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == signal.SIGKILL
    left = count(line, -1)

    def local(frame, event, argument):
        if event == "line" and next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return local

    def tracer(frame, event, argument):
        return local if frame.f_code.co_filename.endswith(("files.py", "checkpoint.py")) else None

    sys.settrace(tracer)
    try:
        checkpoint.save(path, states[1])
    finally:
        os._exit(0)  # whatever happened, this copy of pytest ends here


@pytest.mark.parametrize("before", ["one state", "two states", "a damaged state and a whole one"])
def test_killed_at_every_line_of_a_save_leaves_the_old_state_or_the_new(reports, before):
    run = RunFolder.of(DISTURBED, "full")
    states = [{"step": step, "model": {"w": torch.full((1000,), float(step))}} for step in (1, 2)]
    for line in count():
        run.start()
        for path in (run.checkpoint, checkpoint.before(run.checkpoint)):
            path.unlink(missing_ok=True)
        for _ in range(1 if before == "one state" else 2):
            checkpoint.save(run.checkpoint, states[0])
        if "damaged" in before:
            run.checkpoint.write_bytes(b"garbage")
            checkpoint.newest(run.checkpoint, lambda line: None)
        if not killed_at_line(run.checkpoint, states, line):
            break
        with survived("SIGKILL at every line of a save"):
            found = checkpoint.newest(run.checkpoint, pytest.fail)
            assert found["model"]["w"].unique().tolist() == [found["step"]]
            run.start()
            assert not list(run.path.glob("*.tmp"))
    assert line > 15
    assert checkpoint.newest(run.checkpoint, pytest.fail)["step"] == 2


@pytest.mark.parametrize("steps", [1, 3, 4, 10, 23], ids=lambda n: f"step {n} of 24")
@pytest.mark.parametrize("config", [DISTURBED, MUON], ids=["SGD", "Muon"])
def test_killed_in_the_middle_of_an_epoch_and_resumed(reports, request, config, steps):
    expected = request.getfixturevalue("undisturbed" if config == DISTURBED else "undisturbed_muon")
    with survived("SIGKILL anywhere in training"):
        assert in_process(reports, config, at=steps) == -signal.SIGKILL
        saved = RunFolder.of(config, "full").checkpoint
        assert (checkpoint.load(saved)["step"] if saved.exists() else 0) == steps - 1
        assert resumed(config) == []
        assert faults.result(reports, config) == expected


def test_killed_five_times_in_a_row(reports, undisturbed):
    for steps in (2, 5, 1, 3, 4):
        with survived("SIGKILL anywhere in training"):
            assert in_process(reports, at=steps) == -signal.SIGKILL
    resumed()
    assert faults.result(reports) == undisturbed


@pytest.mark.parametrize(
    ("within", "after", "expected"),
    [(1e9, -1, range(4, 25, 4)), (-1, -1, range(1, 25)), (1e9, 1e9, (4, 24))],  # the last: the first epoch, and the end
)
def test_a_state_is_saved_after_the_seconds_that_are_set(reports, monkeypatch, within, after, expected):
    saves = []
    monkeypatch.setattr(checkpoint, "save", lambda path, state: saves.append(state["step"]))
    monkeypatch.setattr(keeper, "SAVE_SECONDS", within)
    monkeypatch.setattr(keeper, "EPOCH_SECONDS", after)
    experiment.run(DISTURBED, choice=CPU, show=Progress())
    assert sorted(set(saves)) == list(expected)


def test_a_history_that_is_ahead_of_what_was_saved_is_trained_again_to_the_same(reports, undisturbed):
    """As of epochs that are too short to be saved each."""
    with survived("SIGKILL anywhere in training"):
        assert in_process(reports, save_seconds=1e9, epoch_seconds=1e9, at=14) == -signal.SIGKILL
        folder = RunFolder.of(DISTURBED, "full")
        assert (len(folder.rows()), checkpoint.load(folder.checkpoint)["epoch"]) == (3, 1)
        resumed()
        assert faults.result(reports) == undisturbed


def test_many_runs_go_on_after_one_process_was_killed(reports, tmp_path):
    configs = [DISTURBED.replace(train_images=1_000, milestones=(), seed=seed) for seed in range(3)]
    (tmp_path / "configs.json").write_text(f"[{','.join(config.model_dump_json() for config in configs)}]")
    command = [sys.executable, "-m", "resnet_lib", "run-many", str(tmp_path / "configs.json"), "--jobs", "2"]
    with survived("SIGKILL anywhere in training"):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            begun, _, _ = run.stdout.readline().partition(":")
            owner = (reports / "full" / "runs" / begun / "lock").read_text()
            os.kill(int(owner.split()[1]), signal.SIGKILL)
            out, said = run.communicate(timeout=120)
        assert run.returncode == 0, said
        assert re.search(r"going on, 1 at a time \([123] left\)", " ".join(said.split())), said
        assert "3 of 3 runs have their record" in " ".join(out.split())
        assert all(RunFolder.of(config, "full").finished for config in configs)


def killed_before_the_checkpoint_goes(reports):
    os.environ["RESNET_LAB_REPORTS"] = str(reports)
    checkpoint.remove = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    experiment.run(DISTURBED, choice=CPU, show=Progress())


@pytest.mark.parametrize("damaged", ["result.json", weights.NAME])
def test_what_a_run_was_resumed_from_goes_only_when_its_record_and_weights_are_whole(reports, damaged):
    process = faults.forking().Process(target=killed_before_the_checkpoint_goes, args=(reports,))
    process.start()
    process.join()
    folder = RunFolder.of(DISTURBED, "full")
    path = folder.path / damaged
    path.write_bytes(path.read_bytes()[:-9])
    with suppress(RecordError):
        experiment.run(DISTURBED, choice=CPU, show=Progress())
    assert checkpoint.in_folder(folder.path)


def test_killed_between_its_record_and_the_end_it_is_finished_and_tidied_by_the_next_call(reports, undisturbed):
    with survived("SIGKILL anywhere in training"):
        process = faults.forking().Process(target=killed_before_the_checkpoint_goes, args=(reports,))
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        (entry,) = ledger.entries("full")
        assert entry.state == "finished"
        assert checkpoint.in_folder(entry.path)
        assert resumed() == []
        assert faults.result(reports) == undisturbed
