"""Faults, injected: killed, starved and fed garbage, a run comes to the same end."""

import errno
import os
import random
import re
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from itertools import count
from pathlib import Path

import faults
import pytest
import torch
from faults import TINY, in_process, survived

from resnet_lib.data import cifar10
from resnet_lib.machine.files import write_atomic
from resnet_lib.machine.progress import Progress
from resnet_lib.machine.stop import Stopped, StopSignals
from resnet_lib.records import checkpoint, run_folder
from resnet_lib.records.checkpoint import CheckpointError
from resnet_lib.records.record import Diverged, RecordError
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, ledger, weights
from resnet_lib.training import keeper, train

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(os.name != "posix", reason="signals and resource limits of POSIX"),
]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What the tiny run ends with if nothing happens to it."""
    reports = tmp_path_factory.mktemp("undisturbed")
    assert in_process(reports) == 0
    return faults.result(reports)


MUON = TINY.replace(muon_lr=0.03, nesterov=True)


@pytest.fixture(scope="module")
def undisturbed_muon(tmp_path_factory):
    reports = tmp_path_factory.mktemp("undisturbed")
    assert in_process(reports, MUON) == 0
    return faults.result(reports, MUON)


class Notes(Progress):
    def __init__(self):
        self.lines = []

    def note(self, line):
        self.lines.append(line)


def resumed(config=TINY):
    """The tiny run, finished here; what was said meanwhile."""
    notes = Notes()
    experiment.run(config, choice=faults.ONE_THREAD, show=notes)
    return notes.lines


# --- killed


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
    run = RunFolder.of(TINY, "full")
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
@pytest.mark.parametrize("config", [TINY, MUON], ids=["SGD", "Muon"])
def test_killed_in_the_middle_of_an_epoch_and_resumed(reports, request, config, steps):
    expected = request.getfixturevalue("undisturbed" if config == TINY else "undisturbed_muon")
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


@pytest.mark.parametrize(("seconds", "expected"), [(1e9, range(4, 25, 4)), (-1, range(1, 25))], ids=["long", "short"])
def test_a_state_is_saved_within_an_epoch_after_the_seconds_that_are_set(reports, monkeypatch, seconds, expected):
    saves = []
    monkeypatch.setattr(checkpoint, "save", lambda path, state: saves.append(state["step"]))
    monkeypatch.setattr(keeper, "SAVE_SECONDS", seconds)
    experiment.run(TINY, choice=faults.ONE_THREAD, show=Progress())
    assert sorted(set(saves)) == list(expected)


# --- asked to stop


@pytest.mark.parametrize("by", StopSignals.SIGNALS, ids=lambda s: s.name)
def test_asked_to_stop_it_ends_the_step_saves_and_says_how_to_go_on(reports, by):
    command = [sys.executable, "-m", "resnet_lib", "run", "--model", "resnet8", "--epochs", "1000", "--threads", "1"]
    for field in ("dataset=synthetic", "train_images=400", "test_images=20", "width=4"):
        command.append(f"--set={field}")
    with survived("SIGINT, SIGTERM or an interrupted kernel"):
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
            assert "1000 epochs" in run.stdout.readline()
            run.send_signal(by)
            _, said = run.communicate(timeout=60)
        assert run.returncode == 75
        assert f"stopped by {by.name} at step " in said
        assert "the same command goes on from step " in said
        assert "Traceback" not in said
        (path,) = reports.glob("full/runs/*/checkpoint.pt")
        assert 0 < checkpoint.load(path)["step"] < 4_000


def test_under_nohup_a_terminal_that_closes_stops_nothing():
    code = (
        "import signal\nfrom resnet_lib.machine.stop import StopSignals\n"
        "with StopSignals() as signals:\n    signal.raise_signal(signal.SIGHUP)\n    print(repr(signals.asked))"
    )
    command = ["sh", "-c", """trap '' HUP; exec "$0" -c "$1" """, sys.executable, code]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "''\n"), done.stderr


@pytest.fixture
def received():
    """The signals that reach the handlers of whoever called, as numbers."""
    found = []
    before = {one: signal.signal(one, lambda number, frame: found.append(number)) for one in StopSignals.SIGNALS}
    yield found
    for one, handler in before.items():
        signal.signal(one, handler)


def test_a_second_ctrl_c_acts_at_once(received):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in a shell's background
    reached = []
    with suppress(KeyboardInterrupt), StopSignals() as signals:
        signal.raise_signal(signal.SIGINT)
        reached.append(signals.asked)
        signal.raise_signal(signal.SIGINT)
        reached.append("the end")
    assert reached == ["SIGINT"]


@pytest.mark.parametrize("by", StopSignals.SIGNALS, ids=lambda s: s.name)
def test_a_signal_that_came_too_late_to_be_acted_on_is_passed_on(received, by):
    with StopSignals():
        signal.raise_signal(by)
        assert received == []
    assert received == [by]


def test_a_failure_does_not_hide_that_a_signal_asked_to_stop(received):
    with suppress(ValueError), StopSignals():
        signal.raise_signal(signal.SIGTERM)
        raise ValueError
    assert received == [signal.SIGTERM]


def test_a_signal_that_was_acted_on_is_not_passed_on_however_often_it_came(received):
    with suppress(Stopped), StopSignals():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        raise Stopped
    assert received == []
    signal.raise_signal(signal.SIGTERM)
    assert received == [signal.SIGTERM]  # the handler is back


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM], ids=lambda s: s.name)
def test_stopped_and_resumed_is_as_if_never_stopped(reports, undisturbed, by):
    with survived("SIGINT, SIGTERM or an interrupted kernel"):
        in_process(reports, at=6, by=by, save_seconds=1e9)
        assert checkpoint.load(RunFolder.of(TINY, "full").checkpoint)["step"] == 6
        resumed()
        assert faults.result(reports) == undisturbed


@pytest.mark.parametrize("whom", ["the parent", "all, as a terminal does"])
def test_many_runs_asked_to_stop_are_all_saved(reports, tmp_path, whom):
    long = TINY.replace(train_images=10_000, batch_size=4, lr=1e-4, milestones=())
    (tmp_path / "configs.json").write_text(f"[{','.join(long.replace(seed=s).model_dump_json() for s in range(4))}]")
    command = [sys.executable, "-m", "resnet_lib", "run-many", str(tmp_path / "configs.json"), "--jobs", "2"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with survived("SIGINT, SIGTERM or an interrupted kernel"):
        with subprocess.Popen(command, **pipes) as run:
            lines = [run.stdout.readline() for _ in range(2)]
            assert all("6 epochs of 10,000 images" in line for line in lines)
            if whom == "the parent":
                run.terminate()
            else:
                os.killpg(run.pid, signal.SIGINT)
            _, said = run.communicate(timeout=60)
        assert run.returncode == 75, said
        assert "the same command goes on from what is saved" in said
        paths = list(reports.glob("full/runs/*/checkpoint.pt"))
        assert len(paths) == 2
        # Within an epoch, where nothing but the signal saves.
        assert all(checkpoint.load(path)["step"] % long.steps_per_epoch() for path in paths)


def test_many_runs_go_on_after_one_process_was_killed(reports, tmp_path):
    configs = [TINY.replace(train_images=1_000, milestones=(), seed=seed) for seed in range(3)]
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


# --- starved


@pytest.mark.parametrize("bytes_", [10, 1_000, 20_000], ids=lambda n: f"files of at most {n} bytes")
def test_a_full_disk_leaves_the_last_state_and_no_litter(reports, undisturbed, bytes_):
    in_process(reports, at=10)
    run = RunFolder.of(TINY, "full")
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
        saved = checkpoint.newest(RunFolder.of(TINY, "full").checkpoint, pytest.fail)
        return saved is not None and saved["step"] == TINY.total_steps()

    with survived("disk full, I/O error or short write"):
        with monkeypatch.context() as disk:
            for module in (run_folder, weights):
                disk.setattr(module, "write_atomic", failing)
            with pytest.raises(OSError, match="disk full"):
                experiment.run(TINY, choice=faults.ONE_THREAD, show=Progress())
        assert not RunFolder.of(TINY, "full").finished
        resumed()
        assert faults.result(reports) == undisturbed


def test_a_run_whose_result_is_written_elsewhere_agrees_with_itself_and_was_trained_where_it_was(reports, monkeypatch):
    """After its last state, on another device: the evaluation is equal but for rounding."""

    def failing(*_):
        raise OSError(errno.ENOSPC, "disk full")

    with monkeypatch.context() as disk:
        disk.setattr(weights, "write", failing)
        with pytest.raises(OSError, match="disk full"):
            experiment.run(TINY, choice=faults.ONE_THREAD, show=Progress())
    evaluate = train.evaluate

    def evaluate_elsewhere(*arguments):
        found = evaluate(*arguments)
        return replace(found, loss=found.loss + 1e-3)

    monkeypatch.setattr(train, "evaluate", evaluate_elsewhere)
    monkeypatch.setattr(keeper, "device_name", lambda choice: "abacus")
    record = experiment.run(TINY, choice=faults.ONE_THREAD, show=Progress())
    assert record.history[-1]["test_loss"] == record.result["loss"]
    assert ledger.problems(ledger.entry(record.path)) == []
    assert "abacus" not in record.seconds_by_device


@pytest.mark.parametrize("lost", [["result.json"], ["result.json", weights.NAME]], ids=", ".join)
def test_a_finished_run_that_lost_its_result_is_damaged_and_not_trained_anew(reports, lost):
    experiment.run(TINY, choice=faults.ONE_THREAD, show=Progress())
    folder = RunFolder.of(TINY, "full")
    for name in lost:
        (folder.path / name).unlink()
    before = {path.name: path.read_bytes() for path in folder.path.iterdir()}
    said = "has lost its result.json: restore it, or delete the folder"
    with pytest.raises(RecordError, match=re.escape(said)):
        experiment.run(TINY, choice=faults.ONE_THREAD, show=Progress())
    assert {path.name: path.read_bytes() for path in folder.path.iterdir()} == before
    (entry,) = ledger.entries("full")
    assert entry.state == "damaged"
    assert said in entry.detail


def test_a_run_that_lost_its_checkpoint_begins_anew_and_keeps_what_it_had_recorded(reports, undisturbed, monkeypatch):
    in_process(reports, TINY, at=10)
    folder, told, kept, show = RunFolder.of(TINY, "full"), [], [], Progress()
    monkeypatch.setattr(show, "note", told.append)
    before = (folder.path / "history.csv").read_text()
    assert len(folder.rows()) == 2
    checkpoint.remove(folder.checkpoint)
    monkeypatch.setattr(show, "epoch", lambda row: kept.append((folder.path / "history-lost.csv").read_text()))
    experiment.run(TINY, choice=faults.ONE_THREAD, show=show)
    said = "has no checkpoint to go on from, and begins anew; history-lost.csv has what it had recorded"
    assert told == [f"{folder.path} {said}"]
    assert kept == [before] * TINY.epochs
    assert faults.result(reports) == undisturbed


@pytest.mark.parametrize("damaged", ["result.json", weights.NAME])
def test_what_a_run_was_resumed_from_goes_only_when_its_record_and_weights_are_whole(reports, damaged):
    process = faults.forking().Process(target=killed_before_the_checkpoint_goes, args=(reports,))
    process.start()
    process.join()
    folder = RunFolder.of(TINY, "full")
    path = folder.path / damaged
    path.write_bytes(path.read_bytes()[:-9])
    with suppress(RecordError):
        experiment.run(TINY, choice=faults.ONE_THREAD, show=Progress())
    assert checkpoint.in_folder(folder.path)


def killed_before_the_checkpoint_goes(reports):
    os.environ["RESNET_LAB_REPORTS"] = str(reports)
    checkpoint.remove = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    experiment.run(TINY, choice=faults.ONE_THREAD, show=Progress())


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
    monkeypatch.setattr(owner, name, disk.wrap(getattr(owner, name), code))
    with survived("disk full, I/O error or short write"):
        experiment.run(TINY, choice=faults.ONE_THREAD, show=disk)
        assert len(disk.lines) == 2  # the state and the history of the third epoch
        assert all(os.strerror(code) in line for line in disk.lines)
        assert faults.result(reports) == undisturbed


# --- fed garbage


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
    run = RunFolder.of(TINY, "full")
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
    run = RunFolder.of(TINY, "full")
    for path in (run.checkpoint, checkpoint.before(run.checkpoint)):
        path.write_bytes(b"")
    with survived("truncated or bit-flipped checkpoint"), pytest.raises(CheckpointError, match="delete both to train"):
        resumed()


def test_the_history_is_written_anew_whatever_became_of_it(reports, undisturbed):
    in_process(reports, at=11)
    run = RunFolder.of(TINY, "full")
    run.start()
    path = run.path / "history.csv"
    whole = path.read_bytes()
    kept = {path: path.read_bytes() for path in run.path.iterdir()}
    last = whole.rindex(b"\n", 0, -1) + 1
    for length in [0, 5, *range(last, len(whole), 7)]:
        with survived("history torn at any byte"):
            for file, content in kept.items():
                file.write_bytes(content)
            (run.path / "result.json").unlink(missing_ok=True)
            path.write_bytes(whole[:length])
            resumed()
            assert faults.result(reports) == undisturbed


@pytest.mark.parametrize("changes", [{"lr": 0.2}, {"width": 8}, {"model": "resnet14"}], ids=str)
def test_a_checkpoint_of_another_config_is_refused_by_the_fields_that_differ(reports, changes):
    other = TINY.replace(**changes)
    in_process(reports, other, at=5)
    ours, theirs = RunFolder.of(TINY, "full"), RunFolder.of(other, "full")
    ours.start()
    ours.checkpoint.write_bytes(theirs.checkpoint.read_bytes())
    (field,) = changes
    with (
        survived("other config or network on resume"),
        pytest.raises(RecordError, match=rf"another run, with {field} "),
    ):
        resumed()


def test_a_run_that_diverged_is_marked_and_not_tried_again(reports, monkeypatch):
    config = TINY.replace(lr=100.0, weight_decay=1.0, milestones=(), epochs=20)
    with survived("NaN or infinite loss"):
        with pytest.raises(Diverged, match="is no longer a number at step"):
            experiment.run(config, choice=faults.ONE_THREAD, show=Progress())
        monkeypatch.setattr(cifar10, "load", None)
        with pytest.raises(Diverged, match=r"diverged at step \d+ \(lr 100\); delete .* to try once more"):
            experiment.run(config, choice=faults.ONE_THREAD, show=Progress())
        assert not experiment.is_finished(config)
