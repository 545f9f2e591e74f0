"""`resnet-lab bench`: what it warns of, refuses, keeps in its file, and draws."""

from __future__ import annotations

import json
import os

import pandas as pd
import pytest
from tiny_runs import CPU
from typer.testing import CliRunner

from resnet_lib.__main__ import app
from resnet_lib.cli.options import _load_average as load_average
from resnet_lib.cli.options import warn_if_busy
from resnet_lib.config import ConfigError
from resnet_lib.errors import LabError
from resnet_lib.machine.device import THREADS
from resnet_lib.machine.provenance import environment
from resnet_lib.report import bench_facts, bench_tables
from resnet_lib.speed import bench
from resnet_lib.speed.measured import benchmarks


def test_a_busy_machine_is_told_before_anything_is_timed(monkeypatch, capsys):
    for busy, said in ((0.1, ""), (0.9, "busy in the last minute (0.9 processes per core)")):
        monkeypatch.setattr("resnet_lib.cli.options._load_average", lambda busy=busy: busy)
        warn_if_busy("the rates will be too low")
        assert said in (printed := capsys.readouterr().err)
        assert bool(printed) == bool(said)


def test_a_load_is_told_where_the_system_tells_it(monkeypatch):
    assert 0 <= load_average() < 1_000
    monkeypatch.setattr(os, "getloadavg", None)
    monkeypatch.delattr(os, "getloadavg")
    assert load_average() == 0


def test_a_sweep_joins_what_was_measured_on_its_own_machine_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "sweep", lambda choice, say: {"depth": {"20": 100.0}})
    file = tmp_path / "bench.json"
    command = ["bench", "--sweep", "--device", "cpu", "--json", str(file)]
    here = environment(CPU) | {"threads": THREADS}
    kept = {"environment": here, "networks": {}, "date": "before"}
    file.write_text(json.dumps(kept))
    assert CliRunner().invoke(app, command).exit_code == 0
    assert json.loads(file.read_text()) == kept | {"sweep": {"depth": {"20": 100.0}}}
    for content, words in (
        (json.dumps(kept | {"environment": here | {"device_name": "abacus"}}), "was measured on another machine"),
        ("{}", "is not a benchmark's"),
        ('{"sweep": {}}', "is not a benchmark's"),
        ('{"networks"', "is not a benchmark's"),
        ("[]", "is not a benchmark's"),
        ('{"environment": 1, "networks": {}, "date": "before"}', "is not a benchmark's"),
    ):
        file.write_text(content)
        with pytest.raises(LabError, match=words):
            CliRunner().invoke(app, command, catch_exceptions=False)
        assert file.read_text() == content


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--figure", "ladder.jpg"], "ladder.jpg is not the name of a PNG file: let it end in .png"),
        (["--sweep", "--quick"], "--sweep measures all that it has, and draws nothing: leave out --quick and --figure"),
        (["--sweep", "--figure", "ladder.png"], "draws nothing: leave out --quick and --figure"),
        (["--json", "."], "is no file: give the name of one"),
    ],
)
def test_what_a_benchmark_cannot_do_is_refused_before_it_begins(options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "measure", None)
    with pytest.raises(ConfigError, match=words):
        CliRunner().invoke(app, ["bench", *options], catch_exceptions=False)


def test_a_benchmark_measured_anew_keeps_the_sweep_and_the_notes_of_its_machine(tmp_path, monkeypatch):
    here = environment(CPU) | {"threads": THREADS}
    measured = {"environment": here, "networks": {}, "date": "today"}
    monkeypatch.setattr(bench, "measure", lambda choice, quick, say: measured)
    for table in ("ladder", "networks"):
        monkeypatch.setattr(bench_tables, table, lambda result: pd.DataFrame())
    monkeypatch.setattr(bench_facts, "facts", lambda result: [])
    file = tmp_path / "bench.json"
    kept, of_a_whole_one = {"sweep": {"depth": {}}, "noted": ["by hand."]}, {"peak_bytes": {}}
    for options, before, of_before, stays in (
        ([], here, of_a_whole_one, kept),
        ([], here | {"device_name": "abacus"}, of_a_whole_one, {}),
        (["--quick"], here, {}, kept),
    ):
        file.write_text(json.dumps(measured | {"environment": before, "date": "before"} | kept | of_before))
        command = ["bench", *options, "--device", "cpu", "--json", str(file)]
        assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
        assert json.loads(file.read_text()) == measured | stays


@pytest.mark.parametrize("content", ['{"date"', "[]", '{"environment": {}, "networks": {}}'])
def test_a_damaged_benchmark_among_those_measured_is_named(tmp_path, content):
    (tmp_path / "abacus.json").write_text(content)
    with pytest.raises(LabError, match=r"abacus\.json is not a benchmark's: restore or delete it"):
        benchmarks(tmp_path)


def test_a_quick_benchmark_takes_the_place_of_no_whole_one(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "measure", None)
    file = tmp_path / "bench.json"
    whole = json.dumps({"environment": environment(CPU), "networks": {}, "date": "before", "peak_bytes": {}})
    file.write_text(whole)
    with pytest.raises(LabError, match=r"bench\.json is a whole benchmark, more than --quick measures"):
        CliRunner().invoke(app, ["bench", "--quick", "--device", "cpu", "--json", str(file)], catch_exceptions=False)
    assert file.read_text() == whole


def test_a_quick_benchmark_is_printed_kept_and_drawn(small, tmp_path):
    file, figure = tmp_path / "mine" / "bench.json", tmp_path / "drawn" / "ladder.png"  # in folders that are not there
    command = ["bench", "--quick", "--device", "cpu", "--threads", "1", "--json", str(file), "--figure", str(figure)]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0
    kept = json.loads(file.read_text())
    assert all(fact in result.output for fact in bench_facts.facts(kept))
    assert [row["name"] for row in kept["networks"]["resnet20"]] == ["conventional", "ours"]
    assert figure.read_bytes().startswith(b"\x89PNG")
