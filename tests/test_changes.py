"""Suspects, accounts of the story and other people's plateaus, from records with a known answer; what is missing."""

import json

import crafted
import numpy as np
import pytest
from crafted import craft, texts, thrice

from resnet_lib.config import Config
from resnet_lib.data import duplicates
from resnet_lib.findings import accounts, comparison, plateaus, purged, single_changes, symptoms
from resnet_lib.findings.judgement import UNDECIDED, Claim
from resnet_lib.questions import agenda, causes, field_guide, story, suspects
from resnet_lib.questions.factorial import turned
from resnet_lib.questions.story import NOT_YET
from resnet_lib.questions.suspects import ADDED, ASSUMED, HYPOTHESES, LEFT_OUT, PAPER
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import bars, outstanding, results
from resnet_lib.speed import cost, measured

# --- suspects


def test_each_suspect_changes_what_it_names_and_no_two_are_the_same_run():
    varied = {
        "ImageNet's stem": ["stem"],
        "crop and flip": ["crop", "flip"],
        "no learning-rate drop": ["milestones"],
        "weight decay 1e-4": ["weight_decay"],
        "learning rate 0.01": ["lr"],
    }
    for configs, changes in ((suspects.one_at_a_time(), varied | ADDED), (suspects.leave_one_out(), LEFT_OUT)):
        base, *_ = configs.values()
        assert len({config.run_id for config in configs.values()}) == len(changes) + 1
        for name, fields in changes.items():
            changed = {field for field in Config.model_fields if getattr(configs[name], field) != getattr(base, field)}
            assert changed == set(fields), name


def test_a_suspect_is_set_against_the_first_row():
    configs = suspects.leave_one_out()
    assert single_changes.table(configs, "full").empty
    craft(configs[PAPER], 0.9)
    craft(configs["no flip"], 0.8)
    table = single_changes.table(configs, "full").set_index("change")
    assert table.loc["no flip", "against the first row"].startswith("-10.0 [")
    assert table.loc["no flip", "against the first row"].endswith("seed spread unknown")
    assert table.loc[PAPER, "against the first row"] == table.loc[PAPER, "interval, all rows at once"] == ""
    assert "no crop" not in table.index
    assert "no crop" in single_changes.lacking(configs, "full")
    assert not {PAPER, "no flip"} & set(single_changes.lacking(configs, "full"))


def test_a_difference_has_one_interval_wherever_it_stands():
    thrice(suspects.changed(), 0.87)
    thrice(suspects.changed(causes.STEM), 0.75, spread=0.004)
    thrice(suspects.one_at_a_time()["in bf16"], 0.86, spread=0.012)
    thrice(suspects.changed(causes.DROPS), 0.77, spread=0.03)  # no drop: its seeds differ more
    thrice(suspects.one_at_a_time()["164 epochs"], 0.88, spread=0.02)  # another length
    table = single_changes.table(suspects.one_at_a_time(), "full").set_index("change")["against the first row"]
    pooled = ((0.001**2 + 0.004**2 + 0.012**2) / 3) ** 0.5
    for name in ("in bf16", "ImageNet's stem"):
        found = comparison.change(suspects.one_at_a_time()[name], suspects.changed())
        assert table[name] == found.without_unit
        assert found.seed_sd == pytest.approx(2**0.5 * pooled)


def test_how_much_seeds_differ_is_known_of_settings_that_are_not_planned_too():
    levels = [causes.TEN, turned(causes.TEN, causes.STEM)]
    thrice(causes.cell(levels[0], 30), 0.8, spread=0.01)
    single = craft(causes.cell(levels[1], 30), 0.7)
    assert comparison.accuracy_of([single], "full").seed_sd == pytest.approx(0.01)
    own = Config(model="resnet32", epochs=40)
    first = thrice(own, 0.8, spread=0.01)
    other = craft(own.replace(lr=0.2), 0.7)
    found = comparison.compare([other], first, "full")
    assert found.seed_sd == pytest.approx(2**0.5 * 0.01)
    assert -comparison.compare(first, [other], "full") == found
    elsewhere = craft(own.replace(model="resnet44"), 0.7)  # of another network nothing is known
    assert comparison.compare([elsewhere], first, "full").seed_sd is None


def test_a_single_run_differs_by_seeds_as_the_first_row_does_if_the_learning_rate_came_down_in_both():
    configs = suspects.one_at_a_time()
    first = thrice(configs[ASSUMED], 0.9)
    few = {name: [craft(configs[name], 0.8)] for name in ("in bf16", "164 epochs", "no learning-rate drop")}

    def sd(name):
        return comparison.difference(few[name], first, "full").seed_sd

    assert sd("in bf16") == sd("164 epochs") == pytest.approx(2**0.5 * 0.001)
    assert sd("no learning-rate drop") is None
    thrice(configs["batch size 512"], 0.7, spread=0.003)
    thrice(story.step("04_torch_hub_check").configs["ResNet-18 (torch.hub)"], 0.8, spread=0.01)  # another network
    pooled = ((0.001**2 + 0.003**2) / 2) ** 0.5
    assert sd("in bf16") == sd("164 epochs") == pytest.approx(2**0.5 * pooled)
    assert sd("no learning-rate drop") is None


FALLING = [1.2, 1.1, 1.0, 0.9, 0.8, 0.7]


@pytest.mark.parametrize(
    ("fitted", "loss", "accuracies", "reading"),
    [
        (0.995, [1.0, 0.5, 0.7, 0.8, 1.0, 1.2], [0.8] * 6, "overfitting"),
        (0.98, [1.0, 0.5, 0.7, 0.8, 1.0, 1.2], [0.8] * 6, "–"),  # not all of them: as a network does that is augmented
        (0.60, FALLING, [0.59] * 6, "underfitting"),
        (0.90, FALLING, [0.5, 0.6, 0.5, 0.7, 0.6, 0.7], "learning rate still high"),
        (0.90, FALLING, [0.2, 0.3, 0.4, 0.5, 0.6, 0.7], "–"),  # changes as much, and never falls back
        (0.95, FALLING, [0.8] * 6, "–"),
    ],
)
def test_curves_are_read_as_a_person_would(fitted, loss, accuracies, reading):
    record = craft(Config(epochs=6), accuracies[-1], loss, fitted=fitted)
    for row, value in zip(record.history, accuracies, strict=True):
        row["test_accuracy"] = value
    found = symptoms.row([record])
    assert found["reading"].endswith(reading)
    assert found["training accuracy, %"] == f"{100 * fitted:.1f}"
    assert symptoms.row([record, record, record]) == found


def test_falls_of_several_runs_do_not_cancel():
    runs = [craft(Config(epochs=6), 0.5, seed=seed) for seed in range(2)]
    for record, values in zip(runs, ([0.5, 0.6] * 3, [0.6, 0.5] * 3), strict=True):
        for row, value in zip(record.history, values, strict=True):
            row["test_accuracy"] = value
    assert symptoms.row(runs)["mean fall, points"] == "5.0"


def test_a_change_that_a_small_profile_does_not_show_has_no_row():
    configs = suspects.one_at_a_time()
    for profile, is_told in (("full", True), ("quick", False)):
        assert ("164 epochs" in single_changes.lacking(configs, profile)) == is_told
        for config in configs.values():
            craft(config.at(profile), 0.5, profile=profile)
        assert ("164 epochs" in set(single_changes.table(configs, profile)["change"])) == is_told


def test_falls_are_looked_for_where_there_are_epochs_enough():
    short, longer = (craft(Config(epochs=n), 0.5) for n in (symptoms.STEPS_SEEN, symptoms.STEPS_SEEN + 1))
    assert [symptoms.row([record])["mean fall, points"] for record in (short, longer)] == ["", "0.0"]


def test_single_changes_are_drawn_run_by_run_the_best_first():
    configs = suspects.one_at_a_time()
    assert bars.changes("full") is None
    thrice(configs[suspects.ASSUMED], 0.87)
    assert bars.changes("full") is None  # nothing to set beside it
    craft(configs["crop and flip"], 0.91)
    craft(configs["ImageNet's stem"], 0.75)
    (axes,) = bars.changes("full").axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["crop and flip", suspects.ASSUMED, "ImageNet's stem"]
    drawn = [list(line.get_xdata()) for line in axes.lines if line.get_marker() in "oD"]
    assert [len(runs) for runs in drawn] == [1, 3, 1]
    assert drawn[2] == [pytest.approx(75)]
    assert {"91.0 % (n = 1)", "story: 80 %", "paper: 91.25 %"} <= {text.get_text() for text in axes.texts}


# --- accounts of the story


def flat(hypothesis):
    return {label: config for told in hypothesis.configs().values() for label, config in told.items()}


def test_a_small_profile_draws_single_changes_without_what_is_told_of_others():
    for config in (suspects.changed(), suspects.changed(causes.STEM)):
        craft(config.at("quick"), 0.2, profile="quick")
    assert "story: 80" not in texts(bars.changes("quick"))
    assert "Grey band" not in bars.changes_caption("quick")
    assert "Grey band" in bars.changes_caption("full")


def test_an_account_assumes_the_same_of_all_runs_that_it_is_about():
    told, late, *_, stem, both = HYPOTHESES
    stem_and_augmentation = turned(causes.HUNDRED, causes.STEM, causes.AUGMENTATION)
    ten, *hundred = flat(late).values()
    assert ten.run_id == flat(told)["ResNet-50"].run_id  # whose drops never come anyway
    assert all(config.milestones == () for config in hundred)
    assert {label for label, config in flat(stem).items() if config != flat(told)[label]} == {"ResNet-20, 100 epochs"}
    assert all(config.flip and config.crop for config in flat(both).values())
    assert flat(both)["ResNet-20, 100 epochs"] == causes.cell(stem_and_augmentation, 100)


def test_an_account_is_scored_by_what_is_recorded(monkeypatch):
    monkeypatch.setattr(crafted, "IMAGES", 10_000)
    told = HYPOTHESES[0]
    for label, right in (("ResNet-50", 0.574), ("ResNet-20, 100 epochs", 0.80)):
        thrice(flat(told)[label], right)
    claims = accounts.observations(told, "full")
    assert [claim.verdict for claim in claims] == ["does not hold", NOT_YET, "holds", NOT_YET, "holds", NOT_YET]
    assert accounts.score(claims) == "2 of 6, 3 open"
    table = accounts.table("full").set_index("assumption")
    assert table.loc[told.name, "03: 80 %, ResNet-20"].startswith("holds (80.0 % [79.")
    assert table.loc[HYPOTHESES[2].name, "holds"] == "0 of 6, 6 open"
    of_cifar_network = next(one for one in HYPOTHESES if one.of_cifar_network)
    assert table.loc[of_cifar_network.name, "01: 50 %, ResNet-50"] == "does not hold (as in the first row)"
    hub = "04: 83 %, ResNet-50 (torch.hub) or ResNet-18 (torch.hub)"
    for label in ("ResNet-50 (torch.hub)", "ResNet-18 (torch.hub)"):
        folder = RunFolder.of(flat(told)[label], "full")
        folder.start()
        folder.mark_diverged({"step": 900, "lr": 0.1})
        row = accounts.table("full").set_index("assumption").loc[told.name]
        assert row[hub].startswith("not yet run (ResNet-50" if "50" in label else "diverged (ResNet-50")
    assert row[hub].endswith("ResNet-18 (torch.hub): diverged, at step 900 (lr 0.1))")
    assert row["holds"] == "2 of 6, 2 open"
    thrice(flat(HYPOTHESES[2])["ResNet-18 (torch.hub)"], 0.83)  # one of the two is enough
    row = accounts.table("full").set_index("assumption").loc[HYPOTHESES[2].name]
    assert row[hub].startswith("holds (ResNet-18 (torch.hub): holds, 83.0 % [")


def test_how_far_an_account_is_off_is_told_once_it_has_all_of_its_runs(monkeypatch):
    told = HYPOTHESES[0]
    for label, right in (("two LR drops, more weight decay", 0.81), ("ResNet-18 (torch.hub)", 0.80)):
        craft(flat(told)[label], right)
    assert accounts.farthest(told, "full") is None
    craft(flat(told)["ResNet-20, 100 epochs"], 0.87)
    assert accounts.farthest(told, "full") == pytest.approx(7)
    assert accounts.farthest(told, "quick") is None
    count = len(HYPOTHESES)
    assert accounts.conclusion("full") == f"Records contradict none of the {count} assumptions."
    thrice(flat(told)["ResNet-20, 100 epochs"], 0.87)
    assert accounts.conclusion("full") == (
        f"Records contradict 1 of the {count} assumptions, the lab's own first one among them: “{told.name}”."
    )
    assert "farthest from 82, 80 and 83 %, points" in accounts.table("full").columns
    assert "farthest from 82, 80 and 83 %, points" not in accounts.table("quick").columns
    monkeypatch.setattr(accounts, "observations", lambda *of: [Claim("A", "holds")])
    names = "; ".join(f"“{one.name}”" for one in HYPOTHESES)
    assert accounts.conclusion("full") == (
        f"Records contradict none of the {count} assumptions. {count} agree with all that was told: {names}."
    )


def test_an_account_says_of_a_single_run_that_its_interval_leaves_seeds_out():
    craft(flat(HYPOTHESES[0])["ResNet-50"], 0.5)
    table = accounts.table("full").set_index("assumption")
    assert table.loc[HYPOTHESES[0].name, "01: 50 %, ResNet-50"].endswith("(over images alone))")


# --- the field guide


def test_where_numbers_come_from_is_told_of_every_run_that_the_tables_show():
    *_, account = flat(HYPOTHESES[0]).values()
    first_rows = [suspects.one_at_a_time()[ASSUMED], suspects.leave_one_out()[PAPER]]
    told = [*first_rows, *causes.square().values(), *field_guide.configs().values(), account]
    for config in told:
        craft(config, 0.5)
    found = single_changes.shown("full").values()
    assert {record.path.name for records in found for record in records} == {config.run_id for config in told}


def test_a_plateau_is_the_same_where_the_whole_interval_lies_on_it(monkeypatch):
    monkeypatch.setattr(crafted, "IMAGES", 10_000)
    configs = field_guide.configs()
    thrice(configs["kuangliu/pytorch-cifar #2"], 0.885)
    thrice(configs["PyTorch forum 135051"], 0.91)
    table = plateaus.table("full").set_index("thread")["our run"]
    same = table["[kuangliu/pytorch-cifar #2](https://github.com/kuangliu/pytorch-cifar/issues/2)"]
    assert same.endswith("100 epochs: 88.5 %, n = 3; the same accuracy: yes")
    other = table["[PyTorch forum 135051](https://discuss.pytorch.org/t/135051)"]
    assert other.endswith(": 91.0 %, n = 3; the same accuracy: no")
    assert sum(ours.endswith(NOT_YET) for ours in table) == len(configs) - 2
    small = configs["kuangliu/pytorch-cifar #2"].at("quick")
    craft(small, 0.885, profile="quick")
    quick = plateaus.table("quick").set_index("thread")["our run"]
    same = quick["[kuangliu/pytorch-cifar #2](https://github.com/kuangliu/pytorch-cifar/issues/2)"]
    assert same.endswith(UNDECIDED)
    assert "5 epochs, train_images 1000" in same
    assert not any("100 epochs" in ours for ours in quick)


# --- near-duplicates


def test_leaving_near_duplicates_out_changes_the_accuracy_by_what_they_gave(monkeypatch):
    in_part = craft(Config(lr=0.2), 0.5)
    monkeypatch.setattr(crafted, "IMAGES", 10_000)
    runs = {"a run": [craft(Config(), 0.5)], "validation": [craft(Config(split="train45k"), 0.5)]}
    assert purged.sentence(runs).endswith(f"{NOT_YET}; `resnet-lab data duplicates` looks for them.")
    known = np.arange(1_000)  # the first half is right
    duplicates.write(duplicates.Pairs(known, known, known > 0, np.ones(1_000, np.float32)), duplicates.path())
    (row,) = purged.table({"a run": runs["a run"]}).to_numpy()
    assert list(row) == ["a run", "50.0", f"{100 * 4_000 / 9_000:.1f}", "100.0", "1"]
    assert "by -5.56 points (mean of 1 run," in purged.sentence({"a run": runs["a run"]})
    duplicates.write(duplicates.Pairs(*(column[:0] for column in (known, known, known > 0, known))), duplicates.path())
    assert purged.sentence({"a run": runs["a run"]}).startswith("0 of the 10,000")
    assert purged.sentence({"a run": []}).endswith(f"training images: {NOT_YET}.")
    assert purged.sentence({"a part of the images": [in_part]}).endswith("that were evaluated on all test images.")


# --- what is missing


def test_what_is_missing_is_the_agenda_less_what_is_recorded():
    everything = [config.run_id for part in agenda.parts() for config in part.configs]
    assert [config.run_id for config in outstanding.to_train()] == everything
    craft(causes.factorial(10)[causes.PAPER], 0.5)
    assert len(outstanding.to_train()) == len(everything) - 1
    table = outstanding.table(lambda config: 1e6).set_index("part")
    # Twenty cells and two more seeds of five of them, but for the story's own ResNet-20, which is in another part.
    assert list(table.loc["05, factorial, ten epochs"]) == ["27", "26", f"{26 * (10 * 53_333 / 1e6) / 3600:.1f}"]
    assert table.loc["all", "not yet run"] == str(len(everything) - 1)


def test_without_a_whole_benchmark_the_readme_names_no_cost(reports):
    assert results.unfinished() == "No benchmark says yet what it would cost."


def test_costs_are_told_for_the_cpu_that_was_measured_last(reports, monkeypatch):
    told = []
    monkeypatch.setattr(
        "resnet_lib.report.outstanding.outstanding_markdown", lambda bench: told.append(bench) or "told"
    )
    (reports / "bench").mkdir(parents=True)
    for name, date, device, models in [
        ("a", "2026-01-01", "cpu", ["resnet20", "resnet50"]), ("b", "2026-01-03", "cpu", ["resnet20", "resnet50"]),
        ("c", "2026-01-05", "cuda", ["resnet20", "resnet50"]), ("d", "2026-01-04", "cpu", ["resnet20"]),
        ("e", "2026-01-06", "cpu", ["resnet20", "resnet50"]),
    ]:  # fmt: skip
        content = {"date": date, "environment": {"device": device}, "networks": dict.fromkeys(models)}
        content |= {"precision": "fp32"} if name != "e" else {}
        (reports / "bench" / f"{name}.json").write_text(json.dumps(content))
    assert list(measured.benchmarks(reports / "bench")) == ["e", "c", "d", "b", "a"]
    assert results.unfinished() == "told"
    assert [bench["date"] for bench in told] == ["2026-01-03"]


def test_a_network_that_was_not_measured_runs_at_the_arithmetic_rate_of_the_most_similar_one():
    def rung(name, *rates):
        return {"name": name, "images_per_second": list(rates)}

    flops = {model: cost.flops_per_image(Config(model=model)) for model in ("resnet20", "resnet110", "resnet50")}
    networks = {
        "resnet20": [rung("conventional", 400), rung("ours", 900, 1_000, 1_100)],
        "resnet110": [rung("ours", 100)],
        "resnet50": [rung("ours", 300)],
    }
    in_fp32 = {"networks": networks, "flops_per_image": flops, "precision": "fp32"}
    bench = in_fp32 | {
        "precision": "bf16",
        "tried": [rung("torch.compile", 1_100), rung("fp32", 700)],
    }  # as ours is, but for bf16
    assert cost.expected(Config(model="resnet20"), in_fp32) == pytest.approx(1_000)
    assert cost.expected(Config(model="resnet20"), bench) == pytest.approx(700)
    assert cost.expected(Config(model="plain110"), in_fp32) == pytest.approx(100, rel=0.01)
    assert cost.expected(Config(model="resnet50"), bench) == pytest.approx(210)
    step_by_step = [rung("conventional", 100), rung("channels_last", 120), rung("bf16", 240), rung("fused SGD", 300)]
    own = bench | {"networks": networks | {"resnet50": step_by_step}}
    assert cost.expected(Config(model="resnet50"), own) == pytest.approx(150)
    assert cost.expected(Config(model="resnet20"), own) == pytest.approx(700)
    deeper = cost.flops_per_image(Config(model="resnet32")) / flops["resnet20"]
    assert cost.expected(Config(model="resnet32"), bench) == pytest.approx(700 / deeper)
