"""What a notebook's page takes, trains and says."""

import pytest
from crafted import craft

from resnet_lib.config import Config, ConfigError
from resnet_lib.records.record import Diverged
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report.notebook import Page
from resnet_lib.runs import experiment

CONFIGS = {f"ResNet-{depth}": Config(model=f"resnet{depth}", epochs=10) for depth in (110, 20, 32)}


@pytest.fixture
def shown(monkeypatch):
    """What pages said, but for the line that tells the profile."""
    said = []
    monkeypatch.setattr("resnet_lib.report.notebook.display", lambda what, **_: said.append(what.data))
    monkeypatch.setattr("resnet_lib.report.notebook.stamp", lambda profile: "")
    return said


def test_a_page_is_quick_unless_it_or_else_the_environment_names_a_profile(shown, monkeypatch):
    monkeypatch.delenv("RESNET_LAB_PROFILE", raising=False)
    assert Page("explore").profile == "quick"
    monkeypatch.setenv("RESNET_LAB_PROFILE", "smoke")
    assert Page("explore").profile == "smoke"
    assert Page("explore", "full").profile == "full"


def test_a_page_trains_one_seed_unless_told_otherwise_and_at_most_a_hundred(shown):
    assert [list(Page("explore", "smoke", **told).seeds) for told in ({}, {"seeds": 1})] == [[0], [0]]
    assert Page("explore", "smoke").train
    assert Page("explore", "smoke", seeds=100).seeds == range(100)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *[("seeds", value, "give a whole number from 1 to 100") for value in (True, 0, -1, 101, "3", 2.0, None)],
        *[("train", value, "give True or False") for value in (1, 0, "False", None)],
    ],
)
def test_what_is_no_number_of_seeds_or_no_answer_is_refused(shown, name, value, words):
    with pytest.raises(ConfigError, match=f"^{name} = {value!r} is not valid: {words}$"):
        Page("explore", "smoke", **{name: value})


def test_a_page_asks_for_its_seeds_of_every_config_at_its_profile_if_it_may_train(shown, monkeypatch):
    asked = []
    monkeypatch.setattr(experiment, "run", lambda config, profile: asked.append((config, profile)))
    Page("explore", "smoke", seeds=2, train=False).run(CONFIGS)
    assert asked == []
    Page("explore", "smoke", seeds=2).run(CONFIGS)
    expected = [config.replace(seed=seed).at("smoke") for config in CONFIGS.values() for seed in (0, 1)]
    assert asked == [(config, "smoke") for config in expected]


def test_a_run_that_diverges_is_told_and_stops_no_other_and_what_has_no_record_is_counted(shown, monkeypatch):
    """Of three configs the first diverges, the second is recorded, and of the third nothing is left behind."""

    def run(config, profile):
        if config.model == "resnet110":
            folder = RunFolder.of(config, profile)
            folder.start()
            folder.mark_diverged({"step": 900, "lr": 0.1})
            raise Diverged("on purpose")
        return craft(config, 0.5, profile=profile) if config.model == "resnet20" else None

    monkeypatch.setattr(experiment, "run", run)
    runs = Page("explore", "smoke").run(CONFIGS)
    assert [len(records) for records in runs.values()] == [0, 1, 0]
    assert shown == [
        "**ResNet-110: a run diverged at step 900 (lr 0.1)**",
        "*1 of 3 configurations have no record yet: with `train` they are run.*",
    ]


def test_a_full_page_says_how_to_learn_what_its_missing_runs_would_cost(shown):
    Page("explore", "full", train=False).run(CONFIGS)
    assert shown == ["*3 of 3 configurations have no record yet: `resnet-lab full --plan` says how long.*"]
    shown.clear()
    for config in CONFIGS.values():
        craft(config, 0.5)
    Page("explore", "full", train=False).run(CONFIGS)
    assert shown == []
