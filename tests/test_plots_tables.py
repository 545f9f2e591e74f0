"""Figures, tables and claims, from real runs at smoke size and from crafted records at full size."""

from __future__ import annotations

import re
import warnings

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from test_records import RESULT
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.data import cifar10
from resnet_lib.findings import claims, curves, diagnosis
from resnet_lib.findings.judgement import Claim
from resnet_lib.machine.progress import Quiet
from resnet_lib.questions import causes, paper, paper_runs, story
from resnet_lib.records.record import find_runs
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import answer, checklist, commands, gallery, plots, published, summary, tables
from resnet_lib.report.notebook import Page
from resnet_lib.runs import experiment
from resnet_lib.training.schedule import drops_before

IMAGES = 2_000
BETTER = {"no LR drop": 0.70, "more weight decay": 0.74, "one LR drop": 0.76, "two LR drops": 0.78}


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """A reports folder with two seeds of step 01 and of ResNet-20, really trained."""
    folder = tmp_path_factory.mktemp("smoke")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNET_LAB_REPORTS", str(folder))
        for config in (story.BASELINE, story.step("03_cifar_architecture").configs["ResNet-20, 10 epochs"]):
            for seed in (0, 1):
                experiment.run(config.at("smoke").replace(seed=seed), "smoke", show=Quiet())
    return folder


@pytest.fixture
def trained(smoke, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(smoke))
    return story.runs("smoke")


def thrice(config, right, spread=0.001):
    """Three seeds that differ by little."""
    return [craft(config, right + luck, seed=seed) for seed, luck in enumerate((0, spread, -spread))]


def craft(config, right, test_loss=None, profile="full", seed=0, fitted=0.5, high=None):
    """A record of a run that never was: the first `right` of the images are correct (`high`: until the first drop),
    losses fall steadily, and `fitted` of the training images are correct in every epoch."""
    config = config.replace(seed=seed)
    folder = RunFolder.of(config, profile)
    folder.start()
    losses = np.linspace(2, 1, config.epochs) if test_loss is None else test_loss
    rows = []
    for epoch, loss in enumerate(losses, 1):
        step = epoch * config.steps_per_epoch()
        row = {"epoch": epoch, "step": step, "lr": 0.1, "drops": drops_before(step - 1, config)}
        row |= {"train_loss": 3 / epoch, "train_accuracy": fitted, "seconds": 1.0, "images_per_second": 50_000.0}
        seen = right if high is None or row["drops"] else np.resize(high, config.epochs)[epoch - 1].item()
        rows.append(row | {f"{config.held_out}_loss": float(loss), f"{config.held_out}_accuracy": seen})
    labels = (np.arange(IMAGES) % 10).astype(np.uint8)
    predicted = np.where(np.arange(IMAGES) < right * IMAGES, labels, (labels + 1) % 10).astype(np.uint8)
    confusion = np.zeros((10, 10), int)
    np.add.at(confusion, (labels, predicted), 1)
    result = RESULT | {"images": IMAGES, "accuracy": right, "confusion": confusion.tolist()}
    result["classes"] = list(cifar10.CLASSES)
    result["per_class_accuracy"] = (confusion.diagonal() / confusion.sum(axis=1)).tolist()
    predictions = {"predicted": predicted, "label": labels, "confidence": np.ones(IMAGES, np.float16)}
    return folder.finish(rows, result, predictions)


def judged(notebook, profile="full"):
    return claims.claims(notebook, story.runs(profile)[notebook], profile)


def texts(figure):
    return " | ".join(text.get_text() for text in figure.findobj(plt.Text))


# --- the story and the paper


def test_story_is_told_with_its_numbers():
    assert {step.notebook: step.claimed for step in story.STEPS} == {
        "01_ten_epochs": 50, "02_hundred_epochs": 82, "03_cifar_architecture": 80, "04_torch_hub_check": 83,
    }  # fmt: skip
    assert story.BASELINE.milestone_steps()[0] > story.BASELINE.total_steps()
    configs = [config for step in story.STEPS for config in step.configs.values()]
    assert len(configs) == len({config.fingerprint for config in configs}) == 11
    assert not any(config.crop or config.flip for config in configs)


def test_paper_agrees_with_the_networks():
    from resnet_lib.models import resnet

    for label, model in (("ResNet-20", "resnet20"), ("ResNet-110", "resnet110")):
        config = paper_runs.table_6()[label]
        millions = resnet.count_parameters(resnet.build(config, 10)) / 1e6
        assert millions == pytest.approx(paper.TABLE_6[model].parameters, abs=0.05)
    assert paper.TABLE_6["resnet20"].accuracy == 91.25


# --- finding records, tables


def test_finds_every_seed_by_fingerprint(trained):
    assert [record.config.seed for record in trained["01_ten_epochs"]["ResNet-50"]] == [0, 1]
    assert trained["02_hundred_epochs"]["two LR drops"] == []
    labels = [step.label(label) for step in story.STEPS for label in step.configs]
    assert list(story.overlay(trained)) == labels


def test_a_run_that_ends_before_any_drop_belongs_to_every_schedule_of_such(trained):
    at_ten, at_hundred = trained["01_ten_epochs"]["ResNet-50"], trained["02_hundred_epochs"]["no LR drop"]
    assert [record.path for record in at_ten] == [record.path for record in at_hundred]
    assert (len(at_ten[0].config.milestones), at_hundred[0].config.milestones) == (2, ())


def test_a_page_shows_a_run_as_it_asks_for_it_whoever_trained_it(trained):
    hundred = story.step("02_hundred_epochs").configs["no LR drop"]
    ((record, _),) = Page("02_hundred_epochs", "smoke", train=False).run({"no LR drop": hundred}).values()
    assert record.config.milestones == ()
    assert record.path == trained["01_ten_epochs"]["ResNet-50"][0].path


def test_a_page_shows_every_recorded_seed_and_says_how_many_configs_have_none(trained, monkeypatch):
    shown = []
    monkeypatch.setattr("resnet_lib.report.notebook.display", lambda item, **_: shown.append(item))
    page = Page("03_cifar_architecture", "smoke", train=False)
    runs = page.run(story.step("03_cifar_architecture").configs)
    assert [[record.config.seed for record in records] for records in runs.values()] == [[0, 1], []]
    page.figure(None, "What would be here.")
    said = [item.data for item in shown]
    assert any(line.startswith("*1 of 2 configurations have no record yet") for line in said)
    assert said[-1] == "*No figure, for want of records: What would be here.*"


def test_a_page_says_of_an_empty_table_that_it_is_and_folds_where_its_numbers_come_from(trained, monkeypatch):
    shown = []
    monkeypatch.setattr("resnet_lib.report.notebook.display", lambda item, **_: shown.append(item.data))
    page = Page("03_cifar_architecture", "smoke", train=False)
    shown.clear()
    page.table(pd.DataFrame(), "What would be here.")
    page.table(pd.DataFrame())
    page.table(pd.DataFrame({"a": ["1"]}), "What is here.")
    assert [line for line in shown if "profile" not in line][:3] == [
        "*What would be here. Not yet run.*", "*Not yet run.*", "*What is here.*"
    ]  # fmt: skip
    assert "<td>1</td>" in shown[-2]
    page.provenance(trained["01_ten_epochs"])
    page.provenance({"nothing": []})
    told, _, nothing, _ = shown[-4:]
    assert "<summary>2 runs, 0.0 hours of training in all</summary><table" in told
    assert all(record.path.name in told for record in trained["01_ten_epochs"]["ResNet-50"])
    assert "<summary>0 runs, 0.0 hours of training in all</summary></details>" in nothing


def test_results_show_the_record_or_say_not_yet_run(trained):
    table = tables.results(trained, "smoke").set_index("run")
    mean = np.mean([record.accuracy for record in trained["01_ten_epochs"]["ResNet-50"]])
    row = table.loc["ResNet-50"]
    assert row["measured %"] == f"{100 * mean:.1f}"
    assert (row["claimed %"], row["n"], row["epochs"], row["images"]) == ("50", "2", "2", "200")
    assert row["LR drops made"] == "0 of 2"
    assert table.loc["two LR drops", "measured %"] == "not yet run"
    assert table.loc["hub ResNet-18", "network"] == "ResNet-18 (torch.hub)"


def test_markdown_has_a_row_a_run_and_names_those_without_a_record():
    craft(story.BASELINE, 0.503)
    craft(paper_runs.configs()["ResNet-20"], 0.912)
    text = tables.story_markdown("full")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 2
    assert len({row.count("|") for row in rows}) == 1
    assert "| 50 | 50.3 | [4" in rows[2]
    assert "| 91.25 | 91.2 | [" in rows[3]
    assert "Not yet run: 02 (no LR drop; more weight decay; one LR drop; " in text
    assert "04 (hub ResNet-50; hub ResNet-18), Table 6 (ResNet-32; ResNet-44; ResNet-56; ResNet-110)." in text
    assert "profile" not in text
    assert tables.story_markdown("quick").startswith("**quick profile: 1,000 images")


# --- claims


def test_small_runs_decide_no_accuracy_and_print_no_measured_number(trained):
    drops, *others = [judged("01_ten_epochs", "smoke")[1], *judged("01_ten_epochs", "smoke")[2:]]
    assert str(drops) == (
        "The run ends before its learning rate drops: holds (drops after 10 and 15 epochs, the run has 2)."
    )
    assert {(claim.verdict, claim.evidence) for claim in others} == {("undecided", "")}
    assert judged("01_ten_epochs", "smoke")[0].verdict == "undecided"


@pytest.mark.parametrize("step", story.STEPS, ids=lambda step: step.notebook)
def test_without_records_every_claim_is_not_yet_run(step):
    assert {claim.verdict for claim in judged(step.notebook)} == {"not yet run"}


@pytest.mark.parametrize(("right", "verdict"), [(0.50, "holds"), (0.60, "does not hold"), (0.55, "undecided")])
def test_near_is_judged_by_the_whole_interval_and_never_by_one_run(right, verdict):
    craft(story.BASELINE, right)
    assert judged("01_ten_epochs")[0].verdict == "undecided"
    thrice(story.BASELINE, right)
    claim = judged("01_ten_epochs")[0]
    assert claim.verdict == verdict
    assert f"{100 * right:.1f} % [" in str(claim)


@pytest.mark.parametrize(
    ("losses", "word", "trend"),
    [
        (np.linspace(2, 1, 10), "holds", "holds"),
        ([2, 1.8, 1.9, 1.7, 1.6, 1.5, 1.4, 1.3, 1.2, 1.1], "does not hold", "holds"),  # a wobble is no trend
        ([2, 1.5, 1.2, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6], "does not hold", "does not hold"),
    ],
)
def test_a_wobble_of_the_test_loss_is_told_from_a_trend(losses, word, trend):
    craft(story.BASELINE, 0.5, losses)
    said = judged("01_ten_epochs")[2:4]
    assert [claim.verdict for claim in said] == [word, trend]
    if word != "holds" and trend == "holds":
        assert said[0].evidence == "it rose in 1 of 1 run, by up to 0.100"


def test_what_is_said_of_several_runs_is_not_said_of_their_mean_curve():
    """Each run's minimum lies elsewhere, and each falls when another rises."""
    config = story.TUNED.replace(model="resnet20")
    for seed, place in enumerate((50, 60, 70)):
        loss = np.full(100, 1.06)
        loss[place] = 1.0
        high = np.r_[np.full(40, 0.3), np.roll([0.70, 0.86, 0.78, 0.78, 0.78, 0.78, 0.78, 0.78, 0.78, 0.78], 2 * seed)]
        craft(config, 0.87, loss, seed=seed, fitted=1.0, high=high)
    _, until_drop, settled, _ = judged("03_cifar_architecture")
    assert until_drop.evidence == "78.0 %, between 70.0 and 86.0; 87.0 % in the 3 epochs after the drop; in 3 runs"
    assert settled.verdict == "does not hold"
    assert settled.evidence == "ended at 1.060, 6.0 % above its minimum of epochs 51 to 71"
    signs = diagnosis.symptoms(story.runs("full")["03_cifar_architecture"]["ResNet-20, 100 epochs"])
    assert signs["test loss, final ÷ lowest"] == "1.06"
    assert "overfitting" in signs["reading"]


@pytest.mark.parametrize(("fitted", "verdict"), [(0.52, "holds"), (0.54, "does not hold")])
def test_a_network_that_fits_its_own_images_no_better_underfits(fitted, verdict):
    craft(story.BASELINE, 0.5, fitted=fitted)
    claim = judged("01_ten_epochs")[4]
    seen = 1 if verdict == "holds" else 0
    assert (claim.verdict, claim.evidence) == (
        verdict,
        f"on average {100 * fitted:.1f} and 50.0 %; it is so in {seen} of 1 run, with gaps of {100 * fitted - 50:.1f}",
    )


def test_underfitting_is_seen_in_each_run_and_not_in_their_mean():
    """Gaps of 1 and 5 points: 3 on average, and one network that does not underfit."""
    runs = [craft(story.BASELINE, 0.5, seed=seed, fitted=fitted) for seed, fitted in enumerate((0.51, 0.55))]
    claim = judged("01_ten_epochs")[4]
    assert (claim.verdict, claim.evidence) == (
        "does not hold",
        "on average 53.0 and 50.0 %; it is so in 1 of 2 runs, with gaps of 1.0, 5.0",
    )
    assert "underfitting" not in diagnosis.symptoms(runs)["reading"]
    (ten, _) = paragraphs()
    assert " Its training accuracy ended at 53.0 %, its test loss ended at " in ten
    assert ten.endswith(": it underfits in 1 of 2 runs.")


@pytest.mark.parametrize(("high", "verdict"), [(0.78, "holds"), (0.74, "does not hold")])
def test_where_a_run_stays_until_its_rate_drops_is_judged_apart_from_where_it_ends(high, verdict):
    last = np.r_[np.full(40, 0.3), np.full(10, high)]  # ten epochs before the drop, and none of the lower ones
    craft(story.TUNED.replace(model="resnet20"), 0.87, np.r_[np.linspace(2, 1, 60), np.linspace(1, 1.2, 40)], high=last)
    near, until_drop, settled, below_paper = judged("03_cifar_architecture")
    assert (until_drop.verdict, settled.verdict) == (verdict, "does not hold")
    level = f"{100 * high:.1f}"
    after = "87.0 % in the 3 epochs after the drop"
    assert until_drop.evidence == f"{level} %, between {level} and {level}; {after}; in 1 run"
    assert {near.verdict, below_paper.verdict} == {"undecided"}  # of one run


# --- the answer in short


def paragraphs():
    """Of the answer; a list of commands stands with a blank line before it."""
    return answer.answer("full").split("\n\n")


NEAR_80 = (
    " Of the 2 other settings of ResNet-20 recorded in 100 epochs, these ended within 5 points of 80 %, in "
    "the runs recorded, the nearest first: weight decay 1e-4 (84.0 %, n = 1)."
)


def test_the_answer_says_only_what_was_seen(tmp_path):
    config = story.TUNED.replace(model="resnet20")
    rising = np.r_[np.linspace(2, 1, 60), np.linspace(1, 1.2, 40)]
    drawn = lambda: {path.stem for path in published.figures("full", tmp_path)}  # noqa: E731
    (coverage,) = paragraphs()
    steps = [f"the story's {step.claimed:g} % (step {step.notebook[:2]})" for step in story.STEPS]
    assert coverage.startswith("0 of")
    assert f"none yet of {', '.join(steps)}, the paper's table." in coverage
    assert summary.short("full") == ""
    assert summary.FIGURE not in drawn()
    craft(story.step("02_hundred_epochs").configs["ResNet-26, two LR drops, more weight decay"], 0.8)
    assert paragraphs()[-1].startswith("1 of")
    assert f"none yet of {', '.join(steps)}, the paper's" in paragraphs()[-1]  # it stands for no ResNet-50
    craft(config, 0.74, high=0.73)
    stopped, _ = paragraphs()
    assert stopped.startswith("**With its drops, ResNet-20 ended even lower**: at 74.0 % [")
    craft(config, 0.84, rising, high=0.78)
    first, stopped, coverage = paragraphs()
    assert "stayed near 80 % (± 5 points) while its learning rate was 0.1: over the last 10 epochs before" in first
    assert first.endswith("the first drop it averaged 78.0 %, over the 3 epochs after it 84.0 % (+6.0 points).")
    assert stopped.startswith("**With its drops, ResNet-20 ended near 80 %, too**: at 84.0 % [")
    craft(config, 0.87, high=0.78)
    _, further, coverage = paragraphs()
    assert "With its drops, ResNet-20 did not stop at 80 %** in the one run recorded, but at 87.0 % [" in further
    assert further.endswith("or something else differed that was not told.")
    craft(config.replace(lr=0.01), 0.70)
    for lighter, told in ((0.86, ""), (0.84, NEAR_80)):
        craft(config.replace(weight_decay=1e-4), lighter)
        _, further, _ = paragraphs()
        assert further.endswith(told or "not told.")
    craft(config.replace(init="torch"), 0.80)  # a change that the factorial has not
    _, further, _ = paragraphs()
    assert "Of the 3 other settings" in further
    assert "the nearest first: PyTorch's initialisation (80.0 %, n = 1); weight decay 1e-4 (84.0 %" in further
    assert f"none yet of {steps[0]}, {steps[1]}, {steps[3]}, the paper's table" in coverage
    craft(config, 0.87, rising, high=0.78, fitted=0.98)  # a loss that rises, and images that are not yet known
    assert len(paragraphs()) == 3
    craft(config, 0.87, rising, high=0.78, fitted=0.995)
    overfitting = paragraphs()[2]
    assert "ended with 99.5 % of its training images right, and its test loss ended at 1.200, 20.0 %" in overfitting
    assert overfitting.endswith("random crops and flips prevent that is not yet run.")
    assert summary.FIGURE in drawn()
    assert "img/answer.png" in summary.short("full")


def test_the_answer_tells_what_one_change_did():
    config = story.TUNED.replace(model="resnet20")
    craft(config, 0.87, np.r_[np.linspace(2, 1, 60), np.linspace(1, 1.2, 40)], high=0.78, fitted=1.0)
    craft(config.replace(crop=4, flip=True), 0.91, high=0.79)
    craft(config.replace(milestones=()), 0.86)
    first, *_ = paragraphs()
    assert "Without any drop it ended at 86.0 %; its last 20 epochs ranged from 86.0 to 86.0 %." in first
    assert "enough to stop" not in first  # for that is not where the story stops
    craft(config.replace(milestones=()), 0.79)
    first, _, overfitting, works, trained, _ = paragraphs()
    assert "So, in the one run recorded, a learning rate that never came down was enough to stop" in first
    assert "averaged 78.0 %, over the 3 epochs after it 87.0 % (+9.0 points). Without any drop it ended at 79" in first
    assert first.endswith("flips it averaged 79.0 % before its first drop, 91.0 % after it (n = 1).")
    assert "the same training came to 91.0 % (+4.0 points [" in overfitting
    assert works.startswith("**Commands meant to reach the paper's 91.25 %**")
    assert "--crop 4 --flip`: 91.00 % (seed 0); 0.0 hours on " in trained
    drawn = texts(summary.figure("full"))
    assert all(f"{label} (n = 1)" in drawn for label in (summary.AS_TOLD, "no learning-rate drop"))
    assert all(end in drawn for end in ("87.0", "91.0", "79.0"))
    assert summary.short("full").startswith("Why the story's own ResNet-20 stopped at 80 % is open. What the")
    paper = commands.COMMANDS["resnet-lab run --model resnet20 --recipe paper"]
    craft(paper, 0.92)
    assert "--recipe paper`: 92.00 % (seed 0); " in "".join(paragraphs())
    assert summary.fork("full") == ""
    craft(config, 0.87, high=0.78)
    craft(config.replace(milestones=()), 0.78)
    told = "With and without drops, seed 0 is one and the same training up to epoch 50; one epoch later it has 87.0 %"
    assert summary.caption("full").endswith(f"changed; seed 0 of each. {told} with the drop, 78.0 % without.")
    craft(config, 0.85, seed=1, high=0.78)
    assert {one.config.seed for records in summary.drawn("full").values() for one in records} == {0}
    means = f"“{summary.AS_TOLD}” ends at 87.0 % here; the mean of its 2 runs is 86.0 %. With"
    assert means in summary.caption("full")
    craft(config, 0.87, seed=1, high=0.78)
    assert means.partition(" ends ")[0] not in summary.caption("full")  # where it says nothing new


def test_the_table_in_short_has_every_number_that_was_reported_and_what_one_change_does():
    def rows():
        return {row.iloc[0]: row.iloc[1:].tolist() for _, row in summary.table("full").iterrows()}

    networks = ["ResNet-50, 10 epochs", "ResNet-50, 100 epochs", "ResNet-20, 100 epochs"]
    networks += ["ResNet-50 (torch.hub), 100 epochs", "ResNet-20, the paper's training"]
    assert list(rows()) == networks
    reported = ["50 (the story)", "82 (the story)", "80 (the story)", "83 (the story)", "91.25 (the paper)"]
    assert [row for row in rows().values()] == [[told, story.NOT_YET, "0"] for told in reported]
    config = story.TUNED.replace(model="resnet20")
    craft(config, 0.87)
    craft(config.replace(crop=4, flip=True), 0.91)
    assert rows()["ResNet-20, 100 epochs"] == ["80 (the story)", "87.0", "1"]  # no interval: seeds are not known
    assert list(rows())[2:4] == ["ResNet-20, 100 epochs", "↳ random crops and flips"]
    thrice(config, 0.87)
    assert rows()["ResNet-20, 100 epochs"][1].startswith("87.0 [")
    assert rows()["↳ random crops and flips"][1].startswith("91.0 [")  # by the spread of those
    square = causes.square()
    craft(square["its own stem"], 0.8)
    craft(square["its own stem, augmentation"], 0.85)
    found = list(summary.table("full")["network and training"])
    assert found[4:6] == ["ResNet-18 (torch.hub), 100 epochs", "↳ random crops and flips"]
    assert summary.table("full")["measured, %"].tolist()[4:6] == ["80.0", "85.0"]


def test_without_a_seed_in_common_the_answer_has_no_picture():
    assert summary.caption("full") == f"{summary.CAPTION}."
    config = story.TUNED.replace(model="resnet20")
    craft(config, 0.87, high=0.78)
    craft(config.replace(crop=4, flip=True), 0.91, seed=1)
    assert summary.figure("full") is None
    assert summary.short("full").endswith(f"{summary.HOW_TO_READ}\n\n{summary.TERMS}")
    assert summary.caption("full") == f"{summary.CAPTION}."


def test_the_hub_and_the_stem_are_answered_as_far_as_they_are_recorded():
    hub = story.step("04_torch_hub_check").configs
    craft(hub["hub ResNet-18"], 0.80)
    said, _ = paragraphs()
    assert said.startswith("**torch.hub's 83 %.** With the story's settings hub ResNet-18 reached 80.0 % [")
    undecided = (
        "Whether that is near the story's 83 % (± 5 points) is undecided: 1 run cannot show how much seeds differ"
    )
    assert f"{undecided}. Its training accuracy ended at 50.0 %, its test loss ended at 1.000, its mi" in said
    assert said.endswith("nimum: it underfits.")
    craft(causes.square()["its own stem, augmentation"], 0.85)
    assert " With random crops and flips ResNet-18 came to 85.0 % [" in paragraphs()[0]
    thrice(hub["hub ResNet-50"], 0.9)
    (said, _) = paragraphs()
    assert "hub ResNet-50 reached 90.0 % [" in said
    assert ". That is not near the story's 83 % (± 5 points). Its training accuracy ended at 50.0 %, " in said
    plain = story.TUNED.replace(model="resnet20")
    craft(plain, 0.87)
    craft(plain.replace(stem="imagenet"), 0.75)
    told = [paragraph for paragraph in paragraphs() if paragraph.startswith("**The stem.**")]
    assert "On ResNet-20, with the story's settings, that alone turns 87.0 % into 75.0 % (-12.0 points [" in told[0]
    craft(plain.replace(stem="imagenet", crop=4, flip=True), 0.82)
    told = [paragraph for paragraph in paragraphs() if paragraph.startswith("**The stem.**")]
    assert told[0].endswith(" With random crops and flips, too, it came to 82.0 % (n = 1).")
    assert "3×3 was worth +12.0 points [" in listed()


def test_hours_are_told_of_every_machine(monkeypatch):
    config = commands.COMMANDS["resnet-lab run --model resnet20 --recipe fast"]
    one, other = craft(config, 0.9), craft(config, 0.9, seed=1)
    for record in (one, other):
        for row in record.history:
            row["seconds"] = 3600 / len(record.history)
    steps = [row["step"] for row in one.history]
    gpu, cpu = one.result["environment"] | {"device": "cuda", "device_name": "gpu"}, one.result["environment"]
    half = {"from_step": steps[len(steps) // 2 - 1], "device_name": cpu["device_name"]}  # an epoch's end is the GPU's
    one.result["sessions"] = [{"from_step": 0, "device_name": "gpu"}, half]
    assert one.seconds_by_device == pytest.approx({"gpu": 1800, cpu["device_name"]: 1800})
    here = tables.machine(cpu)
    told = f"0.5 hours on gpu, then 0.5 hours on {here} (1 run); 1.0 hours on {here} (1 run)"
    assert commands._times([one, other]) == told
    one.result["sessions"].append({"from_step": steps[-1], "device_name": "gpu"})
    one.result["environment"] = gpu
    assert tables.machines(one) == ["gpu", cpu["device_name"]]  # it came back


def test_what_single_runs_show_is_told_as_theirs_and_what_several_decide_is_not():
    config = story.TUNED.replace(model="resnet20")
    thrice(config.replace(milestones=()), 0.79)
    for seed, right in enumerate((0.870, 0.871, 0.869)):
        craft(config, right, high=0.78, seed=seed)
    first, further, *_ = paragraphs()
    assert "So a learning rate that never came down was enough to stop ResNet-20 near 80 %" in first
    assert "did not stop at 80 %**, but at 87.0 %" in further
    for seed, right in enumerate((0.77, 0.79, 0.81)):  # far below the others, and not surely near 80 %
        craft(config.replace(milestones=()), right, seed=seed)
    first, *_ = paragraphs()
    assert "So, in the 3 runs recorded, a learning rate" in first


def test_the_first_number_of_the_story_is_answered_by_its_own_network():
    thrice(story.BASELINE, 0.575)
    ten, coverage = paragraphs()
    assert ten.startswith("**The 50 % after ten epochs.** ResNet-50 reached 57.5 % [")
    assert ten.endswith("minimum: it underfits.")
    assert "none yet of the story's 82 % (step 02)" in coverage


@pytest.mark.parametrize("command", commands.COMMANDS)
def test_a_command_that_is_recommended_trains_what_it_is_recommended_for(command, monkeypatch):
    trained = []
    monkeypatch.setattr(experiment, "run", lambda config, *_, **__: trained.append(config) or craft(config, 0.9))
    assert CliRunner().invoke(app, command.split()[1:]).exit_code == 0
    assert [config.fingerprint for config in trained] == [commands.COMMANDS[command].fingerprint]


def listed():
    return checklist.checklist("runs", "threads")


def test_the_checklist_has_numbers_where_they_are_recorded_and_the_signs_of_the_tables():
    bare = listed()
    assert re.findall(r"^\d\.", bare, re.MULTILINE) == ["1.", "2.", "3.", "4.", "5."]
    assert "torchvision's networks with a 3×3 stem are not yet run here." in bare
    assert "optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=0.0005)" in bare
    assert "is not for them.\n" in bare
    assert "single epochs jump about.\n3. " in bare
    assert "may gain little from them.\n" in bare
    assert "at the end of each learning rate: not yet run." in bare
    assert "[13 public threads](threads)." in bare
    assert f"Training accuracy {100 * curves.FITTED:g} % or more" in bare
    config = story.TUNED.replace(model="resnet20")
    craft(config, 0.87, high=0.78)
    assert "points by weight decay, with the 3×3 stem 9.0 at 5e-4 (1 run; by chance 0.0). By chance:" in listed()
    craft(config.replace(milestones=()), 0.79, high=[0.77, 0.79, 0.78, 0.78, 0.78, 0.78])
    assert "with the 3×3 stem 9.0 at 5e-4 (1 run; by chance 0.4). By chance:" in listed()
    craft(config.replace(weight_decay=1e-4), 0.83, high=0.78)
    craft(config.replace(crop=4, flip=True), 0.91, high=0.79)
    craft(config, 0.88, seed=1, high=0.75)  # more than the mean over its seeds
    for levels, cell in causes.factorial(10).items():
        craft(cell, 0.7 + 0.05 * levels[0])
    told = listed()
    assert " 9.0 to 13.0 at 5e-4 (3 runs; by chance 0.4), 5.0 at 1e-4 (1 run; by chance 0.0). By" in told
    assert "before its first drop" not in told
    craft(config.replace(crop=4, flip=True, weight_decay=1e-4), 0.91, high=0.86)
    assert "a weight decay of 1e-4 it had 86 % before its first drop (1 run): a ResNet-20" in listed()
    assert "With the wrong stem" not in told
    craft(config.replace(stem="imagenet"), 0.75, np.r_[np.linspace(2, 1, 60), np.linspace(1, 1.2, 40)], fitted=1.0)
    assert "With the wrong stem it looks like this, too: see to that first." in listed()
    assert "; with ImageNet's 0.0 at 5e-4 (1 run; by chance 0.0). By" in listed()
    assert "is not for them: 3×3 was worth +10.0 points [" in told
    assert "gain little from them (+3.5 points [" in told
    assert "] (over images alone) in 100 epochs of the story's ResNet-20 and 0.0 points [" in told
    assert f"[{summary.AS_TOLD}](runs/{config.run_id}/history.csv) (50, then 50, then 50 %)" in told
    craft(causes.square()["CIFAR stem"], 0.9)
    assert "not yet run here" not in listed()


def test_the_code_of_the_checklist_runs_and_has_the_maps_that_it_tells_of():
    code = re.search("```python\n(.*?)```", listed(), re.DOTALL)[1]
    scope = {}
    exec("import torchvision; from torch import nn; from torch.optim import SGD", scope)
    exec("from torch.optim.lr_scheduler import MultiStepLR; from torchvision.transforms import *", scope)
    exec(code, scope)
    shapes = []
    model = scope["model"]
    model.avgpool.register_forward_hook(lambda module, maps, output: shapes.append(maps[0].shape[2:]))
    images = torch.stack([scope["normalisation"][1](torch.rand(3, 32, 32)) for _ in range(2)])
    loss = scope["criterion"](model(scope["augmentation"][0](images)), torch.tensor([0, 1]))
    loss.backward()
    scope["optimizer"].step()
    assert shapes == [(checklist.HUB_SIDE, checklist.HUB_SIDE)]


@pytest.mark.parametrize(("end", "side"), [(0.93, "left"), (0.90, "right"), (0.97, "right")])
def test_a_published_accuracy_is_named_where_no_curve_ends(end, side):
    figure = plots.curves({"one": [craft(story.BASELINE, end)]}, "test_acc", "full", {91.25: "paper"})
    (text,) = figure.axes[0].texts
    assert (text.get_text(), text.get_ha()) == ("paper: 91.25 %", side)


def test_comparisons_follow_the_data_in_both_directions():
    step = story.step("02_hundred_epochs")
    for label, config in step.configs.items():
        thrice(config, BETTER.get(label, 0.74))  # with both, worse than two drops alone
    _, *compared, near, until_drop = (claim.verdict for claim in judged(step.notebook))
    assert compared == ["holds", "does not hold", "holds", "holds"]
    assert (near, until_drop) == ("does not hold", "does not hold")


def test_resnet_26_has_a_row_and_answers_nothing_that_is_said_of_resnet_50():
    step = story.step("02_hundred_epochs")
    (label,) = (label for label, config in step.configs.items() if config.model == "resnet26")
    thrice(step.configs[label], 0.82)
    assert {claim.verdict for claim in judged(step.notebook)} == {"not yet run"}
    told = tables.story_markdown("full")
    assert f"| 02 | {label} | ResNet-26 | 100 | 5e-4 | 50,000 |  | 82.0 |" in told
    assert step.title not in told


def test_a_difference_of_single_seeds_decides_nothing():
    step = story.step("02_hundred_epochs")
    for label in ("no LR drop", "more weight decay"):
        craft(step.configs[label], 0.70 if label == "no LR drop" else 0.75)
    claim = judged(step.notebook)[1]
    assert claim.verdict == "undecided"
    assert "+5.0 points" in claim.evidence
    assert "seed spread unknown" in claim.evidence


def test_hub_is_compared_with_our_network():
    thrice(story.step("04_torch_hub_check").configs["hub ResNet-50"], 0.83)
    assert judged("04_torch_hub_check")[-1].verdict == "not yet run"
    thrice(story.TUNED, 0.78)
    claim = judged("04_torch_hub_check")[-1]
    assert claim.verdict == "does not hold"
    assert "theirs less ours: +5.0 points" in claim.evidence


def test_other_parameters_are_not_the_story():
    config = story.BASELINE.replace(milestones=(3, 6))
    record = craft(config, 0.5)
    near, drops, *_ = claims.claims("01_ten_epochs", {"ResNet-50": [record]}, "full")
    assert near.verdict == "not yet run"
    assert "other parameters" in near.evidence
    assert drops.verdict == "does not hold"
    assert drops.evidence == "drops after 3 and 6 epochs, the run has 10"
    runs = {"ResNet-50": [record]}
    for shown in (runs, {"ResNet-50": []}):  # recorded or not
        table = tables.results({"01_ten_epochs": shown}, "full", {"ResNet-50": config.replace(epochs=7)})
        assert table[["claimed %", "epochs"]].to_numpy().tolist() == [["", "7"]]
    assert "story" not in texts(plots.curves(runs, "test_acc", "full"))


@pytest.mark.parametrize(("value", "shown"), [(1e-4, "1e-4"), (2.5e-4, "2.5e-4"), (0.0015, "1.5e-3"), (0.0, "0")])
def test_weight_decay_is_shown_as_it_is(value, shown):
    configs = {"ResNet-50": story.BASELINE.replace(weight_decay=value)}
    assert tables.results({"01_ten_epochs": {"ResNet-50": []}}, "full", configs)["weight decay"].tolist() == [shown]


def test_claim_reads_as_a_sentence():
    assert str(Claim("A", "holds", "b")) == "A: holds (b)."
    assert str(Claim("A", "not yet run")) == "A: not yet run."


# --- figures


@pytest.mark.parametrize("quantity", ["train_loss", "test_acc", "test_loss"])
def test_curves_draw_the_history(trained, quantity):
    runs = trained["01_ten_epochs"]
    figure = plots.curves(runs, quantity, "smoke")
    column = {"test_acc": "test_accuracy"}.get(quantity, quantity)
    mean = np.mean([[row[column] for row in record.history] for record in runs["ResNet-50"]], axis=0)
    line = figure.axes[0].lines[0]
    assert line.get_xdata().tolist() == [1, 2]
    assert line.get_ydata() == pytest.approx(mean * (100 if quantity == "test_acc" else 1))
    assert line.get_marker() != "None"
    assert "smoke profile: 200 synthetic images" in texts(figure)
    assert "ResNet-50 (n = 2)" in texts(figure)
    assert plt.get_fignums() == []


def test_curves_mark_drops_references_and_missing_runs(tmp_path):
    step = story.step("02_hundred_epochs")
    craft(step.configs[step.headline], 0.78)
    figure = plots.curves(find_runs(step.configs, "full"), "test_acc", "full")
    drops = [line for line in figure.axes[0].lines if line.get_color() == plots.DROP["color"]]
    assert [list(line.get_xdata()) for line in drops] == [[50, 50], [75, 75]]
    assert "story: 82 %" in texts(figure)
    assert "no record: 5 of 6 settings" in texts(figure)
    assert "profile" not in texts(figure)
    loss = plots.curves(find_runs(step.configs, "full"), "train_loss", "full")
    assert loss.axes[0].get_yscale() == "log"  # from 3 to 0.03
    plots.save(loss, tmp_path / "loss.png")  # draws without a warning


def test_validation_is_never_called_test():
    record = craft(story.BASELINE.replace(split="train45k"), 0.5)
    assert plots.curves({"x": [record]}, "test_acc", "full").axes[0].get_ylabel() == "Validation accuracy (%)"
    assert plots.curves({"x": [record]}, "test_loss", "full").axes[0].get_ylabel() == "Validation loss (nats)"


def test_one_epoch_can_be_drawn_and_of_nothing_there_is_no_figure(tmp_path):
    single = craft(story.BASELINE.replace(epochs=1), 0.5)
    figure = plots.curves({"one": [single], "none": []}, "test_acc", "quick")
    assert figure.axes[0].lines[0].get_marker() == "o"
    plots.save(figure, tmp_path / "one.png")
    assert plots.curves({"none": []}, "test_acc", "full") is None


def test_a_run_of_the_story_has_one_colour_in_all_figures_and_no_two_lines_of_a_figure_share_one():
    step = story.step("03_cifar_architecture")
    network = step.configs["ResNet-20, 100 epochs"]
    for config in (story.BASELINE, *step.configs.values(), network.replace(milestones=())):
        craft(config, 0.8)
    drawn = {
        "step": plots.curves(story.runs("full")[step.notebook], "test_acc", "full"),
        "all": plots.curves(story.overlay(story.runs("full")), "test_acc", "full"),
        "answer": summary.figure("full"),
    }
    colours = {}
    for where, figure in drawn.items():
        lines = [line for line in figure.axes[0].lines if "(n = " in line.get_label()]
        assert len({line.get_color() for line in lines}) == len(lines) > 1
        (colours[where],) = (line.get_color() for line in lines if re.search("100 epochs|assumes it", line.get_label()))
    assert len(set(colours.values())) == 1


def test_no_two_lines_of_the_whole_story_look_alike():
    for step in story.STEPS:
        for config in step.configs.values():
            craft(config, 0.8)
    whole = story.overlay(story.runs("full"))
    assert len(set(plots._looks(whole, "full").values())) == len(whole) == 11
    many = {str(n): [craft(story.BASELINE.replace(lr=0.1 + n / 100), 0.5)] for n in range(30)}
    assert len(set(plots._looks(many, "full").values())) == plots.ALL_LOOKS


@pytest.mark.parametrize("kind", ["png", "pdf"])
def test_same_record_same_bytes(trained, tmp_path, kind):
    for name in ("a", "b"):
        plots.save(plots.curves(story.overlay(trained), "test_loss", "smoke"), tmp_path / f"{name}.{kind}")
    content = (tmp_path / f"a.{kind}").read_bytes()
    assert content == (tmp_path / f"b.{kind}").read_bytes()
    assert b"Date" not in content
    assert b"/Type3" not in content
    assert matplotlib.__version__.encode() not in content  # nor do they change with it


def test_images_show_every_class_with_its_count(tiny_dataset, tmp_path):
    figure = gallery.images(tiny_dataset, "full")
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == [f"{name}  12" for name in "abcdefghij"]
    canvas = np.asarray(figure.axes[0].images[0].get_array())
    first_of_b = tiny_dataset.train_images[tiny_dataset.train_labels == 1][0]
    assert np.array_equal(canvas[35:67, :32], first_of_b.transpose(1, 2, 0))
    plots.save(figure, tmp_path / "images.png")


def test_a_caption_explains_losses_before_batch_norm_has_settled(trained):
    steps = trained["01_ten_epochs"]["ResNet-50"][0].config.steps_per_epoch()
    assert f"first epoch's {steps} steps" in plots.settling(trained["01_ten_epochs"])
    assert plots.settling({"x": [craft(story.BASELINE, 0.5)]}) == ""
    assert plots.settling({"x": []}) == ""


def test_a_seed_that_diverged_is_counted_beside_those_that_did_not():
    step = story.step("01_ten_epochs")
    config = step.configs[step.headline]
    craft(config, 0.5)
    folder = RunFolder.of(config.replace(seed=1), "full")
    folder.start()
    folder.mark_diverged({"epoch": 3, "step": 900, "lr": 0.1, "loss": "training"})
    table = tables.results(story.runs("full"), "full")
    assert table["n"].tolist()[:2] == ["1, 1 diverged", "0"]
