"""What is said of single records is what they say, or names runs that there are."""

import re
from dataclasses import replace

from crafted import RESULT, craft

from resnet_lib.config import Config
from resnet_lib.questions import story
from resnet_lib.records.find import reports_folder
from resnet_lib.report import single_records
from resnet_lib.report.published import CHECKOUT


def records(monkeypatch, *found):
    monkeypatch.setattr(single_records, "published", lambda: list(found))


def told(record, torch="2.15.0+cu132", device="abacus", **result):
    environment = RESULT["environment"] | {"torch": torch, "device_name": device}
    return replace(record, result=record.result | {"environment": environment} | result)


def test_of_nothing_unusual_there_is_nothing_to_know(monkeypatch):
    records(monkeypatch, told(craft(Config(), 0.5)), told(craft(Config(), 0.5, seed=1), "2.15.2"))
    assert single_records.about() == ""


def test_seeds_that_were_trained_with_different_versions_of_torch_are_told(monkeypatch):
    one, two, three = (craft(Config(), 0.5, seed=seed) for seed in range(3))
    records(monkeypatch, told(two, "2.11.0"), told(one), told(three, "2.11.1"))
    name = one.path.name.replace("-s0-", "-*-")
    assert single_records.about() == (
        f"- The 3 runs of `{name}` were not all trained with the same PyTorch: seed 0 with torch 2.15 on abacus; "
        "seeds 1, 2 with torch 2.11 on abacus."
    )


def test_a_run_that_went_on_elsewhere_or_on_changed_code_is_told(monkeypatch):
    record = craft(Config(), 0.5)
    here, there = ({"from_step": step, "torch": "2.15.0", "device_name": name} for step, name in ((0, "a"), (7, "b")))
    first = {"from_step": 0}  # of an early record, whose sessions say nothing more
    for sessions, said in (([here, there], True), ([here, here | {"from_step": 7}], False), ([first, first], False)):
        records(monkeypatch, told(record, sessions=sessions))
        expected = f"- `{record.path.name}` began with torch 2.15 on a, and went on from step 7 with torch 2.15 on b."
        assert single_records.about() == expected * said
    last = record.history[-1]["step"]  # finished elsewhere, after all of its steps
    records(monkeypatch, told(record, sessions=[here, there | {"from_step": last}]))
    assert single_records.about() == ""
    records(monkeypatch, told(record, commit=f"{'0' * 40} with changes"))
    assert single_records.about() == f"- `{record.path.name}` was trained with uncommitted changes."


def test_runs_of_ones_own_are_not_told_of():
    told_of, own = craft(story.TUNED.replace(model="resnet20"), 0.8), craft(Config(epochs=7), 0.5)
    assert [record.path for record in single_records.published()] == [told_of.path]
    assert own.path.exists()


def test_notes_are_of_runs_that_are_published(monkeypatch):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(CHECKOUT / "reports"))
    notes = (reports_folder() / "full" / single_records.NOTES).read_text()
    names = re.findall(r"`([\w*-]+-[0-9a-f]{12})`", notes)
    assert len(names) > 5
    for name in names:
        assert list((reports_folder() / "full" / "runs").glob(f"{name}/result.json")), name
    assert notes.strip() in single_records.about()
