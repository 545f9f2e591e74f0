"""What a notebook's page takes, trains and says."""

import pytest
from crafted import craft, thrice

from resnet_lib.config import Config, ConfigError
from resnet_lib.questions import story
from resnet_lib.records.record import Diverged
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report.notebook import Page
from resnet_lib.runs import experiment

OTHERWISE = "Not as in the story, which is judged by it only where runs are compared"
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
    assert Page().profile == "quick"
    monkeypatch.setenv("RESNET_LAB_PROFILE", "smoke")
    assert Page().profile == "smoke"
    assert Page("full").profile == "full"


def test_a_page_trains_one_seed_unless_told_otherwise_and_at_most_a_hundred(shown):
    assert [list(Page("smoke", **told).seeds) for told in ({}, {"seeds": 1})] == [[0], [0]]
    assert Page("smoke").train
    assert Page("smoke", seeds=100).seeds == range(100)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        *[("seeds", value, "give a whole number from 1 to 100") for value in (True, 0, -1, 101, "3", 2.0, None)],
        *[("train", value, "give True or False") for value in (1, 0, "False", None)],
    ],
)
def test_what_is_no_number_of_seeds_or_no_answer_is_refused(shown, name, value, words):
    with pytest.raises(ConfigError, match=f"^{name} = {value!r} is not valid: {words}$"):
        Page("smoke", **{name: value})


def test_a_page_asks_for_its_seeds_of_every_config_at_its_profile_if_it_may_train(shown, monkeypatch):
    asked = []
    monkeypatch.setattr(experiment, "run", lambda config, profile: asked.append((config, profile)))
    Page("smoke", seeds=2, train=False).run(CONFIGS)
    assert asked == []
    Page("smoke", seeds=2).run(CONFIGS)
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
    runs = Page("smoke").run(CONFIGS)
    assert [len(records) for records in runs.values()] == [0, 1, 0]
    assert shown == [
        "**ResNet-110: a run diverged at step 900 (lr 0.1)**",
        "*Not yet recorded: 1 of 3 configurations; set `train = True` to train what is missing.*",
    ]


def test_a_full_page_says_how_much_there_is_to_train_before_it_trains(shown, monkeypatch, capsys):
    """In print, for what is shown is compared with what the records say, trained or not."""
    monkeypatch.setattr(experiment, "run", lambda config, profile: shown.append(config.run_id))
    first, *others = CONFIGS.values()
    craft(first, 0.5)
    Page("full").run(CONFIGS)
    *trained, lacking = shown
    assert capsys.readouterr().out.startswith("2 of 3 runs to train at full size: minutes to days each on a CPU.")
    assert trained == [config.run_id for config in (first, *others)]
    assert lacking == "*Not yet recorded: 2 of 3 configurations; set `train = True` to train what is missing.*"
    for config in others:
        craft(config, 0.5)
    shown.clear()
    Page("full", train=False).run(CONFIGS)
    assert shown == []


def test_a_page_judges_runs_with_other_parameters_by_each_other_alone(shown):
    """Of the story's own claims none is called missing, for these runs are not about them."""
    step = story.step("02_hundred_epochs")
    configs = {label: config.replace(lr=0.05) for label, config in step.configs.items()}
    for label, reached in (("two LR drops", 0.7), ("one LR drop", 0.6)):
        craft(configs[label], reached)
    page = Page("full", train=False)
    page.verdicts("02_hundred_epochs", page.recorded(configs), configs)
    (said,) = shown
    compared, others, meant = said.split("\n\n")
    *_, row = compared.splitlines()
    assert len(compared.splitlines()) == 3
    compared = "“ResNet-50, two LR drops” is more accurate than “ResNet-50, one LR drop”"
    assert row.startswith(f"| {compared} | undecided | +10.0 points")
    assert others.startswith(f"{OTHERWISE}: “no LR drop”, “no LR drop, more ")
    assert others.endswith(" (`lr` 0.05, not 0.1).")
    assert "Undecided: the interval allows both" in meant
    shown.clear()
    page.verdicts("02_hundred_epochs", page.recorded(step.configs), step.configs)
    assert "not yet run" in shown[0]
    assert "Not as in the story" not in shown[0]


def test_a_page_shows_a_network_at_its_own_size(shown):
    for profile, maps in (("quick", "2048×1×1"), ("smoke", "128×1×1")):
        Page(profile, train=False).network(story.BASELINE)
        assert f"<td>{maps}</td>" in shown[-1]
    assert "ResNet-50 on an image of 3×32×32, part by part: 23.53 million parameters." in shown[0]


def test_a_config_of_ones_own_is_shown_beside_the_storys(shown):
    page = Page("full", train=False)
    configs = {"ResNet-50": story.BASELINE, "mine": story.BASELINE.replace(lr=0.05)}
    for config in configs.values():
        craft(config, 0.5)
    runs = page.run(configs)
    page.curves(runs)
    page.results("01_ten_epochs", runs, configs)
    assert "<td>mine</td>" in shown[-1]
    page.verdicts("01_ten_epochs", runs, configs)
    assert "“ResNet-50” reaches about 50 %" in shown[-1]


def test_one_config_with_other_parameters_leaves_the_story_to_the_others(shown):
    step = story.step("03_cifar_architecture")
    short, long = step.configs
    thrice(step.configs[long], 0.80)
    changed, own = step.configs[short].replace(epochs=20), step.configs[long].replace(seed=1)
    configs = step.configs | {short: changed, "mine": own}
    page = Page("full", train=False)
    page.verdicts(step.notebook, page.recorded(configs), configs)
    rows, told, *_ = shown[0].split("\n\n")
    _, _, near, *others = rows.splitlines()
    assert "reaches about 80 % test accuracy (± 5 points) | holds |" in near
    assert len(others) == 4
    assert told == f"{OTHERWISE}: “{short}” (`epochs` 20, not 10)."
    folder = RunFolder.of(step.configs[long].replace(seed=0), "quick")
    folder.start()
    folder.mark_diverged({"step": 900, "lr": 0.1})
    shown.clear()
    configs = {label: config.replace(lr=0.05) for label, config in step.configs.items()}
    Page("quick", train=False).verdicts(step.notebook, {label: [] for label in configs}, configs)
    assert "diverged" not in shown[0]  # another run than those shown


def test_a_claim_on_several_runs_is_not_told_where_one_of_them_is_another(shown):
    step = story.step("02_hundred_epochs")
    for config in step.configs.values():
        craft(config, 0.7)
    configs = step.configs | {"one LR drop": step.configs["one LR drop"].replace(milestones=(30,))}
    page = Page("full", train=False)
    page.verdicts(step.notebook, page.recorded(configs), configs)
    of_one = "“ResNet-50, one LR drop” is more accurate than “ResNet-50, no LR drop”"
    assert of_one not in shown[0]
    assert "“ResNet-50, two LR drops, more weight decay” reaches about 82 %" in shown[0]
    page.verdicts(step.notebook, page.recorded(step.configs), step.configs)
    assert of_one in shown[1]


def test_pages_of_what_is_published_show_it_unless_told_otherwise(shown, monkeypatch):
    monkeypatch.delenv("RESNET_LAB_PROFILE", raising=False)
    assert Page(default="full").profile == "full"
    assert Page("quick", default="full").profile == "quick"
    monkeypatch.setenv("RESNET_LAB_PROFILE", "smoke")
    assert Page(default="full").profile == "smoke"
