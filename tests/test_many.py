"""Many runs, in turn or by an executor, and what becomes of those that fail."""

from __future__ import annotations

import errno
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch
import typer
from tiny_runs import CPU, SYNTHETIC, untimed

from resnet_lib.cli import options
from resnet_lib.config import Config
from resnet_lib.machine.device import DeviceError, choose
from resnet_lib.models.build import build_model
from resnet_lib.records.record import Diverged
from resnet_lib.runs import experiment, many
from resnet_lib.training import train


def on_cpu(config):
    return CPU


def fit_failing_for(config, fit):
    def fit_or_fail(model, dataset, given, *arguments):
        if given == config:
            raise Diverged("on purpose")
        return fit(model, dataset, given, *arguments)

    return fit_or_fail


def test_many_runs_go_on_after_a_failure(reports, monkeypatch):
    configs = [SYNTHETIC.replace(epochs=1, milestones=(), seed=seed) for seed in (2, 1)]
    broken = configs[0].replace(seed=5)
    monkeypatch.setattr(train, "fit", fit_failing_for(broken, train.fit))
    outcomes = list(many.run_many([configs[0], broken, configs[1]], "quick", on_cpu))
    assert [config.seed for config, _ in outcomes] == [2, 5, 1]
    assert isinstance(outcomes[1][1], Diverged)
    with ThreadPoolExecutor(2) as pool:
        again = dict(many.run_many(configs, "full", on_cpu, pool))
    assert {config.seed: untimed(record.history) for config, record in again.items()} == {
        config.seed: untimed(record.history) for config, record in outcomes if config != broken
    }


def test_of_many_runs_those_that_nobody_waits_for_are_not_begun(reports):
    configs = [SYNTHETIC.replace(epochs=1, milestones=(), seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(1) as executor:
        outcomes = many.run_many(configs, "quick", on_cpu, executor)
        next(outcomes)
        outcomes.close()
    assert not experiment.is_finished(configs[-1], "quick")


class Unsendable(Exception):
    def __init__(self, *, because):
        super().__init__(because)


def test_what_another_library_raises_comes_back_from_a_process_or_what_it_said():
    error = Unsendable(because="no luck")
    error.add_note("there")
    sent = many._sendable(error)
    assert (type(sent), str(sent), sent.__notes__) == (RuntimeError, "Unsendable: no luck", ["there"])
    for fine in (Diverged("lost", {"step": 1}), ValueError("x")):
        assert many._sendable(fine) is fine


def test_one_run_of_many_that_this_machine_cannot_do_does_not_stop_the_others(reports):
    configs = [SYNTHETIC.replace(precision="tf32"), SYNTHETIC.replace(epochs=1, milestones=())]
    (_, refused), (_, record) = many.run_many(configs, "quick", partial(choose, device="cpu"))
    assert isinstance(refused, DeviceError)
    assert record.config == configs[1]


def test_networks_built_in_parallel_are_those_of_their_seeds():
    configs = [Config(model="resnet20", seed=seed) for seed in range(8)]
    with ThreadPoolExecutor(4) as threads:
        built = [model for model, _ in threads.map(build_model, configs)]
    for config, model in zip(configs, built, strict=True):
        alone, _ = build_model(config)
        assert all(torch.equal(a, b) for a, b in zip(model.parameters(), alone.parameters(), strict=True))


@pytest.mark.parametrize("kind", [ZeroDivisionError, RuntimeError])  # the second is no lack of memory
def test_an_unexpected_error_of_one_run_of_several_says_where_it_was(reports, monkeypatch, capsys, kind):
    def broken(*arguments):
        raise kind("on purpose")

    monkeypatch.setattr(train, "fit", broken)
    ((_, error),) = many.run_many([SYNTHETIC], "quick", on_cpu)
    assert type(error) is kind
    assert error.__traceback__ is None
    with pytest.raises(typer.Exit):
        options.run_all([SYNTHETIC], "quick", device="cpu")
    told = capsys.readouterr()
    assert "in broken" in told.err
    assert "0 of 1 runs have their record in" in told.out


def test_a_full_disk_of_one_run_of_several_is_told_without_a_traceback(reports, monkeypatch, capsys):
    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(train, "fit", full)
    with pytest.raises(typer.Exit):
        options.run_all([SYNTHETIC], "quick", device="cpu")
    told = capsys.readouterr().err
    assert "No space left on device" in told
    assert "Traceback" not in told


def test_a_failed_run_of_several_leaves_nothing_of_its_network_behind(reports, monkeypatch):
    networks = []

    def exhausted(model, *arguments):
        networks.append(weakref.ref(model))
        raise torch.OutOfMemoryError

    monkeypatch.setattr(train, "fit", exhausted)
    ((_, error),) = many.run_many([SYNTHETIC], "quick", on_cpu)
    assert isinstance(error, DeviceError)
    gc.collect()
    assert networks[0]() is None
