"""Runs at a time: how they share the machine, and what comes of a process that is killed or stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from types import SimpleNamespace

import psutil
import pytest
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.config import Config
from resnet_lib.errors import LabError
from resnet_lib.machine import device
from resnet_lib.machine.stop import Stopped, StopSignals
from resnet_lib.records import checkpoint
from resnet_lib.runs import experiment, many, pool


def written(file, script):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    return file


@pytest.mark.parametrize(
    ("options", "threads"), [("", 8), ("--jobs 2", 4), ("--jobs 9", 4), ("--jobs 2 --threads 3", 3)]
)
def test_runs_at_a_time_share_the_threads(reports, monkeypatch, tmp_path, options, threads):
    configs = tmp_path / "configs.json"
    configs.write_text('[{"model": "resnet8", "seed": 1}, {"model": "resnet8", "seed": 2}]')
    seen = []

    def note(configs, profile, choose, executor):
        for config in configs:
            seen.append((choose(config).threads, executor is not None))
            yield config, SimpleNamespace(accuracy=0.5)

    monkeypatch.setattr(many, "run_many", note)
    monkeypatch.setattr(device, "THREADS", 8)
    result = CliRunner().invoke(app, ["run-many", str(configs), "--device", "cpu", *options.split()])
    assert result.exit_code == 0
    assert seen == [(threads, bool(options))] * 2


def test_run_many_hands_on_what_a_broken_pool_no_longer_takes():
    class Broken:
        def submit(self, *arguments):
            raise BrokenProcessPool("a process was killed")

    configs = [Config(seed=seed) for seed in range(2)]
    found = list(many.run_many(configs, executor=Broken()))
    assert [config for config, _ in found] == configs
    assert all(isinstance(outcome, BrokenProcessPool) for _, outcome in found)


def test_runs_at_a_time_are_no_more_than_are_left_and_share_all_threads(reports, monkeypatch):
    seen = []

    def run_many(configs, profile, choose, executor):
        seen.append((executor, choose(configs[0]).threads))
        outcomes = [SimpleNamespace(accuracy=0.5)] * 2 + [BrokenProcessPool()]
        yield from zip(configs, outcomes, strict=False)

    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda jobs, context, **dealt: nullcontext(jobs))
    monkeypatch.setattr("resnet_lib.machine.device.THREADS", 12)
    monkeypatch.setattr(many, "run_many", run_many)
    configs = [Config(seed=seed) for seed in range(3)]
    list(pool.run_all(configs, "smoke", 8, "cpu", None, print))
    assert seen == [(3, 4), (1, 12)]
    monkeypatch.setattr(experiment, "is_finished", lambda config, profile: config.seed > 0)
    list(pool.run_all(configs[:2], "smoke", 8, "cpu", None, print))
    assert seen[2:] == [(None, 12)]


def test_a_run_whose_process_is_always_killed_does_not_stop_those_behind_it(reports, monkeypatch):
    """One of three ends every pool that it is in: the others come to their end, and it is told of."""
    configs = [Config(seed=seed) for seed in range(3)]

    def run_many(configs, profile, choose, executor):
        for config in configs:
            if config.seed == 0:
                yield from ((one, BrokenProcessPool()) for one in configs)
                return
            yield config, SimpleNamespace(accuracy=0.5)

    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda jobs, context, **dealt: nullcontext(jobs))
    monkeypatch.setattr(many, "run_many", run_many)
    said = []
    outcomes = {config.seed: outcome for config, outcome in pool.run_all(configs, "smoke", 2, "cpu", 1, said.append)}
    assert set(outcomes) == {0, 1, 2}
    assert "if memory lacks again, a smaller batch_size may do" in str(outcomes[0])
    assert [outcomes[seed].accuracy for seed in (1, 2)] == [0.5, 0.5]
    assert [line.partition("; ")[2] for line in said] == ["going on, 1 at a time (3 left)"]


def test_a_signal_that_comes_while_no_outcome_does_stops_all_and_leaves_the_handlers_as_they_were(reports, monkeypatch):
    class Broken:
        """A pool of which a process was killed, and which is asked to stop while the others end."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            signal.raise_signal(signal.SIGTERM)

    calls = []

    def run_many(configs, *_):
        calls.append(len(configs))
        yield configs[0], BrokenProcessPool()

    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda *_, **__: Broken())
    monkeypatch.setattr(many, "run_many", run_many)
    before = [signal.getsignal(number) for number in StopSignals.SIGNALS]
    with pytest.raises(Stopped, match="stopped by SIGTERM: the same command goes on from what is saved"):
        list(pool.run_all([Config(seed=seed) for seed in range(3)], "smoke", 2, "cpu", 1, pytest.fail))
    assert calls == [3]
    assert [signal.getsignal(number) for number in StopSignals.SIGNALS] == before


def test_processes_end_with_the_one_that_started_them(reports):
    """Killed, it cannot end them: they would wait for more work for ever, and hold what they train."""
    script = (
        "from resnet_lib.config import Config\n"
        "from resnet_lib.runs import pool\n"
        "long = dict(dataset='synthetic', train_images=10_000, test_images=20, model='resnet8', width=4)\n"
        "if __name__ == '__main__':\n"
        "    configs = [Config(**long, batch_size=4, seed=seed) for seed in (1, 2)]\n"
        "    list(pool.run_all(configs, 'full', 2, 'cpu', 1, print))\n"
    )
    file = written(reports / "parent.py", script)
    with subprocess.Popen([sys.executable, str(file)]) as parent:
        deadline = time.monotonic() + 300
        while len(list(reports.glob("full/runs/*/history.csv"))) < 2:  # until both train
            assert time.monotonic() < deadline
            time.sleep(0.1)
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    saved = [checkpoint.load(path)["step"] for path in reports.glob("full/runs/*/checkpoint.pt")]
    assert len(saved) == 2
    assert all(step % 2_500 for step in saved)  # within an epoch, where only the signal saves


def test_a_process_that_lost_its_gpu_ends_and_its_runs_go_on_in_others(reports):
    """Those that train beside it end with it, as in any broken pool, and go on from what is saved."""
    script = (
        "from pathlib import Path\n"
        "import torch\n"
        "from resnet_lib.config import Config\n"
        "from resnet_lib.machine import device\n"
        "from resnet_lib.runs import pool\n"
        "from resnet_lib.training import train\n"
        "device.is_lost = lambda name: True\n"
        "fit, lost = train.fit, Path(__file__).with_name('lost')\n"
        "def failing(model, dataset, config, *arguments):\n"
        "    if config.seed == 0 and not lost.exists():\n"
        "        lost.touch()\n"
        "        raise torch.AcceleratorError('CUDA error: an illegal memory access was encountered')\n"
        "    return fit(model, dataset, config, *arguments)\n"
        "train.fit = failing\n"
        "small = dict(dataset='synthetic', train_images=200, test_images=20, model='resnet8', width=4, epochs=1)\n"
        "if __name__ == '__main__':\n"
        "    configs = [Config(**small, seed=seed) for seed in range(3)]\n"
        "    for config, record in pool.run_all(configs, 'full', 2, 'cpu', 1, print):\n"
        "        print(config.seed, record.accuracy)\n"
    )
    file = written(reports / "losing.py", script)
    ended = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True, timeout=300)
    lines = ended.stdout.splitlines()
    assert sorted(line.split()[0] for line in lines if line[:1].isdigit()) == ["0", "1", "2"]
    (told,) = [line for line in lines if "illegal memory access" in line]
    assert "-s0-" in told
    assert any("or by an error of its GPU; going on, 1 at a time" in line for line in lines)


def test_a_process_that_ends_while_it_measures_is_told_as_that():
    with pytest.raises(LabError, match="the process that was to measure was ended"):
        pool.apart(os._exit, 1)


def test_runs_can_be_started_from_a_thread_which_handles_no_signals(reports):
    with ThreadPoolExecutor(1) as executor:
        assert executor.submit(list, pool.run_all([], "quick", 2, None, None, print)).result() == []
        executor.submit(lambda: pool._handed_on().__enter__()).result()


def test_a_child_that_comes_into_being_after_the_signal_is_ended_too():
    with pool._handed_on() as asked:
        signal.raise_signal(signal.SIGTERM)
        late = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
        late.start()
        late.join(20)
    assert asked == ["SIGTERM"]
    assert late.exitcode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("device", "names", "dealt"), [("cuda", ["0", "1"], True), ("cuda", ["0"], False), ("cpu", ["0", "1"], False)]
)
def test_runs_at_a_time_are_dealt_out_to_all_gpus(reports, monkeypatch, device, names, dealt):
    seen = []
    monkeypatch.setattr("resnet_lib.machine.device.choose", lambda *_, **__: SimpleNamespace(device=device))
    monkeypatch.setattr(pool, "gpus", lambda: names)
    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda *_, **options: seen.append(options) or nullcontext())
    monkeypatch.setattr(
        many, "run_many", lambda configs, *_: [(config, SimpleNamespace(accuracy=0.5)) for config in configs]
    )
    list(pool.run_all([Config(seed=seed) for seed in range(2)], "smoke", 2, device, None, print))
    (options,) = seen
    assert options["initargs"][0] == (names if device == "cuda" else [])
    monkeypatch.setattr(pool, "_end_with_parent", lambda: None)
    monkeypatch.setattr(pool, "take_gpu", lambda names, taken: seen.append(names))
    pool._begin(*options["initargs"])
    assert seen[1:] == [names] * dealt
