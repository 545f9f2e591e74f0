"""The sentences of the story, judged by records."""

from __future__ import annotations

import re

import numpy as np
import pytest
from crafted import craft, thrice

from resnet_lib.findings import claims, symptoms
from resnet_lib.findings.judgement import Claim, or_diverged
from resnet_lib.findings.recorded import recorded_story
from resnet_lib.findings.sentences import loss_falls, loss_settled
from resnet_lib.questions import paper, paper_runs, story
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import answer, tables

pytestmark = pytest.mark.usefixtures("no_warnings")


BETTER = {"no LR drop": 0.70, "no LR drop, more weight decay": 0.74, "one LR drop": 0.76, "two LR drops": 0.78}


def test_what_a_small_profile_makes_alike_is_not_the_storys():
    """At five epochs twenty and ten are one run, and the page still knows which was asked for."""
    record = craft(story.BASELINE.at("quick"), 0.3, profile="quick")
    for config, is_told in ((story.BASELINE, True), (story.BASELINE.replace(epochs=20), False)):
        page = claims.page("01_ten_epochs", {"ResNet-50": [record]}, {"ResNet-50": config}, "quick")
        assert ("reaches about 50 %" in page) == is_told


def test_one_run_that_diverged_does_not_hide_what_others_show():
    step = story.step("02_hundred_epochs")
    craft(step.configs[step.headline], 0.8)
    folder = RunFolder.of(step.configs[step.headline].replace(seed=1), "full")
    folder.start()
    folder.mark_diverged({"epoch": 3, "step": 900, "lr": 0.1, "loss": "nan"})
    falling, *_ = judged("02_hundred_epochs")
    assert (falling.verdict, falling.evidence) == ("holds", "10.5 % lower in 1 run; 1 run more diverged")


def test_story_is_told_with_its_numbers():
    assert {step.notebook: step.claimed for step in story.STEPS} == {
        "01_ten_epochs": 50, "02_hundred_epochs": 82, "03_cifar_architecture": 80, "04_torch_hub_check": 83,
    }  # fmt: skip
    assert story.BASELINE.milestone_steps[0] > story.BASELINE.total_steps
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


def judged(notebook, profile="full"):
    return claims.claims(notebook, recorded_story(profile)[notebook], profile)


def test_small_runs_decide_no_accuracy_and_print_no_measured_number(story_runs):
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
    _, until_drop, _, settled, _ = judged("03_cifar_architecture")
    level = "78.0 % [78.0, 78.0], single epochs 70.0 to 86.0"
    assert until_drop.evidence == f"{level}; 87.0 % in the 3 epochs after the drop; 3 runs, interval over seeds alone"
    assert until_drop.verdict == "holds"
    assert settled.verdict == "does not hold"
    ended = "ended at 1.060, 6.0 % above its minimum (epochs 51 to 71, by run)"
    assert settled.evidence == f"came within 6.0 %; {ended}; it is so in 0 of 3 runs"
    craft(config, 0.87, loss, seed=3, fitted=1.0, high=0.74)  # their mean is still near
    _, until_drop, *_ = judged("03_cifar_architecture")
    assert until_drop.verdict == "undecided"
    assert until_drop.evidence.startswith("77.0 % [73.8, 80.2], single epochs")
    signs = symptoms.row(recorded_story("full")["03_cifar_architecture"]["ResNet-20, 100 epochs"])
    assert signs["test loss, final ÷ lowest"] == "1.06"
    assert "overfitting" in signs["reading"]


@pytest.mark.parametrize(("fitted", "verdict"), [(0.52, "holds"), (0.54, "does not hold")])
def test_a_network_that_fits_its_own_images_no_better_underfits(fitted, verdict):
    craft(story.BASELINE, 0.5, fitted=fitted)
    claim = judged("01_ten_epochs")[4]
    assert (claim.verdict, claim.evidence) == (
        verdict,
        f"training {100 * fitted:.1f} %, test 50.0 %; apart by +{100 * fitted - 50:.1f} points; in 1 run",
    )


def test_underfitting_is_seen_in_each_run_and_not_in_their_mean():
    """Gaps of 1 and 5 points: 3 on average, and one network that does not underfit."""
    runs = [craft(story.BASELINE, 0.5, seed=seed, fitted=fitted) for seed, fitted in enumerate((0.51, 0.55))]
    claim = judged("01_ten_epochs")[4]
    assert (claim.verdict, claim.evidence) == (
        "in some runs",
        "training 53.0 %, test 50.0 %; apart by +1.0 and +5.0 points; it is so in 1 of 2 runs",
    )
    assert "underfitting" not in symptoms.row(runs)["reading"]
    ten = answer.answer("full")
    assert " Training accuracy ended at 53.0 %, test loss ended at " in ten
    assert ": 1 of 2 runs underfit." in ten


@pytest.mark.parametrize(("high", "verdict"), [(0.78, "holds"), (0.74, "does not hold"), (0.755, "undecided")])
def test_where_a_run_stays_until_its_rate_drops_is_judged_apart_from_where_it_ends(high, verdict):
    last = np.r_[np.full(40, 0.3), np.full(10, high)]  # ten epochs before the drop, and none of the lower ones
    config, rising = story.TUNED.replace(model="resnet20"), np.r_[np.linspace(2, 1, 60), np.linspace(1, 1.2, 40)]
    craft(config, 0.87, rising, high=last)
    near, until_drop, _, settled, below_paper = judged("03_cifar_architecture")
    assert settled.verdict == "does not hold"
    level, after = f"{100 * high:.1f}", "87.0 % in the 3 epochs after the drop"
    assert until_drop.evidence == f"{level} %, single epochs {level} to {level}; {after}; 1 run, seed spread unknown"
    assert {near.verdict, until_drop.verdict, below_paper.verdict} == {"undecided"}  # of one run
    for seed, luck in ((1, 0.003), (2, -0.003)):
        craft(config, 0.87, rising, high=last + luck, seed=seed)
    _, until_drop, *_ = judged("03_cifar_architecture")
    assert until_drop.verdict == verdict


def test_comparisons_follow_the_data_in_both_directions():
    step = story.step("02_hundred_epochs")
    for label, config in step.configs.items():
        thrice(config, BETTER.get(label, 0.74))  # with both, worse than two drops alone
    falls, *compared, near, until_drop = judged(step.notebook)
    assert (falls.verdict, falls.evidence) == ("holds", "10.5 % lower in 3 runs")
    assert [claim.verdict for claim in compared] == ["holds", "does not hold", "holds", "holds"]
    assert all("needs at least" in claim.evidence for claim in compared)
    assert (near.verdict, until_drop.verdict) == ("does not hold", "does not hold")


@pytest.mark.parametrize(
    ("ends", "verdict", "seen"),
    [
        ([0.90], "holds", "10.0 % lower in 1 run"),
        ([1.00, 1.01], "does not hold", "-1.0 to 0.0 % lower in 2 runs"),
        ([0.98, 0.90], "undecided", "2.0 to 10.0 % lower in 2 runs"),
        ([1.00, 0.90], "in some runs", "0.0 to 10.0 % lower in 2 runs"),
    ],
)
def test_a_training_loss_that_hardly_falls_decides_nothing(ends, verdict, seen):
    config = story.TUNED
    runs = [
        craft(config, 0.8, seed=seed, train_loss=np.r_[np.ones(90), np.full(10, end)]) for seed, end in enumerate(ends)
    ]
    claim = loss_falls({"one": runs}, "full")
    assert (claim.verdict, claim.evidence) == (verdict, seen)


@pytest.mark.parametrize(
    ("ends", "verdict", "above"), [([1.0, 1.0, 1.3], "holds", "0.0"), ([1.1, 1.2, 1.3], "does not hold", "10.0")]
)
def test_one_epoch_in_which_the_loss_jumps_is_no_trend(ends, verdict, above):
    losses = [*np.linspace(2, 1, 7), *ends]
    claim = loss_settled([craft(story.BASELINE, 0.5, losses)], "full")
    ended = "ended at 1.300, 30.0 % above its minimum (epoch 7); in 1 run"
    assert (claim.verdict, claim.evidence) == (verdict, f"came within {above} %; {ended}")


def test_resnet_26_has_a_row_and_answers_nothing_that_is_said_of_resnet_50():
    step = story.step("02_hundred_epochs")
    (label,) = (label for label, config in step.configs.items() if config.model == "resnet26")
    thrice(step.configs[label], 0.82)
    assert {claim.verdict for claim in judged(step.notebook)} == {"not yet run"}
    told = tables.story_markdown("full")
    assert f"| 02 | {label} | 100 | 5e-4 | 50,000 |  | 82.0 |" in told
    assert step.title not in told


def test_a_difference_of_single_seeds_decides_nothing():
    step = story.step("02_hundred_epochs")
    for label in ("no LR drop", "no LR drop, more weight decay"):
        craft(step.configs[label], 0.70 if label == "no LR drop" else 0.75)
    claim = judged(step.notebook)[1]
    assert claim.verdict == "undecided"
    assert "+5.0 points" in claim.evidence
    assert claim.evidence.endswith("seed spread unknown")  # and no number of images would help


@pytest.mark.parametrize(
    ("right", "verdict"), [(0.83, "does not hold"), (0.78, "holds"), (0.77, "holds"), (0.73, "does not hold")]
)
def test_hub_is_compared_with_our_network(right, verdict):
    thrice(story.step("04_torch_hub_check").configs["ResNet-50 (torch.hub)"], right)
    assert judged("04_torch_hub_check")[-1].verdict == "not yet run"
    thrice(story.step("02_hundred_epochs").configs["two LR drops, more weight decay"], 0.78)
    claim = judged("04_torch_hub_check")[-1]
    assert claim.verdict == verdict
    assert f"theirs less ours: {100 * right - 78:+.1f}".replace("+0.0", "0.0") in claim.evidence


@pytest.mark.parametrize(("right", "verdict"), [(0.83, "does not hold"), (0.74, "holds"), (0.78, "undecided")])
def test_resnet_20_is_compared_with_the_storys_first_network(right, verdict):
    thrice(story.TUNED.replace(model="resnet20"), right)
    assert judged("03_cifar_architecture")[2].verdict == "not yet run"
    (first,) = story.headlines("02_hundred_epochs").values()
    thrice(first, 0.78)
    claim = judged("03_cifar_architecture")[2]
    assert claim.verdict == verdict
    assert f"ResNet-20 less ResNet-50: {100 * right - 78:+.1f}".replace("+0.0", "0.0") in claim.evidence


def test_a_run_that_diverged_is_told_where_it_is_missed():
    folder = RunFolder.of(story.step("04_torch_hub_check").configs["ResNet-50 (torch.hub)"], "full")
    folder.start()
    folder.mark_diverged({"epoch": 3, "step": 900, "lr": 0.1, "loss": "training"})
    near, until_drop, *others = judged("04_torch_hub_check")
    of_the_other = others[:2]  # torch.hub's ResNet-18, which nobody has run
    assert {claim.verdict for claim in of_the_other} == {"not yet run"}
    assert {claim.verdict for claim in (near, until_drop, others[-1])} == {"diverged"}
    assert str(near).endswith("(± 5 points): diverged (at step 900 (lr 0.1)).")
    assert re.search(r"recorded: \d+ of \d+, 1 diverged; nothing yet", answer.answer("full"))
    craft(story.step("04_torch_hub_check").configs["ResNet-50 (torch.hub)"], 0.8, seed=1)  # another seed did not
    near, *_ = judged("04_torch_hub_check")
    assert str(near).endswith("seed spread unknown; 1 run more diverged).")
    told = (folder.config, [craft(folder.config, 0.8, seed=1)])
    assert or_diverged(Claim("A", "undecided"), told, profile="full").evidence == "1 run more diverged"


def test_a_claim_of_two_networks_tells_that_the_other_steps_diverged():
    thrice(story.step("04_torch_hub_check").configs["ResNet-50 (torch.hub)"], 0.8)
    ours = story.step("02_hundred_epochs")
    folder = RunFolder.of(ours.configs[ours.headline], "full")
    folder.start()
    folder.mark_diverged({"epoch": 3, "step": 900, "lr": 0.1, "loss": "training"})
    *_, agree = judged("04_torch_hub_check")
    assert str(agree).endswith("agrees with ours within 2 points: diverged (at step 900 (lr 0.1)).")


def test_claim_reads_as_a_sentence():
    assert str(Claim("A", "holds", "b")) == "A: holds (b)."
    assert str(Claim("A", "not yet run")) == "A: not yet run."
