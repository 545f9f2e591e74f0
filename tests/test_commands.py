"""The commands that the documents recommend train what they are said to."""

import shlex

import pytest
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.config import Config
from resnet_lib.questions import suspects
from resnet_lib.report import commands
from resnet_lib.runs import experiment

CONFIGS = [suspects.changed(*factors) for factors in ((), *suspects.SHOWN.values())]
CONFIGS += [
    Config(model="plain20", epochs=7, lr=0.05, seed=3, warmup=100, normalize="pixel", flip="alternating"),
    Config(iterations=100, nesterov=True, milestones=(50, 70)),
]


@pytest.mark.parametrize("config", [*CONFIGS, *commands.COMMANDS.values()], ids=lambda config: config.run_id)
def test_a_command_trains_its_config(monkeypatch, config):
    by_config = {value: line for line, value in commands.COMMANDS.items()}
    program, *arguments = shlex.split(by_config.get(config) or commands.command(config))
    assert program == "resnet-lab"
    asked = []

    def stop(config, profile):
        asked.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(experiment, "is_finished", stop)
    CliRunner().invoke(app, arguments)
    assert [one.fingerprint for one in asked] == [config.fingerprint]
    assert asked[0].seed == config.seed


def test_the_first_command_is_the_augmented_run():
    first, *_ = commands.COMMANDS
    assert first.endswith("--milestones 50,75 --weight-decay 5e-4 --crop 4 --flip")
