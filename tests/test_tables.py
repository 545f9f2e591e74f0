"""Tables of records, and the pages of notebooks that show them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from crafted import craft, texts
from faults import FAULTS

from resnet_lib.findings import claims
from resnet_lib.findings.recorded import overlay, recorded_story
from resnet_lib.questions import story
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.report import plots, tables
from resnet_lib.report.notebook import Page

pytestmark = pytest.mark.usefixtures("no_warnings")


def test_finds_every_seed_by_fingerprint(story_runs):
    assert [record.config.seed for record in story_runs["01_ten_epochs"]["ResNet-50"]] == [0, 1]
    assert story_runs["02_hundred_epochs"]["two LR drops"] == []
    labels = [step.label(label) for step in story.STEPS for label in step.configs]
    assert list(overlay(story_runs)) == labels


def test_a_run_that_ends_before_any_drop_belongs_to_every_schedule_of_such(story_runs):
    at_ten, at_hundred = story_runs["01_ten_epochs"]["ResNet-50"], story_runs["02_hundred_epochs"]["no LR drop"]
    assert [record.path for record in at_ten] == [record.path for record in at_hundred]
    assert (len(at_ten[0].config.milestones), at_hundred[0].config.milestones) == (2, ())


def test_a_page_shows_a_run_as_it_asks_for_it_whoever_trained_it(story_runs):
    hundred = story.step("02_hundred_epochs").configs["no LR drop"]
    ((record, _),) = Page("smoke", train=False).run({"no LR drop": hundred}).values()
    assert record.config.milestones == ()
    assert record.path == story_runs["01_ten_epochs"]["ResNet-50"][0].path


def test_a_page_shows_every_recorded_seed_and_says_how_many_configs_have_none(story_runs, monkeypatch):
    shown = []
    monkeypatch.setattr("resnet_lib.report.notebook.display", lambda item, **_: shown.append(item))
    page = Page("smoke", train=False)
    runs = page.run(story.step("03_cifar_architecture").configs)
    assert [[record.config.seed for record in records] for records in runs.values()] == [[0, 1], []]
    page.figure(None, "What would be here.")
    said = [item.data for item in shown]
    assert any(line.startswith("*Not yet recorded: 1 of 2 configurations") for line in said)
    assert said[-1] == "*No figure yet: what it needs is not recorded. What would be here.*"


def test_a_page_says_of_an_empty_table_that_it_is_and_folds_where_its_numbers_come_from(story_runs, monkeypatch):
    shown = []
    monkeypatch.setattr("resnet_lib.report.notebook.display", lambda item, **_: shown.append(item.data))
    page = Page("smoke", train=False)
    shown.clear()
    page.table(pd.DataFrame(), "What would be here.")
    page.table(pd.DataFrame())
    page.table(pd.DataFrame({"a": ["1"]}), "What is here.")
    *said, table = shown
    assert said == ["*What would be here. Not yet run.*", "*Not yet run.*", f"*What is here. ({story.stamp('smoke')})*"]
    assert "<td>1</td>" in table
    page.provenance(story_runs["01_ten_epochs"], {"again": story_runs["01_ten_epochs"]["ResNet-50"]})
    page.provenance({"nothing": []})
    told, how_to_read, nothing, _ = shown[-4:]
    assert "<code>seed sd</code>: the standard deviation over seeds" in how_to_read
    assert "<summary>2 runs, 0.0 hours of training in all</summary><table" in told
    assert all(record.path.name in told for record in story_runs["01_ten_epochs"]["ResNet-50"])
    assert "<summary>0 runs, 0.0 hours of training in all</summary></details>" in nothing


def test_inputs_are_counted_apart_from_the_faults_of_the_soak():
    assert set(tables.INPUTS) < set(FAULTS)
    environment = {"device": "cpu", "device_name": "a CPU", "threads": 2, "torch": "2.11"}
    found = {"date": "2026-11-28", "environment": environment, "minutes": 4, "commit": "0" * 40}
    told = tables.faults_markdown(found | {"faults": {fault: {"tried": 3, "survived": 3} for fault in FAULTS}})
    assert f"{3 * (len(FAULTS) - 2)} injected faults and 6 random or hostile inputs, all survived" in told
    told = tables.faults_markdown(found | {"faults": {fault: {"tried": 3, "survived": 2} for fault in FAULTS}})
    assert f"inputs, {2 * len(FAULTS)} survived" in told


def test_results_show_the_record_or_say_not_yet_run(story_runs):
    table = tables.told_and_measured(story_runs, "smoke").set_index("run")
    mean = np.mean([record.accuracy for record in story_runs["01_ten_epochs"]["ResNet-50"]])
    row = table.loc["ResNet-50"]
    assert row["measured %"] == f"{100 * mean:.1f}"
    assert (row["reported %"], row["n"], row["epochs"], row["images"]) == ("", "2", "2", "200")  # of synthetic images
    assert row["LR drops made"] == "0 of 2"
    assert table.loc["ResNet-50, two LR drops", "measured %"] == "not yet run"
    assert "ResNet-18 (torch.hub)" in table.index  # a label that names its network stays


def test_markdown_has_a_row_a_run_also_where_there_is_no_record():
    craft(story.BASELINE, 0.503)
    text = tables.story_markdown("full")
    rows = [line for line in text.partition("<details>")[0].splitlines() if line.startswith("|")]
    assert len(rows) == 2 + sum(len(step.configs) for step in story.STEPS)
    assert len({row.count("|") for row in rows}) == 1
    assert "| 50 | 50.3 | [4" in rows[2]
    assert sum(" | not yet run | " in row for row in rows) == len(rows) - 3
    assert "bf16" not in text
    craft(story.step("02_hundred_epochs").configs["two LR drops"], 0.8)
    assert " All runs are in fp32, except ResNet-50's 100 epochs (bf16)." in tables.story_markdown("full")


def test_other_parameters_are_not_the_story():
    config = story.BASELINE.replace(milestones=(3, 6))
    record = craft(config, 0.5)
    near, *_ = claims.claims("01_ten_epochs", {"ResNet-50": [record]}, "full")
    assert near.verdict == "not yet run"
    page = claims.page("01_ten_epochs", {"ResNet-50": [record]}, {"ResNet-50": config}, "full")
    _, _, drops, _, others = page.splitlines()
    assert drops.endswith("drops | does not hold | drops after 3 and 6 epochs, the run has 10 |")
    assert others.endswith("“ResNet-50” (`milestones` [3, 6], not [50, 75]).")
    runs = {"ResNet-50": [record]}
    for shown in (runs, {"ResNet-50": []}):  # recorded or not
        table = tables.told_and_measured({"01_ten_epochs": shown}, "full", {"ResNet-50": config.replace(epochs=7)})
        assert table[["reported %", "epochs"]].to_numpy().tolist() == [["", "7"]]
    assert "story" not in texts(plots.curves(runs, "full"))


@pytest.mark.parametrize(("value", "shown"), [(1e-4, "1e-4"), (2.5e-4, "2.5e-4"), (0.0015, "1.5e-3"), (0.0, "0")])
def test_weight_decay_is_shown_as_it_is(value, shown):
    configs = {"ResNet-50": story.BASELINE.replace(weight_decay=value)}
    table = tables.told_and_measured({"01_ten_epochs": {"ResNet-50": []}}, "full", configs)
    assert table["weight decay"].tolist() == [shown]


def test_a_seed_that_diverged_is_counted_beside_those_that_did_not():
    step = story.step("01_ten_epochs")
    config = step.configs[step.headline]
    craft(config, 0.5)
    folder = RunFolder.of(config.replace(seed=1), "full")
    folder.start()
    folder.mark_diverged({"epoch": 3, "step": 900, "lr": 0.1, "loss": "training"})
    table = tables.told_and_measured(recorded_story("full"), "full")
    assert table["n"].tolist()[:2] == ["1, 1 diverged", "0"]
