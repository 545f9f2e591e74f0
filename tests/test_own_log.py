"""Somebody's own log, from the committed records under other names: what it shows, and what it is like."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.config import LabError
from resnet_lib.findings.own_log import nearest, read_log, signs
from resnet_lib.records.record import read_record
from resnet_lib.report import own_log

ROOT = Path(__file__).parents[1]
RUNS = ROOT / "reports" / "full" / "runs"
STORY, NO_DROP, STEM = (f"resnet20-100ep-s0-{name}" for name in ("3d3cdb6f9f73", "ff62a11adcf5", "acbc0ed62f3f"))


@pytest.fixture(autouse=True)
def published(monkeypatch):
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(ROOT / "reports"))


def seen(log):
    return {one.name: one.is_seen for one in signs(log)}


@pytest.mark.parametrize(
    ("run", "high", "overfits", "underfits"),
    [
        (STORY, False, True, False),
        (NO_DROP, True, False, False),
        (STEM, False, False, False),
        ("resnet50-10ep-s1-3f44a9d8a4b7", False, False, True),
    ],
)
def test_a_log_shows_the_signs_of_its_trouble(run, high, overfits, underfits):
    assert list(seen(read_log(RUNS / run / "history.csv")).values()) == [high, overfits, underfits]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_run_is_most_like_those_that_differ_in_their_seed_alone(seed):
    log = read_log(RUNS / STORY.replace("-s0-", f"-s{seed}-") / "history.csv")
    others = [read_record(path) for path in sorted(RUNS.glob("*")) if path != log.path.parent]
    found = nearest(log, others)
    assert found[0][1].config.fingerprint == STORY[-12:]
    assert 0 < found[0][0] < found[1][0]
    assert len({run.config.fingerprint for _, run in found}) == len(found) == 5


def test_the_lab_finds_a_run_of_its_own_again(tmp_path):
    result = CliRunner().invoke(app, ["diagnose", str(RUNS / STORY / "history.csv")], env={"COLUMNS": "250"})
    assert result.exit_code == 0
    assert "random crops and flips (3.)" in result.output
    table = own_log.nearest(read_log(RUNS / STEM / "history.csv"))
    assert table.iloc[0].tolist() == [
        "0.0",
        "ResNet-20, ImageNet's stem, crop and flip, weight decay 5e-4, learning rate 0.1, 2 drops, 100 epochs",
        "82.1 %",
        STEM,
    ]


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
    rows = [own[["epoch", "train_accuracy"]], own[["epoch", "test_accuracy", "test_loss"]]]
    pd.concat(rows).sort_values("epoch", kind="stable").to_csv(tmp_path / "log.csv", index=False)
    log = read_log(tmp_path / "log.csv")
    assert seen(log) == seen(read_log(RUNS / STORY / "history.csv"))
    assert log.history[-1]["test_accuracy"] == own["test_accuracy"].iloc[-1]


def test_what_is_not_in_the_log_is_not_said_to_be_absent(tmp_path):
    pd.read_csv(RUNS / STORY / "history.csv")[["test_accuracy"]].to_csv(tmp_path / "log.csv", index=False)
    log = read_log(tmp_path / "log.csv")
    assert list(seen(log).values()) == [False, None, None]
    assert own_log.signs(log)["seen"].tolist() == ["no", "?", "?"]
    assert own_log.nearest(log).iloc[0]["record"] == STORY


GOOD = ["test_accuracy", *["0.5"] * 12]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "cannot be read as CSV"),
        (["epoch,loss", "1,2"], "no column test_accuracy or val_accuracy, but loss"),
        (GOOD[:9], "has 8 epochs: 10 are needed"),
        ([*GOOD, "much"], "no number in row 13 of test_accuracy"),
        ([*GOOD, "-0.1"], "neither a share nor in %"),
        ([*GOOD, "300"], "neither a share nor in %"),
    ],
)
def test_a_file_that_is_no_such_log_is_refused(tmp_path, lines, words):
    path = tmp_path / "log.csv"
    path.write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(LabError, match=words):
        read_log(path)
    with pytest.raises(LabError, match="cannot be read as CSV"):
        read_log(tmp_path / "none.csv")


def test_a_log_of_another_length_is_compared_with_nothing(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("test_accuracy\n" + "0.5\n" * 1_000)
    result = CliRunner().invoke(app, ["diagnose", str(path)])
    assert "no recorded run is half to twice as long" in result.output
