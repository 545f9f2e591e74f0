"""Asked to stop by a signal, a run is saved, says how to go on, and comes to the same end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import faults
import pytest
from faults import DISTURBED, in_process, resumed, survived
from tiny_runs import CPU

from resnet_lib.machine.progress import Progress
from resnet_lib.machine.stop import Stopped, StopSignals
from resnet_lib.records import checkpoint
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment
from resnet_lib.training import train

pytestmark = [
    pytest.mark.fault,
    pytest.mark.skipif(os.name != "posix", reason="signals and resource limits of POSIX"),
]


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


def test_asked_to_stop_while_it_evaluates_it_saves_before_the_next_batch(reports, monkeypatch, undisturbed):
    """An evaluation on a CPU takes longer than a scheduler waits before it kills."""
    monkeypatch.setattr("resnet_lib.training.loader.EVALUATION_BATCH", 10)
    evaluate, batches, began = train.evaluate, [], time.perf_counter()

    def ended_in_the_first_batch(model, held_out, config, after_batch):
        trained = time.perf_counter() - began

        def asked():
            batches.append(trained)
            time.sleep(0.1)
            signal.raise_signal(signal.SIGTERM)
            after_batch()

        return evaluate(model, held_out, config, asked)

    with survived("SIGINT, SIGTERM or an interrupted kernel"):
        with monkeypatch.context() as patch:
            patch.setattr(train, "evaluate", ended_in_the_first_batch)
            with pytest.raises(Stopped, match="stopped by SIGTERM at step"):
                experiment.run(DISTURBED, choice=CPU, show=Progress())
        assert len(batches) == 1
        state = checkpoint.load(RunFolder.of(DISTURBED, "full").checkpoint)
        assert (state["epoch"], state["step"]) == (0, DISTURBED.steps_per_epoch)
        assert state["spent"] < batches[0] + 0.05  # what it evaluated does not count: it is evaluated once more
        resumed()
        assert faults.result(reports) == undisturbed


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
        assert checkpoint.load(RunFolder.of(DISTURBED, "full").checkpoint)["step"] == 6
        resumed()
        assert faults.result(reports) == undisturbed


@pytest.mark.parametrize("whom", ["the parent", "all, as a terminal does"])
def test_many_runs_asked_to_stop_are_all_saved(reports, tmp_path, whom):
    long = DISTURBED.replace(train_images=10_000, batch_size=4, lr=1e-4, milestones=())
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
        assert all(checkpoint.load(path)["step"] % long.steps_per_epoch for path in paths)
