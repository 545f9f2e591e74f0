"""Training and evaluating by the command line, as a user types it."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from types import SimpleNamespace

import faults
import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from resnet_lib.__main__ import app, main
from resnet_lib.cli.options import FAILED
from resnet_lib.errors import LabError
from resnet_lib.records import checkpoint
from resnet_lib.runs import experiment


def resnet_lab(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "resnet_lib", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


@pytest.fixture(scope="module")
def trained_by_command(tmp_path_factory):
    """One tiny training by the command line; its reports folder and what it printed."""
    folder = tmp_path_factory.mktemp("reports")
    result = resnet_lab(
        "run", "--model", "resnet8", "--profile", "smoke", "--threads", "2", RESNET_LAB_REPORTS=str(folder)
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


@pytest.fixture
def called(monkeypatch, capsys):
    """`resnet-lab` called in this process, which saves seconds of imports; as a process of its own would end."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["resnet-lab", *arguments])
        with pytest.raises(SystemExit) as ending:
            main()
        printed = capsys.readouterr()
        return SimpleNamespace(returncode=ending.value.code, stdout=printed.out, stderr=printed.err)

    return call


def same_accuracy(result, printed):
    assert result.returncode == 0, result.stderr
    line = next(line for line in printed.splitlines() if line.startswith("│ accuracy"))
    assert line in result.stdout


def test_help_names_every_command():
    result = resnet_lab("--help")
    assert result.returncode == 0
    listed = re.findall(r"^│ ([\w-]+) ", result.stdout.partition("Commands")[2], re.MULTILINE)
    assert sorted(listed) == [
        "bench", "data", "diagnose", "eval", "figures", "full", "report", "run", "run-many", "runs", "verify-report",
    ]  # fmt: skip


def test_run_prints_metrics_and_what_to_do_next(trained_by_command):
    folder, printed = trained_by_command
    assert "accuracy" in printed
    assert "epoch 2/2" in printed
    assert "resnet-lab eval" in printed
    assert len(list(folder.glob("smoke/runs/*/result.json"))) == 1


def test_run_again_trains_nothing(trained_by_command, called, monkeypatch):
    folder, _ = trained_by_command
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(folder))
    again = called("run", "--model", "resnet8", "--profile", "smoke")
    assert again.returncode == 0
    assert "epoch" not in again.stdout
    assert re.search(r"known    recorded on \d{4}-\d\d-\d\d, on .+: nothing was trained now", again.stdout)
    assert "accuracy" in again.stdout


def test_run_says_that_a_record_which_travelled_has_no_weights(trained_by_command, called, monkeypatch, tmp_path):
    folder, _ = trained_by_command
    (run,) = folder.glob("smoke/runs/*")
    for name in ("config.json", "history.csv", "result.json", "predictions.npz"):
        (tmp_path / "smoke/runs" / run.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(run / name, tmp_path / "smoke/runs" / run.name)
    monkeypatch.setenv("RESNET_LAB_REPORTS", str(tmp_path))
    result = called("run", "--model", "resnet8", "--profile", "smoke")
    assert result.returncode == 0
    assert "weights  not kept" in result.stdout


def test_eval_as_run_prints_it_gives_the_accuracy_of_the_run(trained_by_command):
    _, printed = trained_by_command
    command = re.search(r"next     resnet-lab (eval .+)", printed)[1]
    same_accuracy(resnet_lab(*shlex.split(command)), printed)


def test_eval_of_a_checkpoint(trained_by_command, called, tmp_path):
    folder, printed = trained_by_command
    (path,) = folder.glob("smoke/runs/*/weights.safetensors")
    config = json.loads(path.with_name("config.json").read_text())
    checkpoint.save(tmp_path / "checkpoint.pt", {"model": load_file(path), "config": config})
    (tmp_path / "config.json").write_text("{}")  # another's
    same_accuracy(called("eval", str(tmp_path / "checkpoint.pt"), "--set", "seed=1"), printed)


def test_eval_refuses_weights_of_another_network(trained_by_command, called):
    folder, _ = trained_by_command
    (path,) = folder.glob("smoke/runs/*/weights.safetensors")
    result = called("eval", str(path), "--model", "resnet14")
    assert result.returncode == 1
    assert "does not fit resnet14" in result.stderr


def test_eval_of_foreign_weights_says_what_they_lack_and_never_to_delete_them(called, tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "mine.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "mine.safetensors")
    for name, words in (
        (
            "mine.pth",
            "mine.pth is not a whole checkpoint of this lab; weights of your own are read from a .safetensors",
        ),
        ("mine.safetensors", "does not tell which network it belongs to: add --model"),
    ):
        result = called("eval", str(tmp_path / name))
        assert result.returncode == 1
        assert words in result.stderr
        assert "delete" not in result.stderr


def test_eval_names_what_data_parallel_put_before_names(called, tmp_path):
    save_file({"module.fc.weight": torch.zeros(1)}, tmp_path / "mine.safetensors")
    result = called("eval", str(tmp_path / "mine.safetensors"), "--model", "resnet8")
    assert result.returncode == 1
    assert "take `module.`, which DataParallel puts before all names, from them" in result.stderr


def test_output_that_nobody_reads_any_more_stops_nothing():
    code = "import sys; from resnet_lib.cli.options import out; sys.stdin.read(); [out.print(n) for n in range(9)]; "
    code += "print('on', file=sys.stderr)"
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b"on\n"
    assert process.returncode == 0


def test_eval_takes_the_network_that_is_named_where_the_weights_tell_of_none(trained_by_command, called, tmp_path):
    folder, printed = trained_by_command
    (path,) = folder.glob("smoke/runs/*/weights.safetensors")
    broken = tmp_path / "weights.safetensors"
    save_file(load_file(path), broken, {"config": '{"modle": "resnet8"}'})
    assert "holds a config that is none" in called("eval", str(broken)).stderr
    fields = [f"--set={field}" for field in ("width=4", "dataset=synthetic", "train_images=200", "test_images=100")]
    same_accuracy(called("eval", str(broken), "--model", "resnet8", *fields), printed)


def test_eval_of_a_published_run_says_why_there_are_no_weights(tmp_path):
    (tmp_path / "result.json").touch()
    with pytest.raises(LabError, match="most published runs come without their weights"):
        CliRunner().invoke(app, ["eval", str(tmp_path / "weights.safetensors")], catch_exceptions=False)


def test_run_many_trains_a_list_and_names_what_is_wrong_in_it(reports, called, tmp_path):
    configs = tmp_path / "configs.json"
    configs.write_text('[{"model": "resnet8", "seed": 1}, {"model": "resnet8", "sead": 2}]')
    refused = called("run-many", str(configs), "--profile", "smoke")
    assert refused.returncode == 2
    assert "config 2: unknown field 'sead'" in refused.stderr
    assert not reports.exists()
    configs.write_text("[]")
    assert "a JSON list of one config or more" in called("run-many", str(configs)).stderr
    configs.write_text(
        '[{"model": "resnet8", "seed": 1}, {"model": "resnet8", "seed": 2}, {"seed": 2, "model": "resnet8"}]'
    )
    result = resnet_lab("run-many", str(configs), "--profile", "smoke", "--jobs", "2", "--threads", "1")
    assert result.returncode == 0, result.stderr
    assert "2 of 2 runs have their record" in result.stdout
    assert len(list(reports.glob("smoke/runs/*/result.json"))) == 2


def test_the_version_names_what_a_report_of_a_fault_needs():
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    for told in ("resnet-lab 0.1.0, commit ", f"torch {torch.__version__}, ", ", Python 3.", " threads, "):
        assert told in result.output


def test_run_many_goes_on_after_a_failure_and_ends_with_it(reports, monkeypatch, tmp_path):
    configs = tmp_path / "configs.json"
    configs.write_text('[{"model": "resnet8", "seed": 1}, {"model": "resnet8", "seed": 2}]')
    monkeypatch.setattr(experiment, "run", faults.failing_for(seed=1))
    result = CliRunner().invoke(app, ["run-many", str(configs), "--profile", "smoke", "--device", "cpu"])
    assert result.exit_code == FAILED
    assert "Diverged: on purpose" in result.output
    assert "test accuracy 50.00 %" in result.output
    assert "1 of 2 runs have their record" in result.output
