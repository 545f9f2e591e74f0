"""The commands on the report: what they fetch, train and execute, and what they end with."""

from __future__ import annotations

import os
import re
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.cli.options import FAILED
from resnet_lib.config import Config
from resnet_lib.data import sources
from resnet_lib.questions import agenda
from resnet_lib.report import execution, lab, verify
from resnet_lib.report.execution import Outcome
from resnet_lib.runs import experiment
from resnet_lib.speed import cost


@pytest.mark.parametrize(
    ("options", "is_told"),
    [
        ([], False),
        (["--profile", "full"], True),
        (["--profile", "full", "--no-train"], False),
        (["--profile", "full", "--only", "report", "--only", "explore"], False),
    ],
)
def test_report_tells_before_it_trains_for_weeks(reports, monkeypatch, options, is_told):
    monkeypatch.setattr(sources, "fetch", lambda: None)
    monkeypatch.setattr(lab, "report", lambda *_: [])
    result = CliRunner().invoke(app, ["report", *options])
    assert result.exit_code == 0
    assert ("for weeks on a CPU" in result.output) == is_told


@pytest.mark.parametrize(
    ("options", "asked", "fetches"),
    [
        ("", ("quick", lab.NOTEBOOKS, True), 1),
        ("--profile smoke", ("smoke", lab.NOTEBOOKS, True), 0),
        ("--profile full --no-train", ("full", lab.NOTEBOOKS, False), 0),
        ("--only 03_cifar_architecture", ("quick", ("03_cifar_architecture",), True), 1),
        ("--only b --only a --no-train", ("quick", ("b", "a"), False), 0),
        ("--only report", ("quick", ("report",), True), 0),
    ],
)
def test_report_executes_the_notebooks_that_are_asked_for_and_trains_unless_told_otherwise(
    reports, monkeypatch, options, asked, fetches
):
    seen, fetched = [], []
    monkeypatch.setattr(sources, "fetch", lambda: fetched.append(1))
    monkeypatch.setattr(execution, "source", lambda name: None)  # for a and b
    monkeypatch.setattr(lab, "report", lambda profile, names, train, *_: seen.append((profile, names, train)) or [])
    assert CliRunner().invoke(app, ["report", *options.split()]).exit_code == 0
    assert seen == [asked]
    assert len(fetched) == fetches


def test_report_looks_at_images_that_are_given_even_if_it_trains_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_DATA", "")  # put back afterwards
    fetched = []
    monkeypatch.setattr(sources, "fetch", lambda: fetched.append(os.environ["RESNET_LAB_DATA"]))
    monkeypatch.setattr(lab, "report", lambda *_: [])
    assert CliRunner().invoke(app, ["report", "--data", str(tmp_path), "--no-train"]).exit_code == 0
    assert fetched == [str(tmp_path)]


def test_full_says_what_is_missing_and_with_plan_trains_none_of_it(reports, monkeypatch):
    small, large = Config(model="resnet8", epochs=100), Config(model="resnet14", epochs=100)
    trained = []
    monkeypatch.setattr(agenda, "parts", lambda: [agenda.Part("first", (small,)), agenda.Part("second", (large,))])
    monkeypatch.setattr(cost, "images_per_second", lambda config, choice: 1000 if config.model == "resnet8" else 500)
    monkeypatch.setattr(experiment, "run", lambda config, *_: trained.append(config) or SimpleNamespace(accuracy=0.5))
    result = CliRunner().invoke(app, ["full", "--plan", "--device", "cpu"])
    assert result.exit_code == 0
    rows = [re.findall(r"[\w.]+", line) for line in result.output.splitlines() if line.startswith("│")]
    assert rows == [["first", "1", "1", "1.5"], ["second", "1", "1", "3.0"], ["all", "2", "2", "4.4"]]
    assert not trained
    assert not reports.exists()
    assert CliRunner().invoke(app, ["full", "--device", "cpu"]).exit_code == 0
    assert trained == [small, large]


def test_report_ends_with_the_notebooks_that_failed(monkeypatch):
    fine, broken = Outcome("a", "A", None, None, 1.0), Outcome("b", "B", "ZeroDivisionError: by zero", 3, 1.0)
    for outcomes, code in (([fine], 0), ([broken, fine], FAILED)):
        monkeypatch.setattr(lab, "report", lambda *arguments, found=outcomes: found)
        result = CliRunner().invoke(app, ["report", "--profile", "smoke"])
        assert result.exit_code == code
        assert ("ZeroDivisionError" in result.output) == bool(code)


def test_verify_report_ends_with_what_differs(monkeypatch):
    for lines, code in (([], 0), (["README.md: its tables differ"], FAILED)):
        monkeypatch.setattr(verify, "report", lambda *arguments, found=lines: {"2 runs": [], "README.md": found})
        result = CliRunner().invoke(app, ["verify-report"])
        assert result.exit_code == code
        assert ("its tables differ" in result.output) == bool(code)
        assert ("as the records say" in result.output) == (not code)


def test_where_there_is_nothing_to_verify_it_is_said(reports):
    result = CliRunner().invoke(app, ["verify-report", "--profile", "quick"])
    assert result.exit_code == 0
    assert "nothing to verify" in result.output
