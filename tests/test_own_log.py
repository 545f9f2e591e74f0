"""Somebody's own log, from the committed records under other names: what it shows, and what it is like."""

from __future__ import annotations

import os
import re
import threading
from dataclasses import replace

import pandas as pd
import pytest
from checkout import ROOT, copy_reports
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.errors import LabError
from resnet_lib.findings.own_log import apart, nearest, read_log
from resnet_lib.findings.own_signs import signs
from resnet_lib.questions import agenda
from resnet_lib.questions.wording import described
from resnet_lib.records.record import read_record
from resnet_lib.report import diagnose

RUNS = ROOT / "reports" / "full" / "runs"
STORY, NO_DROP, STEM_AUGMENTED = (
    f"resnet20-100ep-s0-{name}" for name in ("3d3cdb6f9f73", "ff62a11adcf5", "acbc0ed62f3f")
)
SEEDS = [STORY.replace("-s0-", f"-s{seed}-") for seed in range(3)]
OTHERS = [f"resnet20-100ep-s0-{name}" for name in ("f8609c83b6f1", "5ad066104ac6", "7bfdbb56b34a")]


@pytest.fixture(scope="module")
def committed(tmp_path_factory):
    return copy_reports(tmp_path_factory.mktemp("committed"))


@pytest.fixture(autouse=True)
def published(committed, monkeypatch):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(committed))


def seen(log):
    return {one.name: one.seen for one in signs(log)}


@pytest.mark.parametrize(
    ("run", "high", "overfits", "underfits"),
    [
        (STORY, "no", "yes", "no"),
        (NO_DROP, "yes", "in part", "no"),
        (STEM_AUGMENTED, "no", "no", "no"),
        ("resnet20-100ep-s0-f8609c83b6f1", "no", "no", "no"),  # whose loss rises a little, after all its drops
        ("resnet50-10ep-s1-3f44a9d8a4b7", "yes", "no", "yes"),  # ten epochs at the first rate
        ("resnet20-100ep-s1-5ad066104ac6", "no", "yes", "no"),
    ],
)
def test_a_log_shows_the_signs_of_its_trouble(run, high, overfits, underfits):
    assert list(seen(read_log(RUNS / run / "history.csv")).values()) == [high, overfits, underfits]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_run_is_most_like_those_that_differ_in_their_seed_alone(seed):
    log = read_log(RUNS / SEEDS[seed] / "history.csv")
    others = [read_record(RUNS / name) for name in [*SEEDS, NO_DROP, STEM_AUGMENTED, *OTHERS] if name != SEEDS[seed]]
    found = nearest(log, others)
    assert found[0][1].config.fingerprint == STORY[-12:]
    assert len({run.config.fingerprint for _, run in found}) == len(found) == 5
    seeds = apart(log, others)
    assert 0 < seeds[0] <= seeds[-1] < 1 < found[1][0]  # another setting is further away than another seed


def test_the_lab_finds_a_run_of_its_own_again(tmp_path):
    result = CliRunner().invoke(app, ["diagnose", str(RUNS / STORY / "history.csv")], env={"COLUMNS": "80"})
    assert result.exit_code == 0
    first = "first the stem (checklist 1), and the rate to begin with (checklist 2)"
    assert f"\n    then: {first}; then random crops and flips (checklist 3)\n" in result.output
    assert f"│ {STORY} " in result.output  # whole, to be pasted
    assert re.search(r"Seeds of one setting are \d+\.\d to \d+\.\d apart", result.output)
    own = pd.read_csv(RUNS / STORY / "history.csv")
    own.assign(test_accuracy=0.6 * own["test_accuracy"]).to_csv(tmp_path / "log.csv", index=False)
    _, said = diagnose.nearest(read_log(tmp_path / "log.csv"))
    assert re.search(r"no record is like this log, and the nearest, \d+\.\d points away, is another case", said)
    table, _ = diagnose.nearest(read_log(RUNS / STEM_AUGMENTED / "history.csv"))
    assert table.iloc[0].tolist() == [
        "0.0",
        "ResNet-20, ImageNet's stem, crop and flip, weight decay 5e-4, learning rate 0.1, 2 drops, 100 epochs",
        "82.1 %",
        STEM_AUGMENTED,
    ]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("val/acc", "test_accuracy"),
        ("val_accuracy_epoch", "test_accuracy"),
        ("Val Sparse-categorical accuracy", "test_accuracy"),
        ("categorical_accuracy", "train_accuracy"),
        ("valid/loss", "test_loss"),
    ],
)
def test_columns_are_known_by_the_names_that_frameworks_give_them(tmp_path, name, meant):
    values = {"test_accuracy": 0.5, "train_accuracy": 0.6, "test_loss": 1.0, "lr": 0.1}
    table = pd.DataFrame([values] * 10)
    table.rename(columns={meant: name}).to_csv(tmp_path / "log.csv", index=False)
    assert read_log(tmp_path / "log.csv").history[0] == values


def test_columns_may_have_keras_names_and_be_in_percent(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv")
    log = pd.DataFrame(
        {
            "epoch": own["epoch"],
            "Accuracy": 100 * own["train_accuracy"],
            "val accuracy": 100 * own["test_accuracy"],
            "val-loss": own["test_loss"],
            "learning_rate": own["lr"],
        }
    )
    log.to_csv(tmp_path / "log.csv", index=False)
    assert [one.evidence for one in signs(read_log(tmp_path / "log.csv"))] == [
        one.evidence for one in signs(read_log(RUNS / STORY / "history.csv"))
    ]


def test_an_epoch_may_have_several_rows_of_which_each_says_a_part(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv")
    steps = [own[["epoch"]].assign(train_acc_step=step, train_acc=step) for step in (0.2, 0.4)]
    ends = own[["epoch"]].assign(test_acc_epoch=own["test_accuracy"])
    worse = ends.assign(test_acc_epoch=0.1)  # the last says it
    tested = pd.DataFrame({"epoch": [own["epoch"].iloc[-1]], "valid_acc": [0.9]})  # once, after the training
    rows = pd.concat([*steps, worse, ends, tested]).sort_values("epoch", kind="stable")
    rows.to_csv(tmp_path / "log.csv", index=False)
    log = read_log(tmp_path / "log.csv")
    assert [row["test_accuracy"] for row in log.history] == own["test_accuracy"].tolist()
    assert [row["train_accuracy"] for row in log.history] == pytest.approx([0.3] * 100)


def test_marks_at_the_ends_of_rows_and_commas_in_names_move_no_column(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv")[["epoch", "test_accuracy", "train_loss"]]
    (tmp_path / "log.csv").write_text(own.to_csv(index=False).replace("\n", ",\n").replace("loss,", "loss", 1))
    assert [row["test_accuracy"] for row in read_log(tmp_path / "log.csv").history] == own["test_accuracy"].tolist()
    named = own.rename(columns={"train_loss": "loss, in nats"})
    named.to_csv(tmp_path / "log.csv", index=False, sep=";")
    assert [row["test_accuracy"] for row in read_log(tmp_path / "log.csv").history] == own["test_accuracy"].tolist()
    (tmp_path / "log.csv").write_text(own.to_csv(index=False).replace("\n", ",1\n").replace("loss,1", "loss", 1))
    with pytest.raises(LabError, match="more fields than there are names; if numbers have commas, write points"):
        read_log(tmp_path / "log.csv")


def test_a_log_is_text_whatever_its_name(tmp_path):
    (tmp_path / "log.zip").write_bytes((RUNS / STORY / "history.csv").read_bytes())
    assert len(read_log(tmp_path / "log.zip").history) == 100


@pytest.mark.parametrize("lost", ["nan", "inf", "NaN"])
@pytest.mark.parametrize("column", ["train_loss", "test_loss"])
def test_of_a_training_that_diverged_nothing_else_is_told(tmp_path, column, lost):
    own = pd.read_csv(RUNS / STORY / "history.csv").astype({column: object})
    own.loc[60:, column] = lost
    own.loc[60:, ["test_accuracy", "train_accuracy"]] = 0.1
    own.to_csv(tmp_path / "log.csv", index=False)
    (only,) = signs(read_log(tmp_path / "log.csv"))
    assert (only.name, only.seen) == ("it diverged", "yes")
    assert only.evidence == ("a loss is nan or infinite in the last 40 epochs that have one",)
    assert diagnose.nearest(read_log(tmp_path / "log.csv"))[1] == "It is compared with no record, for none diverged."
    own.loc[99, column] = 1.0  # it came back, or stands for an empty cell
    own.to_csv(tmp_path / "log.csv", index=False)
    assert len(signs(read_log(tmp_path / "log.csv"))) == 3
    for cells in (None, lost, "tensor(0.53)" if column == "train_loss" else 1.0):  # none ever, or such as nobody reads
        own[column] = cells
        own.to_csv(tmp_path / "log.csv", index=False)
        assert len(signs(read_log(tmp_path / "log.csv"))) == 3


def test_nan_may_stand_for_an_empty_cell(tmp_path):
    lines = ["epoch,train_loss,test_loss,val_acc"]
    for epoch in range(12):
        lines += [f"{epoch},0.5,nan,nan", f"{epoch}, nan,0.6,0.5"]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    log = read_log(tmp_path / "log.csv")
    assert (len(log.history), log.lost) == (12, 0)
    assert log.history[0] == {"test_accuracy": 0.5, "test_loss": 0.6}


def test_a_log_may_come_through_a_pipe_or_from_excel(tmp_path):
    text = (RUNS / STORY / "history.csv").read_text()
    expected = read_log(RUNS / STORY / "history.csv").history
    for first, sep in (("sep=;", ";"), ('"sep=|"\r', "|")):
        (tmp_path / "log.csv").write_text(f"{first}\n" + text.replace(",", sep), encoding="utf-8-sig", newline="")
        assert read_log(tmp_path / "log.csv").history == expected
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=(text,), daemon=True)
    writer.start()
    assert read_log(tmp_path / "pipe").history == expected
    writer.join()
    (tmp_path / "log.csv").write_text(text, encoding="utf-16")
    with pytest.raises(LabError, match="not text in UTF-8: save it as CSV in UTF-8"):
        read_log(tmp_path / "log.csv")


def test_a_log_that_was_begun_anew_says_so(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv")
    own[40:].to_csv(tmp_path / "log.csv", index=False)
    log = read_log(tmp_path / "log.csv")
    assert (log.first, log.epochs) == (41, 60)
    assert " The log begins at epoch 41: what came before is not compared." in diagnose.nearest(log)[1]
    assert "The log begins" not in diagnose.nearest(read_log(RUNS / STORY / "history.csv"))[1]


def test_columns_of_one_name_that_nobody_asks_for_are_no_harm(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv").assign(**{"Seconds ": 1.0})
    own.to_csv(tmp_path / "log.csv", index=False)
    assert len(read_log(tmp_path / "log.csv").history) == 100


def test_of_a_loss_that_was_rounded_to_nothing_no_rise_is_told(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv")
    own.loc[50, "test_loss"] = 0
    own.to_csv(tmp_path / "log.csv", index=False)
    overfits = signs(read_log(tmp_path / "log.csv"))[1]
    assert (overfits.seen, overfits.evidence) == ("?", ("test loss: not in the log, or not in every row, or 0 in one",))


def test_only_epochs_with_a_test_accuracy_count(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv")
    own.loc[own["epoch"] % 5 != 0, "test_accuracy"] = None
    own.loc[10, "test_loss"] = own.loc[49, "lr"] = None  # between, and in one that counts
    own.to_csv(tmp_path / "log.csv", index=False, sep=";")
    log = read_log(tmp_path / "log.csv")
    assert (len(log.history), log.epochs) == (20, 100)
    assert sorted(log.history[0]) == ["test_accuracy", "test_loss", "train_accuracy"]
    assert nearest(log, map(read_record, RUNS.iterdir()))[0][1].path.name == STORY  # as long, though of more rows


def test_a_share_may_be_above_one_by_rounding(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv").assign(train_accuracy=1.0000000000000069)
    own.to_csv(tmp_path / "log.csv", index=False)
    assert read_log(tmp_path / "log.csv").history[-1]["train_accuracy"] == 1


def test_all_settings_that_are_planned_are_told_apart():
    planned = {config.fingerprint: config for part in agenda.parts() for config in part.configs}
    told = {described(config) for config in planned.values()}
    assert len(told) == len(planned)


def test_a_rate_that_was_halved_is_a_sign_as_it_says(tmp_path):
    own = pd.read_csv(RUNS / STORY / "history.csv").assign(lr=[0.1] * 50 + [0.05] * 50)
    own.to_csv(tmp_path / "log.csv", index=False)
    rate, *_ = signs(read_log(tmp_path / "log.csv"))
    assert rate.seen == "yes"
    assert rate.evidence[0] == "0.05 at the end, 0.1 at its highest (a sign: half or more)"


@pytest.mark.parametrize("rates", [None, [0.1] * 50 + [0.01] * 50], ids=["no rate in the log", "a rate that dropped"])
def test_an_accuracy_that_keeps_falling_back_is_a_sign_whatever_the_rate(tmp_path, rates):
    own = pd.read_csv(RUNS / NO_DROP / "history.csv")[["test_accuracy"]]
    log = own if rates is None else own.assign(lr=rates)
    log.to_csv(tmp_path / "log.csv", index=False, encoding="utf-8-sig")  # as Excel saves it
    first, *_ = signs(read_log(tmp_path / "log.csv"))
    assert first.seen == "yes"


def test_a_record_too_short_to_have_tenths_is_compared_with_nothing():
    short = replace(read_record(RUNS / STORY), history=read_record(RUNS / STORY).history[:8])
    log = replace(short, history=read_record(RUNS / STORY).history[:10])
    assert nearest(log, [short]) == apart(log, [short, short]) == []


def test_a_long_log_is_read_and_compared_with_every_record_of_its_length(tmp_path, monkeypatch):
    pd.DataFrame({"val_acc": [0.8] * 20_000}).to_csv(tmp_path / "log.csv", index=False)
    log = read_log(tmp_path / "log.csv")
    assert len(log.history) == 20_000
    assert diagnose.nearest(log)[1].startswith("No record is at least half")
    fast = next(RUNS.glob("resnet20-24ep-s0-*"))  # of a recipe, which no part of the agenda has
    log = read_log(fast / "history.csv")
    assert diagnose.nearest(log)[0].iloc[0]["record"] == fast.name


def test_what_is_not_in_the_log_is_not_said_to_be_absent(tmp_path):
    pd.read_csv(RUNS / STORY / "history.csv")[["test_accuracy"]].to_csv(tmp_path / "log.csv", index=False)
    log = read_log(tmp_path / "log.csv")
    assert list(seen(log).values()) == ["?", "?", "?"]
    assert all(one.partition("\n")[0].endswith(": ?") and "then:" not in one for one in diagnose.signs(log))
    assert diagnose.nearest(log)[0].iloc[0]["record"] == STORY


def test_lightnings_learning_rates_are_found_in_rows_of_their_own(tmp_path):
    lines = ["epoch,lr-SGD,step,val_acc"]
    for epoch in range(12):
        lines += [f",{0.1 if epoch < 6 else 0.01},{10 * epoch},", f"{epoch},,{10 * epoch + 9},0.5"]
    (tmp_path / "metrics.csv").write_text("\n".join(lines))
    assert [row["lr"] for row in read_log(tmp_path / "metrics.csv").history] == [0.1] * 6 + [0.01] * 6


def test_an_accuracy_in_a_row_without_an_epoch_is_of_no_other(tmp_path):
    lines = ["epoch,lr,val_acc", *(f"{epoch},0.1,0.5\n,,0.9" for epoch in range(12))]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    assert {row["test_accuracy"] for row in read_log(tmp_path / "log.csv").history} == {0.5}


GOOD = ["test_accuracy", *["0.5"] * 12]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "cannot be read as CSV"),
        (["epoch,loss", "1,2"], "no column test_accuracy or val_accuracy, but epoch, loss"),
        (GOOD[:9], "has a test accuracy in 8 rows: 10 epochs are needed"),
        ([*GOOD, "much"], "has 'much' in the column test_accuracy, which is no number"),
        ([*GOOD, "1.2"], "neither a share nor in %"),
        (["epoch,test_acc", "0,0.1", "1,0.2", "0,0.1"], "comes to its first epoch again"),
        (["epoch,test_acc", "1/20,0.1", "2/20,0.2"], "has '1/20' in the column epoch"),
        (["Test_acc,test acc", "0.1,0.1"], "two columns that mean one thing, Test_acc and test acc: rename one"),
        (["epoch,lr-SGD,lr-Adam,val_acc", "1,0.1,0.1,0.5"], "one thing, lr-SGD and lr-Adam: rename one"),
        ([*GOOD, "-0.1"], "neither a share nor in %"),
        ([*GOOD, "300"], "neither a share nor in %"),
    ],
)
def test_a_file_that_is_no_such_log_is_refused(tmp_path, lines, words):
    path = tmp_path / "log.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(LabError, match=words):
        read_log(path)
    for other, reason in ((tmp_path / "none.csv", "is not there"), (tmp_path, "is a folder")):
        with pytest.raises(LabError, match=f"{reason}: give the path of your log"):
            read_log(other)


def test_a_log_of_another_length_is_compared_with_nothing(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    path.write_text("test_accuracy\n" + "0.5\n" * 1_000)
    result = CliRunner().invoke(app, ["diagnose", str(path)])
    said = "twice as long as this log (taken for 1,000 epochs, one for each row, as there is no column `epoch`)"
    assert f"No record is at least half and at most {said}" in " ".join(result.output.split())
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path))
    result = CliRunner().invoke(app, ["diagnose", str(path)])
    assert "There are no records in" in result.output
