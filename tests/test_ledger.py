"""`resnet-lab runs`: what there is, and whether it agrees with itself."""

from __future__ import annotations

import json
import os
import shutil

import faults
import numpy as np
import pytest
from faults import DISTURBED, in_process
from tiny_runs import CPU
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.cli import options
from resnet_lib.cli.runs import _settings
from resnet_lib.config import Config
from resnet_lib.errors import LabError
from resnet_lib.machine.progress import Progress
from resnet_lib.records import scores
from resnet_lib.records.find import runs_folder
from resnet_lib.records.run_folder import RunFolder
from resnet_lib.runs import experiment, ledger, pool, weights


def runs(*arguments):
    """What `resnet-lab runs` with these arguments ends with, and prints."""
    ended = CliRunner().invoke(app, ["runs", *arguments], catch_exceptions=False)  # a crash would end with FAILED, too
    return ended.exit_code, ended.output


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    """A terminal on which no cell of a table is broken."""
    monkeypatch.setattr(options.out, "_width", 300)


@pytest.fixture(scope="module")
def three_runs(tmp_path_factory):
    """A folder of a finished, an unfinished and a diverged run, and their configs."""
    folder = tmp_path_factory.mktemp("three")
    unfinished = DISTURBED.replace(seed=1)
    diverged = DISTURBED.replace(lr=100.0, weight_decay=1.0, milestones=(), epochs=20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RESNET_LAB_REPORTS", str(folder))
        experiment.run(DISTURBED, choice=CPU, show=Progress())
        in_process(folder, unfinished, at=10)
        with pytest.raises(experiment.Diverged):
            experiment.run(diverged, choice=CPU, show=Progress())
    return folder, (DISTURBED, unfinished, diverged)


@pytest.fixture
def three(three_runs, reports):
    """The folders of a copy of these runs."""
    folder, configs = three_runs
    shutil.copytree(folder, reports)
    return [RunFolder.of(config, "full").path for config in configs]


def test_the_list_tells_what_became_of_every_run(three):
    for name in ("not-a-run", ".ipynb_checkpoints", "only-locked"):
        (three[0].parent / name).mkdir()
    (three[0].parent / "not-a-run" / "config.json").write_text("{")
    (three[0].parent / "only-locked" / "lock").touch()
    states = {entry.path: entry.state for entry in ledger.entries("full")}
    assert [states[path] for path in three] == ["finished", "unfinished", "diverged"]
    assert states.pop(three[0].parent / "not-a-run") == "damaged"
    assert set(states) == set(three)  # what a tool left, or a process that was killed at once, is no run
    code, said = runs()
    assert code == 0
    assert all(path.name in said for path in three)
    assert "unfinished, 2 of 6 epochs" in said
    assert said.endswith("to go on: resnet-lab runs --profile full resume\n")
    with RunFolder.of(DISTURBED.replace(seed=1), "full").lock():
        assert {entry.path: entry.state for entry in ledger.entries("full")}[three[1]] == "running"
    assert "weight_decay" in said
    for arguments in (["--profile", "quick"], ["--profile", "quick", "verify"], ["verify", "--profile", "quick"]):
        said = f"there are no runs at profile quick yet, in {runs_folder('quick')}\n"
        assert runs(*arguments) == (0, said)


def test_a_folder_that_vanishes_or_cannot_be_read_ends_no_list(three, monkeypatch):
    listdir = os.listdir

    def failing(path):
        if path in three[:2]:
            raise FileNotFoundError(path) if path == three[0] else PermissionError(path)
        return listdir(path)

    monkeypatch.setattr(os, "listdir", failing)
    assert {entry.path for entry in ledger.entries("full")} == set(three[1:])


def test_the_list_tells_settings_of_ones_own_at_every_profile():
    assert _settings(Config(lr=0.2).at("quick"), "quick") == "lr 0.2"
    assert _settings(Config(train_images=500, width=8).at("quick"), "quick") == "train_images 500, width 8"


def test_show_prints_what_differs_from_the_defaults(three):
    code, said = runs("show", three[1].name)
    assert code == 0
    assert "unfinished" in said
    assert "lr                   0.05" in said
    assert isinstance(CliRunner().invoke(app, ["runs", "show", "../x"]).exception, LabError)


def test_resume_finishes_what_is_unfinished_and_only_that(three, reports):
    code, said = runs("resume")
    assert code == 0
    assert "1 of 1 runs have their record in" in said
    in_process(reports / "again", DISTURBED.replace(seed=1))
    assert faults.result(reports, DISTURBED.replace(seed=1)) == faults.result(
        reports / "again", DISTURBED.replace(seed=1)
    )
    assert runs("resume")[1].startswith("no run at profile full is unfinished")


def test_a_folder_without_its_config_is_left_out_and_told_of(three):
    (three[1] / "config.json").unlink()
    told = "config.json is missing: restore it, or delete the folder if nothing runs there"
    assert (ledger.entry(three[1]).state, ledger.entry(three[1]).detail) == ("damaged", told)
    result = CliRunner().invoke(app, ["runs", "resume"])
    assert result.exit_code == 0
    assert "left out: 1 damaged, of which `resnet-lab runs` tells" in result.stderr


def test_resume_is_one_process_at_a_time_that_a_pool_can_replace(three, monkeypatch):
    asked = []
    monkeypatch.setattr(pool, "run_all", lambda *arguments: asked.append(arguments[:5]) or iter([]))
    assert runs("resume")[0] == 0
    assert asked == [([DISTURBED.replace(seed=1)], "full", 1, None, None)]


def test_show_tells_of_a_run_without_an_epoch_that_it_has_none(three):
    unfinished = RunFolder.of(DISTURBED.replace(seed=7), "full")
    unfinished.start()
    code, said = runs("show", unfinished.path.name)
    assert (code, "last epoch" in said) == (0, False)
    accuracy = ledger.entry(three[0]).record.accuracy
    assert f"\n  test_accuracy        {accuracy:g}\n" in runs("show", three[0].name)[1]


def test_resume_goes_on_after_a_failure_and_ends_with_it(reports, monkeypatch):
    monkeypatch.setattr("resnet_lib.machine.device.available", lambda: ["cpu"])  # else it trains in another process
    for seed in (1, 2):
        RunFolder.of(DISTURBED.replace(seed=seed), "full").start()
    monkeypatch.setattr(experiment, "run", faults.failing_for(seed=1))
    code, said = runs("resume")
    assert code == options.FAILED
    assert "resnet8-6ep-s1-" in said
    assert "Diverged: on purpose" in said
    assert "1 of 2 runs have their record in" in said


def test_whole_runs_are_verified(three):
    assert [ledger.problems(ledger.entry(path)) for path in three] == [[], [], []]
    assert runs("verify") == (0, "3 of 3 runs are whole and agree with themselves\n")


def changed_result(path, **changes):
    result = json.loads((path / "result.json").read_text())
    (path / "result.json").write_text(json.dumps(result | changes))


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("accuracy", 0.99, "accuracy does not agree"),
        ("loss", 0.01, "loss and the history's last row"),
        ("ece", 0.9, "ece does not agree"),
        ("confusion", [[1]], "per_class_accuracy and confusion are not of 10 classes"),
        ("confusion", [[0] * 10] * 10, "confusion does not agree"),
        ("per_class_accuracy", [1.0] * 10, "per_class_accuracy does not agree"),
        ("training_seconds", 1e6, "training_seconds does not agree"),
        ("fingerprint", "f" * 12, "fingerprint does not agree"),
        ("evaluated_on", "val", "evaluated_on does not agree"),
        ("classes", ["cat"], "per_class_accuracy and confusion are not of 1 classes"),
    ],
)
def test_a_result_that_was_changed_is_found(three, field, value, words):
    changed_result(three[0], **{field: value})
    assert words in "; ".join(ledger.problems(ledger.entry(three[0])))
    assert runs("verify")[0] == 1


def test_a_confidence_that_rounding_took_to_another_bin_is_no_damage(reports):
    confidence = np.array([0.5999, *[0.58] * 10, *[0.65] * 9])  # the first is 0.6 in half precision
    correct = np.array([False] * 11 + [True] * 9)
    was, now = (scores.calibration_error(confidence.astype(kind), correct) for kind in (np.float32, np.float16))
    assert was - now > ledger.ECE_ROUNDING
    assert was - now < ledger._at_edges(confidence.astype(np.float16), correct)
    assert ledger._at_edges(np.full(20, 0.62, np.float16), correct) == 0


def test_predictions_of_classes_that_the_result_does_not_name_are_found(three):
    changed_result(three[0], classes=["cat"], per_class_accuracy=[1.0], confusion=[[1]])
    assert ledger.problems(ledger.entry(three[0])) == ["predictions.npz has classes that the result does not name"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sessions": [{"from_step": 100}]}, "its first session begins after the first epoch"),
        ({"environment": {"device_name": "<script>", "threads": 1, "torch": "2"}}, "environment.device_name"),
        ({"environment": {"device_name": "[a](b:c)", "threads": 1, "torch": "2"}}, "environment.device_name"),
        ({"model_source": "![](b)"}, "model_source"),
    ],
)
def test_a_result_that_pages_cannot_show_is_refused(three, changes, words):
    changed_result(three[0], **changes)
    assert words in ledger.entry(three[0]).detail


def test_other_files_that_were_changed_are_found(three):
    history, predictions = three[0] / "history.csv", three[0] / "predictions.npz"
    lines = history.read_text().splitlines(keepends=True)
    history.write_text("".join(lines[:-1]))
    assert any("history's length" in line for line in ledger.problems(ledger.entry(three[0])))
    np.savez(predictions, **dict(np.load(predictions).items()))  # the same arrays in another file
    assert "predictions.npz is not the file that was written" in ledger.problems(ledger.entry(three[0]))
    (three[1] / "checkpoint.pt").write_bytes(b"")
    assert any("not a whole checkpoint" in line for line in ledger.problems(ledger.entry(three[1])))
    renamed = three[2].rename(three[2].with_name("resnet8-1ep-s0-000000000000"))
    assert ledger.entry(renamed).state == "damaged"  # and nothing that could be resumed
    assert ledger.problems(ledger.entry(renamed)) == [
        f"its config belongs to {three[2].name}: rename or delete the folder"
    ]


@pytest.mark.fault("truncated or bit-flipped checkpoint")
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda whole: whole[:-1], "weights.safetensors is not a whole safetensors file"),
        (lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), "weights.safetensors is not as it was saved"),
        (lambda whole: whole.replace(b'lr\\":0.05', b'lr\\":0.06'), "weights.safetensors belongs to another run"),
    ],
    ids=["truncated", "flipped", "another run's"],
)
def test_weights_that_are_not_those_of_the_run_are_found(three, damage, said):
    kept = three[0] / weights.NAME
    kept.write_bytes(damage(kept.read_bytes()))
    (line,) = ledger.problems(ledger.entry(three[0]))
    assert said in line


def test_a_file_that_cannot_be_read_hides_no_other_run(three):
    """A folder stands for it, for tests may run as one who may read everything."""
    for name in (weights.NAME, "predictions.npz"):
        (three[0] / name).unlink()
        (three[0] / name).mkdir()
    (three[1] / "checkpoint.pt").unlink()
    (three[1] / "checkpoint.pt").mkdir()
    code, said = runs("verify")
    assert code == 1
    assert all(path.name in said for path in three[:2])


def test_a_history_that_cannot_be_read_is_found_in_a_diverged_run_too(three):
    (three[2] / "history.csv").write_bytes(b"epoch\none\n")
    code, said = runs("show", three[2].name)
    assert code == 0
    assert "damaged, history.csv, row 1: " in said
    assert runs("verify")[0] == options.FAILED
