"""The root cause, from records with a known answer; the agenda and what it costs."""

import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from crafted import RESULT, ROWS, craft

from resnet_lib.config import Config, ConfigError
from resnet_lib.findings import evidence, root_cause
from resnet_lib.findings.comparison import accuracy_of
from resnet_lib.findings.judgement import UNDECIDED
from resnet_lib.machine.device import Choice
from resnet_lib.models.build import build_model
from resnet_lib.questions import agenda, causes, paper_runs, story
from resnet_lib.questions.causes import CELLS, FACTORS, HUNDRED, PAPER, TEN
from resnet_lib.questions.story import NOT_YET
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import bars
from resnet_lib.speed import cost

IMAGES = 4_000
GAINS = np.array([0.02, 0.05, 0.03, 0.01, 0.0])  # half of what each factor is worth; no interactions


def record(levels, *lucks):
    """A cell's runs, one per seed, with the accuracy that GAINS gives it on images of growing difficulty, and luck."""
    labels = np.zeros(IMAGES, np.uint8)
    difficulty = np.random.default_rng(0).permutation(IMAGES) / IMAGES
    for seed, luck in enumerate(lucks):
        run = RunFolder.of(causes.cell(levels, 10).replace(seed=seed), "full")
        run.start()
        right = difficulty < 0.7 + np.dot(GAINS, levels) + luck
        predictions = {"predicted": np.uint8(~right), "confidence": np.ones(IMAGES, np.float16), "label": labels}
        run.finish(ROWS, RESULT | {"images": IMAGES}, predictions)


@pytest.fixture
def cells():
    """Every cell recorded once, and the ends of the way with three seeds each."""
    for levels in CELLS:
        record(levels, *((0, 0.001, -0.001) if levels in (TEN, PAPER) else (0,)))
    return evidence.find_cells(10, "full")


def test_effects_and_shares_are_those_put_in(cells):
    main = {effect.name: effect.estimate for effect in evidence.effects(cells)[:5]}
    assert list(main) == ["augmentation", "LR drops", "stem", "weight decay", "learning rate"]
    for factor, gain in zip(FACTORS, GAINS, strict=True):
        assert main[factor.name].mean == pytest.approx(2 * gain, abs=1e-3)
    assert all(abs(effect.estimate.mean) < 1e-3 for effect in evidence.effects(cells)[5:])
    found = evidence.shares(cells)
    assert [share.name for share in found] == ["augmentation", "LR drops"]
    assert sum(share.estimate.mean for share in found) == pytest.approx(evidence.gap(cells).mean)
    assert accuracy_of(cells.records[TEN], cells.profile).mean == pytest.approx(0.7 + GAINS @ TEN, abs=1e-3)
    assert accuracy_of(cells.records[PAPER], cells.profile).mean == pytest.approx(0.7 + GAINS @ PAPER, abs=1e-3)


def test_intervals_of_many_comparisons_are_wider(cells):
    (effect, *_) = evidence.effects(cells)
    alone = evidence.weigh(evidence.factorial.effect((1,), causes.HALF), cells)
    assert effect.estimate.high - effect.estimate.low > 1.2 * (alone.high - alone.low)


def test_the_verdict_names_the_largest_share_and_is_decided_by_full_runs_alone(cells):
    way, largest, *changes = root_cause.verdicts(cells)
    assert str(way).startswith(
        "ResNet-20, 10 epochs: from the assumed settings (augmentation: none, LR drops: none) to the paper's, the "
        "accuracy rises: holds (+"
    )
    assert str(largest).startswith(
        "The largest share of that (its Shapley value: averaged over all orders of the changes) is that of "
        "augmentation: holds (ahead of LR drops by +"
    )
    assert [claim.verdict for claim in changes] == ["holds"] * 4
    assert str(changes[1]).startswith(
        "Changing augmentation (none → crop and flip) last, when all else is as the paper's, raises the accuracy: "
    )
    assert root_cause.verdicts(replace(cells, profile="quick"))[0].verdict == UNDECIDED
    missing = replace(cells, records=cells.records | {PAPER: []})
    (claim,) = root_cause.verdicts(missing)
    assert (claim.verdict, claim.evidence) == (NOT_YET, "3 of 4 cells are recorded")
    assert root_cause.effects_table(missing).empty
    assert bars.waterfalls([missing]) is None


def test_of_pairs_those_that_surely_depend_on_each_other_can_be_shown_alone(cells, monkeypatch):
    *found, last = evidence.effects(cells)
    sure = replace(last, estimate=replace(last.estimate, low=0.01, high=0.02))
    monkeypatch.setattr(root_cause, "effects", lambda cells: [*found, sure])
    assert len(root_cause.effects_table(cells)) == 15
    few = root_cause.effects_table(cells, all_pairs=False)["factor"]
    assert few.tolist() == [*(one.name for one in found if len(one.factors) == 1), sure.name]


def test_the_table_of_settings_has_what_is_recorded_the_most_accurate_first(cells):
    table = root_cause.settings_table(cells)
    assert list(table.columns[:3]) == ["stem", "augmentation", "LR drops"]
    assert table.iloc[0, :3].tolist() == ["3×3", "crop and flip", "two"]
    most = accuracy_of(cells.records[PAPER], cells.profile).mean
    assert table["test accuracy, %"].tolist()[0] == f"{100 * most:.1f}"
    assert table["n"].tolist()[0] == "3"
    missing = replace(cells, records=cells.records | {PAPER: []})
    assert len(root_cause.settings_table(missing)) == len(table) - 1


def test_budgets_that_a_small_profile_makes_alike_are_shown_once_and_others_each():
    assert [one.budget for one in evidence.factorials("full")] == [100, 10]
    assert [one.budget for one in evidence.factorials("full", 30)] == [100, 30, 10]
    assert [one.budget for one in evidence.factorials("quick", 10)] == [10]
    for budget in (20, 11):  # 11 has its drops elsewhere, as 20 has not
        found = evidence.factorials("quick", budget)
        runs = [causes.cell(PAPER, one.budget).at("quick").fingerprint for one in found]
        assert causes.cell(PAPER, budget).at("quick").fingerprint in runs
        assert len(set(runs)) == len(runs)


def test_a_small_profile_tells_the_epochs_that_it_has():
    assert evidence.find_cells(100, "quick").epochs == 5
    assert root_cause.verdicts(evidence.find_cells(10, "quick"))[0].text.startswith("ResNet-20, 5 epochs: ")


def test_the_shares_need_no_other_cells_than_those_between_the_ends(cells):
    way = replace(
        cells, records={levels: cells.records[levels] if levels in causes.way(10) else [] for levels in CELLS}
    )
    assert root_cause.verdicts(way) == root_cause.verdicts(cells)
    assert root_cause.effects_table(way).empty


def test_every_cell_with_several_seeds_tells_how_much_seeds_differ(cells):
    """A cell beside the way, too: left out, its noise would not be known to be possible on the way."""
    off_the_way = (1, -1, -1, -1, 1)
    assert off_the_way not in causes.way(10)
    calm = evidence.gap(cells)
    record(off_the_way, 0, 0.02, -0.02)
    noisy = evidence.find_cells(10, "full")
    assert evidence.gap(noisy).mean == calm.mean
    assert evidence.gap(noisy).high > calm.high
    assert "1.42 points without LR drops (pooled from 2.00, 0.10, taken to be " in root_cause.known(noisy)


@pytest.mark.parametrize(("epochs", "count"), [(10, 5), (100, 10)])
def test_the_mean_before_a_drop_is_of_ten_epochs_if_there_are_as_many(epochs, count):
    craft(causes.cell(PAPER, epochs), 0.8)
    table = root_cause.settings_table(evidence.find_cells(epochs, "full"))
    assert f"mean test accuracy of the {count} epochs before the first drop, %" in table.columns


def test_a_setting_that_the_factorial_has_not_tells_it_too_and_has_a_row(cells):
    beside = next(levels for levels in causes.ALL if levels not in CELLS)
    calm = evidence.gap(cells)
    record(beside, 0, 0.02, -0.02)
    found = evidence.find_cells(10, "full")
    assert evidence.gap(found).high > calm.high
    assert evidence.effects(found)[0].estimate.mean == evidence.effects(cells)[0].estimate.mean
    table = root_cause.settings_table(found)
    assert len(table) == len(CELLS) + 1
    assert (table["n"] == "3").sum() == 3
    accuracies = [float(one) for one in table["test accuracy, %"]]
    assert accuracies == sorted(accuracies, reverse=True)


def test_of_a_way_that_leads_down_no_change_is_said_to_contribute_most():
    for levels, right in zip(causes.way(10), (0, -0.14, -0.04, -0.24), strict=True):  # crop and flip helps at first
        record(levels, *(right + luck for luck in (0, 0.001, -0.001)))
    way, largest, *_ = root_cause.verdicts(evidence.find_cells(10, "full"))
    assert (way.verdict, largest.verdict) == ("does not hold", UNDECIDED)


def test_a_cell_that_diverged_is_not_told_as_one_to_come(cells):
    folder = RunFolder.of(causes.cell(PAPER, 10), "full")
    shutil.rmtree(folder.path)
    folder.start()
    folder.mark_diverged({"epoch": 3, "step": 900, "lr": 0.1, "loss": "nan"})
    for seed in (1, 2):
        shutil.rmtree(RunFolder.of(causes.cell(PAPER, 10).replace(seed=seed), "full").path)
    found = evidence.find_cells(10, "full")
    (way,) = root_cause.verdicts(found)
    assert str(way).endswith("to the paper's: diverged (at step 900 (lr 0.1); 3 of 4 cells are recorded).")


def test_the_way_starts_where_the_story_trains_its_cifar_network(cells):
    told = story.step("03_cifar_architecture").configs
    assert causes.cell(causes.start(10), 10).fingerprint == told["ResNet-20, 10 epochs"].fingerprint
    assert causes.cell(causes.start(100), 100) == told["ResNet-20, 100 epochs"]
    later = replace(cells, budget=100)
    assert [share.name for share in evidence.shares(later)] == ["augmentation", "weight decay"]
    assert evidence.gap(later).mean == pytest.approx(GAINS @ PAPER - GAINS @ HUNDRED, abs=1e-3)
    for epochs in (10, 100):
        assert set(causes.way(epochs)) <= set(CELLS)


def test_a_budget_without_room_for_the_storys_drops_is_refused():
    with pytest.raises(ConfigError, match=r"epochs = 3 .* 4 or more"):
        causes.labelled(3)
    for epochs in (51, 75):
        with pytest.raises(ConfigError, match="makes one drop in it"):
            causes.start(epochs)
        with pytest.raises(ConfigError, match="makes one drop in it"):
            causes.labelled(epochs)  # before twenty cells are trained
    assert (causes.start(50), causes.start(76)) == (TEN, HUNDRED)


def test_what_helps_alone_and_not_as_the_last_change_is_no_gain(cells):
    """Augmentation that is worth 20 points before the drops and costs as many after them."""
    record((1, -1, 1, 1, 1), 0.3)
    found = evidence.find_cells(10, "full")
    claims = [claim for claim in root_cause.verdicts(found) if claim.text.startswith("Changing augmentation")]
    assert [claim.verdict for claim in claims] == ["holds", "does not hold"]


def test_an_interaction_is_what_two_changes_bring_beyond_each_alone():
    """Two factors that are worth 5 points each, and 12 more together."""
    weights = evidence.factorial.effect((1, 2), causes.HALF)
    found = sum(
        w * (0.05 * (cell[1] > 0) + 0.05 * (cell[2] > 0) + 0.12 * (cell[1] > 0 < cell[2]))
        for cell, w in weights.items()
    )
    assert found == pytest.approx(0.12)


def test_where_everything_makes_it_worse_nothing_explains_the_gap(cells):
    turned = {levels: (levels[0], -levels[1], -levels[2], *levels[3:]) for levels in causes.way(10)}
    worse = replace(cells, records=cells.records | {one: cells.records[other] for one, other in turned.items()})
    way, largest, *_ = root_cause.verdicts(worse)
    assert (way.verdict, largest.verdict) == ("does not hold", UNDECIDED)


def decided(cells):
    """Of augmentation, the one change between cells with the same drops: when it is known to help. All else is not."""
    found = []
    for claim in root_cause.verdicts(cells):
        if claim.verdict == "holds":
            (when,) = re.findall(r"Changing augmentation \(none → crop and flip\) (\w+), ", claim.text)
            found.append(when)
        else:
            assert claim.verdict == UNDECIDED
    return found


@pytest.mark.parametrize(("end", "kind"), [(TEN, "without LR drops"), (PAPER, "with LR drops")])
def test_single_runs_decide_nothing_while_nobody_knows_how_seeds_differ(cells, end, kind):
    alone = replace(cells, records=cells.records | {end: cells.records[end][:2]})
    assert f"unknown {kind}" in root_cause.known(alone)
    assert decided(alone) == ["last" if end == TEN else "alone"]


def test_the_spread_of_seeds_widens_intervals_and_noise_decides_nothing(cells):
    """Seeds that differ by as much as a factor is worth."""
    calm = evidence.shares(cells)[0].estimate
    record(TEN, 0, 0.1, -0.1)
    noisy = evidence.find_cells(10, "full")
    wide = evidence.shares(noisy)[0].estimate
    assert wide.mean == pytest.approx(calm.mean)
    assert wide.high - wide.low > 5 * (calm.high - calm.low)
    assert decided(noisy) == ["last"]
    assert root_cause.known(noisy).startswith(
        "Seed spread of ResNet-20 in 10 epochs, from the settings with 3 runs or more: 10.00 points without LR drops "
        "(of one setting, taken to be that of all) and 0.10 points with LR drops (of one setting, "
    )


def test_the_waterfall_goes_from_the_story_to_the_paper(cells):
    (axes,) = bars.waterfalls([cells]).axes
    bars_drawn = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes.patches]
    assert len(bars_drawn) == 2
    assert bars_drawn[0][0] == pytest.approx(100 * accuracy_of(cells.records[TEN], cells.profile).mean)
    assert [left for left, _ in bars_drawn[1:]] == pytest.approx([right for _, right in bars_drawn[:-1]])
    assert bars_drawn[-1][1] == pytest.approx(100 * accuracy_of(cells.records[PAPER], cells.profile).mean)
    assert axes.get_title("left") == "10 epochs, from the assumed settings"
    assert [text.get_text() for text in axes.texts] == [
        "65.0 % (n = 3)", "+10.0 points", "this alone: 75.0 % (n = 1)", "+6.0 points",
        "this alone: 71.0 % (n = 1)", "81.0 % (n = 3)",
    ]  # fmt: skip


def test_a_second_way_begins_at_the_wrong_stem_once_all_of_it_is_recorded(cells):
    assert evidence.ways([cells]) == [cells]
    for levels in causes.ALL:
        if levels not in CELLS:
            record(levels, 0)
    cells = evidence.find_cells(10, "full")
    first, wrong = evidence.ways([cells])
    assert first == cells
    assert wrong.start_name == "the assumed settings with ImageNet's stem"
    panels = bars.waterfalls([first, wrong]).axes
    assert panels[1].get_title("left") == "10 epochs, from the assumed settings with ImageNet's stem"
    assert panels[0].get_xlim() == panels[1].get_xlim()
    found = evidence.shares(wrong)
    assert [share.name for share in found] == ["augmentation", "LR drops", "stem"]
    assert [share.estimate.mean for share in found] == pytest.approx([0.1, 0.06, 0.04], abs=1e-3)
    assert evidence.gap(wrong).mean == pytest.approx(0.2, abs=1e-3)
    text = root_cause.conclusions([wrong])
    assert "from the assumed settings with ImageNet's stem (stem: ImageNet's, augmentation: none, LR drops: non" in text
    assert "Changing stem (ImageNet's → 3×3) alone, from the assumed settings with ImageNet's stem, raises" in text


def test_the_largest_share_is_decided_only_if_it_is_ahead_of_every_other(cells, monkeypatch):
    for levels in causes.ALL:
        if levels not in CELLS:
            record(levels, 0)
    way = evidence.ways([evidence.find_cells(10, "full")])[1]
    first, *others = (share.estimate.mean for share in evidence.shares(way))
    leads = root_cause._leads(evidence.shares(way), way)
    assert [lead.mean for lead in leads] == pytest.approx([first - other for other in others])
    largest = root_cause.verdicts(way)[1]
    assert largest.verdict == "holds"
    assert str(leads[0]) in largest.evidence  # the interval that it was judged by
    unsure = [leads[0], replace(leads[1], low=-0.01)]  # ahead of the second, and perhaps not of the third
    monkeypatch.setattr(root_cause, "_leads", lambda found, cells: unsure[: len(found) - 1])
    assert root_cause.verdicts(way)[1].verdict == UNDECIDED


def test_pairs_of_runs_that_were_one_until_the_drop_are_found():
    story_like = causes.HUNDRED
    config = causes.cell(story_like, 100)
    craft(config, 0.87, high=0.78)
    craft(causes.cell(evidence.factorial.turned(story_like, causes.DROPS), 100), 0.78)
    craft(config, 0.87, seed=1, high=0.77)
    craft(
        causes.cell(evidence.factorial.turned(story_like, causes.DROPS), 100), 0.78, seed=1
    )  # another from the first epoch on
    (pair,) = evidence.forks(evidence.find_cells(100, "full"))
    assert [record.config.seed for record in pair] == [0, 0]
    assert [record.accuracy for record in pair] == [0.87, 0.78]


def test_a_cell_is_what_its_label_says():
    config = causes.cell((-1, 1, 1, -1, -1), 100)
    assert config == Config(
        model="resnet20", stem="imagenet", crop=4, flip=True, milestones=(50, 75), weight_decay=5e-4, lr=0.01,
        epochs=100,
    )  # fmt: skip
    assert causes.label((-1, 1, 1, -1, -1)) == (
        "stem ImageNet's, augmentation crop and flip, LR drops two, weight decay 5e-4, learning rate 0.01"
    )
    assert len({config.run_id for config in causes.factorial(10).values()}) == 20


def test_the_hubs_network_may_have_the_cifar_stem_and_nothing_else():
    network, source = build_model(causes.square()["3×3 stem"])
    assert network.conv1.weight.shape == (64, 3, 3, 3)
    assert network.conv1.weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.1)
    assert "CIFAR stem" in source
    with pytest.raises(ConfigError, match="leave shortcut, width and init unset"):
        Config(model="hub-resnet18", width=8)


# --- the agenda


def test_the_agenda_has_everything_once_in_the_order_of_telling():
    parts = agenda.parts()
    configs = [config for part in parts for config in part.configs]
    names = [config.run_id for config in configs]
    assert len(names) == len(set(names))
    wanted = [config for step in story.STEPS for config in step.configs.values()]
    wanted += [*paper_runs.configs().values(), *causes.factorial(10).values(), *causes.factorial(100).values()]
    for config in wanted:
        assert config.run_id in names
    assert parts[0].configs[0] == story.step("01_ten_epochs").configs["ResNet-50"]
    assert sum(config.model == "resnet110" and config.iterations == 64_000 for config in configs) == 5


def test_the_cost_of_a_run_is_its_images_and_its_evaluations():
    config = Config(epochs=10)
    assert cost.seconds(config, 1_000) == pytest.approx(10 * (50_000 + 10_000 / 3) / 1_000)
    assert cost.seconds(config.replace(iterations=64_000), 1_000) == pytest.approx(
        (64_000 * 128 + 164 * 10_000 / 3) / 1_000, rel=0.01
    )
    rates = cost.rates([config, config.replace(lr=0.2), config.replace(model="plain20")], Choice("cpu", 1, True), print)
    assert len(rates) == 2
    assert all(rate > 1 for rate in rates.values())
