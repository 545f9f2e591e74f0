"""Records and checkpoints: what a crash, a second process or a stranger's file can do to them."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import pickle
import shutil
import signal
import stat
import subprocess
from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
import torch
from checkout import ROOT
from crafted import RESULT, ROWS
from tiny_runs import CPU

from resnet_lib.config import Config, ConfigError
from resnet_lib.machine import files, provenance
from resnet_lib.machine.device import Choice, DeviceError
from resnet_lib.machine.files import write_atomic
from resnet_lib.records import checkpoint, find, record, run_folder
from resnet_lib.records.checkpoint import CheckpointError
from resnet_lib.records.find import find_seeds
from resnet_lib.records.record import RecordError, read_history, read_record
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import weights


@pytest.fixture
def folder():
    """A run's folder with three rows of history."""
    run = RunFolder.of(Config(), "full")
    run.start()
    run.write_history(ROWS)
    return run


@pytest.fixture
def finished(folder):
    random = np.random.default_rng(0)
    predictions = {
        "predicted": random.integers(0, 10, 50, np.uint8),
        "confidence": random.random(50).astype(np.float16),
        "label": random.integers(0, 10, 50, np.uint8),
    }
    return folder.finish(ROWS, RESULT, predictions), predictions


# --- the history


def test_history_round_trip_is_exact(folder):
    assert folder.rows() == ROWS
    assert [type(folder.rows()[0][name]) for name in ("epoch", "step", "drops", "lr")] == [int, int, int, float]


@pytest.mark.fault("history torn at any byte")
def test_a_torn_last_line_is_left_out_wherever_it_is_torn(folder):
    path = folder.path / "history.csv"
    whole = path.read_bytes()
    last = len(whole.splitlines(keepends=True)[-1])
    for missing in range(1, last + 1):
        path.write_bytes(whole[:-missing])
        assert read_history(path) == ROWS[:2], f"{missing} bytes missing"


@pytest.mark.fault("history torn at any byte")
def test_a_torn_header_is_no_history(folder):
    path = folder.path / "history.csv"
    header = path.read_bytes().splitlines(keepends=True)[0]
    for length in range(len(header) + 1):
        path.write_bytes(header[:length])
        assert folder.rows() == []


# --- the folder


def test_names_of_folders(reports):
    assert RunFolder.of(Config(seed=4), "quick").path == reports / "quick" / "runs" / "resnet20-10ep-s4-f12f2e92b789"


def test_start_may_be_called_again(folder):
    before = (folder.path / "config.json").read_bytes()
    folder.start()
    assert (folder.path / "config.json").read_bytes() == before
    assert record.read_config(folder.path / "config.json") == folder.config


@pytest.mark.fault("other config or network on resume")
def test_a_folder_with_another_config_is_refused(folder):
    other = RunFolder(folder.path, Config(lr=0.2))
    with pytest.raises(RecordError, match=r"config\.json belongs to another run, with lr 0\.1, not 0\.2: "):
        other.start()
    assert record.read_config(folder.path / "config.json") == Config()


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"epochs": 0}', '{"colour": 1}', '"é'])
def test_a_damaged_config_is_named(folder, content):
    path = folder.path / "config.json"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"config\.json"):
        folder.start()
    assert path.read_text() == content


def test_finished_means_that_there_is_a_result(folder):
    assert not folder.finished
    folder.finish(ROWS, RESULT, {})
    assert folder.finished


# --- the record


def test_record_round_trip(finished):
    record, predictions = finished
    again = read_record(record.path)
    assert (again.config, again.history) == (Config(), ROWS)
    assert again.result.items() >= RESULT.items()
    assert again.accuracy == 0.5
    assert again.predictions.keys() == predictions.keys()
    for name, values in predictions.items():
        assert again.predictions[name].dtype == values.dtype
        np.testing.assert_array_equal(again.predictions[name], values)
    np.testing.assert_array_equal(again.correct, predictions["predicted"] == predictions["label"])


@pytest.mark.parametrize("name", ["config.json", "history.csv", "result.json"])
@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_damaged_record_is_named_with_what_to_do(finished, name, damage):
    path = finished[0].path / name
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(b"epoch\n\xff\n")
    with pytest.raises(RecordError, match=r"resnet20-10ep.*: restore it, or delete"):
        read_record(finished[0].path)


def test_only_finished_runs_are_found_in_the_order_of_their_seeds():
    for seed in (2, 1, 3):
        run = RunFolder.of(Config(seed=seed), "quick")
        run.start()
        run.write_history(ROWS)
        if seed < 3:
            run.finish(ROWS, RESULT, {})
    assert [record.config.seed for record in find_seeds(Config(), "quick")] == [1, 2]
    shutil.copytree(run.path.with_name(Config(seed=1).run_id), run.path.with_name(f"copy-of-{Config(seed=1).run_id}"))
    assert [record.config.seed for record in find_seeds(Config(), "quick")] == [1, 2]
    assert find_seeds(Config(), "full") == []


def test_a_record_of_other_settings_under_the_name_of_these_is_refused():
    run = RunFolder.of(Config(), "quick")
    run.start()
    run.write_history(ROWS)
    run.finish(ROWS, RESULT, {})
    (run.path / "config.json").write_text(Config(momentum=0.8).model_dump_json())
    with pytest.raises(RecordError, match="holds the record of another run"):
        find_seeds(Config(), "quick")


def test_a_result_that_is_not_a_number_is_never_written(folder):
    with pytest.raises(ValueError, match="JSON"):
        folder.finish(ROWS, RESULT | {"loss": float("nan")}, {})
    assert not folder.finished


# --- one process at a time


def hold(path, locked):
    with RunFolder(path, Config()).lock():
        locked.set()
        signal.pause()


@pytest.mark.fault("two runs in one folder, or a stale lock")
def test_a_second_process_is_refused_until_the_first_is_gone_even_if_killed(folder):
    context = multiprocessing.get_context("fork")
    locked = context.Event()
    other = context.Process(target=hold, args=(folder.path, locked), daemon=True)
    other.start()
    try:
        assert locked.wait(30)
        with (
            pytest.raises(RecordError, match=rf"{folder.path} is being trained by process {other.pid} on \S+, since "),
            folder.lock(),
        ):
            pytest.fail("two processes hold one folder")
    finally:
        other.kill()
        other.join()
    with folder.lock():
        assert (folder.path / "lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_look_at_the_lock_keeps_nobody_from_training(folder, monkeypatch):
    with folder.lock():
        assert folder.is_held
    assert not folder.is_held
    answers = iter([False, False, True])  # somebody looks, twice, while another comes
    monkeypatch.setattr(run_folder, "try_lock", lambda descriptor: next(answers))
    with folder.lock():
        pass
    asked = []
    monkeypatch.setattr(run_folder, "try_lock", lambda descriptor: bool(asked.append(descriptor)))
    with pytest.raises(RecordError, match="is being trained by"), folder.lock():
        pytest.fail("two processes hold one folder")
    assert len(asked) == 1 + run_folder.PATIENCE


@pytest.mark.fault("two runs in one folder, or a stale lock")
def test_the_lock_is_released_after_an_error(folder):
    with pytest.raises(KeyError), folder.lock():
        raise KeyError
    with folder.lock(), pytest.raises(RecordError), folder.lock():
        pass


# --- atomic writes


@pytest.mark.fault("disk full, I/O error or short write")
@pytest.mark.parametrize("existing", [None, b"old"], ids=["new", "old"])
@pytest.mark.parametrize("failing", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, existing, failing, error):
    path = tmp_path / "file"
    if existing:
        path.write_bytes(existing)

    def fail(*arguments):
        raise error

    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(failing, fail)
        with pytest.raises(type(error)):
            write_atomic(path, b"new")
    assert sorted(tmp_path.iterdir()) == before
    assert not existing or path.read_bytes() == existing
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"


def test_records_are_those_of_the_checkout_wherever_it_is_called(tmp_path, monkeypatch):
    monkeypatch.delenv("RESNET_LAB_REPORTS")
    monkeypatch.chdir(tmp_path)
    assert find.reports_folder() == ROOT / "reports"


@pytest.mark.skipif(os.name != "posix", reason="Windows has no folder to sync")
def test_a_file_and_then_its_folder_reach_the_disk(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode)))
    write_atomic(tmp_path / "file", b"")
    assert synced == [False, True]


@pytest.mark.skipif(os.name != "posix", reason="Windows has no folder to sync")
@pytest.mark.parametrize(("number", "is_known"), [(errno.EINVAL, True), (errno.EIO, False)])
def test_a_disk_that_cannot_sync_folders_is_written_to_all_the_same(tmp_path, monkeypatch, number, is_known):
    def sync(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", sync)
    with nullcontext() if is_known else pytest.raises(OSError, match=os.strerror(number)):
        write_atomic(tmp_path / "file", b"")


def test_a_disk_without_locks_is_named_and_what_to_do(tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("resnet_lib.records.run_folder.try_lock", refuse)
    said = r"cannot be locked .*: set RESNET_LAB_REPORTS to a folder on another disk"
    with pytest.raises(RecordError, match=said), RunFolder(tmp_path, Config()).lock():
        pass


@pytest.mark.fault("disk full, I/O error or short write")
def test_a_failed_save_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"epoch": 1})
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        checkpoint.save(path, {"epoch": 2})
    assert checkpoint.load(path) == {"epoch": 1}


# --- checkpoints


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, {"epoch": 3, "model": {"w": torch.arange(4.0)}, "choice": {"device": "cpu"}})
    return path


def test_checkpoint_round_trip(saved):
    state = checkpoint.load(saved)
    assert torch.equal(state["model"].pop("w"), torch.arange(4.0))
    assert state == {"epoch": 3, "model": {}, "choice": {"device": "cpu"}}


@pytest.mark.fault("truncated or bit-flipped checkpoint")
def test_a_flipped_byte_is_refused_wherever_it_is(saved):
    content = saved.read_bytes()
    head = len(checkpoint.MAGIC) + checkpoint.DIGEST_BYTES
    for place in [*range(head + 8), *range(head + 8, len(content), 41), len(content) - 1]:
        damaged = bytearray(content)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"checkpoint\.pt is not a whole checkpoint"):
            checkpoint.load(saved)


@pytest.mark.fault("truncated or bit-flipped checkpoint")
@pytest.mark.parametrize("length", [0, 1, 24, 40, 56, 57, -1])
def test_a_truncated_checkpoint_is_refused(saved, length):
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt is not a whole checkpoint"):
        checkpoint.load(saved)


class Payload:
    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.fault("malicious pickle as checkpoint, weights or data")
@pytest.mark.parametrize(
    ("whole", "said"),
    [(True, "holds more than tensors and plain values: do not trust it"), (False, "is not a whole checkpoint")],
    ids=["with a valid digest", "bare"],
)
@pytest.mark.parametrize("writer", ["torch", "pickle"])
def test_a_malicious_pickle_is_refused_and_does_not_run(tmp_path, monkeypatch, writer, whole, said):
    path, trace = tmp_path / "checkpoint.pt", tmp_path / "trace"
    if writer == "pickle":
        monkeypatch.setattr(torch, "save", partial(pickle.dump, protocol=2))
    if whole:
        checkpoint.save(path, {"model": Payload(trace)})
    else:
        torch.save({"model": Payload(trace)}, path.open("wb"))
    with pytest.raises(CheckpointError, match=rf"checkpoint\.pt {said}"):
        checkpoint.load(path)
    assert not trace.exists()
    pickle.loads(pickle.dumps(Payload(trace)))  # it would have run elsewhere
    assert trace.exists()


def test_a_small_file_that_names_a_huge_network_takes_no_memory(tmp_path):
    """A network of a hundred gigabytes, of which the file has one number."""
    huge = Config(model="resnet1994", width=512)
    weights.write(tmp_path / "w.safetensors", {"stem.weight": torch.zeros(1)}, huge)
    with pytest.raises(CheckpointError, match="does not fit resnet1994"):
        weights.evaluate(weights.config_of(tmp_path / "w.safetensors"), tmp_path / "w.safetensors", CPU)


@pytest.mark.fault("malicious pickle as checkpoint, weights or data")
@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.safetensors", "weights"])
def test_malicious_weights_are_refused_and_do_not_run(tmp_path, name):
    trace = tmp_path / "trace"
    for write in (torch.save, pickle.dump):
        with (tmp_path / name).open("wb") as file:
            write({"model": Payload(trace)}, file)
        for read in (weights.load, weights.config_of):
            with pytest.raises(CheckpointError, match=name):
                read(tmp_path / name)
    assert not trace.exists()


def test_the_result_is_json_that_others_can_read(finished):
    result = json.loads((finished[0].path / "result.json").read_text())
    assert result.pop("files").keys() == {"history.csv", "predictions.npz"}
    assert result == RESULT


@pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")
def test_a_commit_is_noted_of_code_that_is_in_it_alone(tmp_path, monkeypatch):
    """Not where the library is installed, ignored, inside another project's checkout."""

    def git(*arguments):
        identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@localhost"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    code = tmp_path / "resnet_lib" / "machine" / "provenance.py"
    code.parent.mkdir(parents=True)
    code.write_text("one")
    monkeypatch.setattr(provenance, "__file__", str(code))
    assert provenance.commit() == "unknown"
    git("init")
    git("commit", "--allow-empty", "-m", "another project")
    assert provenance.commit() == "unknown"
    git("add", ".")
    git("commit", "-m", "the library")
    assert len(provenance.commit()) == 40
    code.write_text("two")
    assert provenance.commit().endswith(" with changes")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("model name\t: AMD EPYC 9655 96-Core\ncpu family\t: 26\nmodel\t: 2\n", "AMD EPYC 9655 96-Core"),
        ("cpu family\t: 26\nmodel\t\t: 2\nmodel name\t: AMD EPYC\n", "AMD EPYC (family 26, model 2)"),
        ("CPU implementer\t: 0x41\n", "the system's word"),  # ARM
        ("model name\t: Vega 10 [Radeon | Pro]  64\n", "Vega 10 Radeon Pro 64"),  # which would be markup on a page
    ],
)
def test_a_processor_whose_name_tells_little_is_told_from_others(text, name, tmp_path, monkeypatch):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(provenance, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(provenance.platform, "processor", lambda: "the system's word")
    monkeypatch.setattr(provenance.platform, "system", lambda: "Linux")
    assert provenance.environment(Choice("cpu", 1, True))["device_name"] == name


def test_where_there_are_no_locks_no_run_is_said_to_be_in_training(folder, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    folder.start()
    (folder.path / "lock").touch()
    monkeypatch.setattr(run_folder, "try_lock", refuse)
    assert not folder.is_held


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_file_system_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    with (tmp_path / "lock").open("w") as file, pytest.raises(OSError, match="not implemented"):
        files.try_lock(file.fileno())


@pytest.mark.fault("other config or network on resume")
def test_a_copied_folder_under_another_runs_name_is_refused(finished):
    with_idle_milestone = RunFolder(finished[0].path, Config(milestones=(10,)))
    assert with_idle_milestone.record().config == with_idle_milestone.config
    other = RunFolder.of(Config(lr=0.2), "full")
    shutil.copytree(finished[0].path, other.path)
    with pytest.raises(RecordError, match=rf"{other.path} belongs to another run, with lr 0\.1, not 0\.2: move"):
        other.record()


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("pathlib.Path.read_bytes", MemoryError()),
        ("torch.load", MemoryError()),
        ("torch.load", RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 64 bytes.")),
    ],
)
def test_a_checkpoint_that_does_not_fit_in_memory_is_not_taken_for_a_damaged_one(saved, monkeypatch, where, error):
    def exhausted(*arguments, **options):
        raise error

    checkpoint.save(saved, {"epoch": 4})
    monkeypatch.setattr(where, exhausted)
    with pytest.raises(DeviceError, match="too little memory to read"):
        checkpoint.newest(saved, pytest.fail)
    assert checkpoint.in_folder(saved.parent) == [saved, checkpoint.before(saved)]


def test_apples_gpu_is_not_named_as_its_cpu(monkeypatch):
    monkeypatch.setattr(provenance, "_cpu_name", lambda: "Apple M4")
    names = [provenance.device_name(Choice(device, 1, True)) for device in ("mps", "cpu")]
    assert names == ["Apple M4 GPU", "Apple M4"]
