"""What the options of `resnet-lab run` ask for."""

from __future__ import annotations

import os

import pytest
import typer
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.cli import training
from resnet_lib.config import Config
from resnet_lib.recipes import RECIPES, recipe
from resnet_lib.runs import experiment

FIELDS = {
    "--model": ("plain8", {"model": "plain8"}),
    "--epochs": ("3", {"epochs": 3}),
    "--iterations": ("77", {"iterations": 77}),
    "--lr": ("0.3", {"lr": 0.3}),
    "--milestones": ("5,7", {"milestones": (5, 7)}),
    "--schedule": ("cosine", {"schedule": "cosine"}),
    "--batch-size": ("64", {"batch_size": 64}),
    "--weight-decay": ("0.01", {"weight_decay": 0.01}),
    "--momentum": ("0.5", {"momentum": 0.5}),
    "--nesterov": (None, {"nesterov": True}),
    "--crop": ("2", {"crop": 2}),
    "--flip": (None, {"flip": True}),
    "--precision": ("bf16", {"precision": "bf16"}),
    "--split": ("train45k", {"split": "train45k"}),
    "--seed": ("6", {"seed": 6}),
    "--set": ("label_smoothing=0.1", {"label_smoothing": 0.1}),
}
OTHERS = ("--recipe", "--profile", "--device", "--threads", "--compile", "--deterministic", "--data")


@pytest.fixture
def asked_for(monkeypatch):
    """The config, profile and choice that `resnet-lab run` with some options would train."""
    seen = []

    def note(*arguments):
        seen.append(arguments)
        raise typer.Exit

    def run(*options):
        CliRunner().invoke(app, ["run", *options], catch_exceptions=False)
        return seen.pop()

    monkeypatch.setattr(experiment, "run", note)
    return run


def test_every_option_of_run_is_looked_at_here():
    options = typer.main.get_command(app).commands["run"].params
    assert {option.opts[0] for option in options} == {*FIELDS, *OTHERS}


@pytest.mark.parametrize("option", FIELDS)
def test_an_option_of_run_is_its_field_of_the_config(asked_for, option):
    value, fields = FIELDS[option]
    config, profile, _ = asked_for(option, *filter(None, [value]))
    assert config == Config(**fields) != Config()
    assert profile == "full"


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("--recipe paper --no-flip", {**recipe("paper", "resnet20"), "flip": False}),
        ("--recipe fast --no-nesterov", {**recipe("fast", "resnet20"), "nesterov": False}),
        ("--set milestones=1,2", {"milestones": (1, 2)}),
        ("--set milestones=5", {"milestones": (5,)}),
        ("--set milestones=[1,2]", {"milestones": (1, 2)}),
        ("--set nesterov=True --set muon_lr=None", {"nesterov": True}),  # as Python has them
    ],
)
def test_what_a_recipe_sets_can_be_unset_and_any_field_given(asked_for, options, fields):
    assert asked_for(*options.split())[0] == Config(**fields)


@pytest.mark.parametrize(
    ("recipe", "options", "fields"),
    [
        ("paper", "--iterations 60000 --milestones 30000", {"iterations": 60_000, "milestones": (30_000,)}),
        ("paper", "--crop 0 --set normalize=channel", {"crop": 0, "normalize": "channel"}),
        ("paper", "--schedule cosine --iterations 9", {"schedule": "cosine", "iterations": 9, "milestones": ()}),
        ("fast", "--epochs 3 --lr 0.3 --weight-decay 0", {"epochs": 3, "lr": 0.3, "weight_decay": 0.0}),
        ("fast", "--schedule cosine --flip", {"schedule": "cosine", "flip": True}),
        ("fast", "--precision fp32", {"precision": "fp32"}),
        ("fast", "--set muon_lr=null --set nesterov=false", {"muon_lr": None, "nesterov": False}),
    ],
)
def test_options_override_the_recipe_and_the_rest_of_it_stays(asked_for, recipe, options, fields):
    assert asked_for("--recipe", recipe)[0] == Config(**RECIPES[recipe])
    assert asked_for(*options.split(), "--recipe", recipe)[0] == Config(**RECIPES[recipe] | fields)


def test_the_profile_of_a_run_makes_it_small_and_is_where_it_goes(asked_for):
    config, profile, _ = asked_for("--profile", "smoke", "--lr", "0.3")
    assert config == Config(lr=0.3).at("smoke")
    assert profile == "smoke"


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [("--threads 3", "threads", 3), ("--deterministic", "deterministic", True), ("--device cpu", "device", "cpu")],
)
def test_what_a_run_is_trained_with_is_as_asked(asked_for, options, name, value):
    assert getattr(asked_for("--device", "cpu", *options.split())[2], name) == value


@pytest.mark.parametrize("compile", [True, False])
def test_a_run_is_compiled_as_asked_whatever_its_length(asked_for, monkeypatch, compile):
    monkeypatch.setattr("resnet_lib.machine.device._compile", lambda device, steps, asked: (asked, "as asked"))
    assert asked_for("--compile" if compile else "--no-compile")[2].compile is compile


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--milestones 50,75", "never drops: --milestones 50,75 is past the end (--epochs 10)"),
        ("--iterations 640 --milestones 50,75", "within the first epoch: --milestones 50,75 counts iterations"),
        ("--iterations 300 --milestones 150,225", ""),
        ("--milestones 5,75", ""),
        ("--iterations 640 --milestones 50,480", ""),
        ("", ""),
    ],
)
def test_milestones_that_may_not_have_been_meant_are_pointed_out(asked_for, monkeypatch, options, words):
    said = []
    monkeypatch.setattr(training.err, "print", lambda line, **style: said.append(line))
    asked_for(*options.split())
    assert len(said) == bool(words)
    assert words in "".join(said)


def test_images_of_a_folder_are_looked_for_there(asked_for, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_DATA", "elsewhere")  # so that it is put back
    asked_for("--data", str(tmp_path))
    assert os.environ["RESNET_LAB_DATA"] == str(tmp_path)
