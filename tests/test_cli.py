"""The command line, run as a user runs it."""

import subprocess
import sys

import pytest


def resnet_lab(*arguments, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-m", "resnet_lib", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=120,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One tiny training by the command line; its reports folder and what it printed."""
    folder = tmp_path_factory.mktemp("reports")
    result = resnet_lab(
        "run", "--model", "resnet8", "--profile", "smoke", "--threads", "2", RESNET_LAB_REPORTS=str(folder)
    )
    assert result.returncode == 0, result.stderr
    return folder, result.stdout


def test_help_names_every_command():
    result = resnet_lab("--help")
    assert result.returncode == 0
    for command in ("data", "run", "eval", "report", "figures"):
        assert command in result.stdout


def test_run_prints_metrics_and_what_to_do_next(trained):
    folder, printed = trained
    assert "accuracy" in printed
    assert "epoch 2/2" in printed
    assert "resnet-lab eval" in printed
    assert len(list(folder.glob("smoke/runs/*/result.json"))) == 1


def test_run_again_trains_nothing(trained):
    folder, _ = trained
    again = resnet_lab("run", "--model", "resnet8", "--profile", "smoke", RESNET_LAB_REPORTS=str(folder))
    assert again.returncode == 0
    assert "epoch" not in again.stdout
    assert "accuracy" in again.stdout


@pytest.mark.parametrize("name", ["weights.safetensors", "checkpoint.pt"])
def test_eval_gives_the_accuracy_of_the_run(trained, name):
    folder, printed = trained
    (path,) = folder.glob(f"smoke/runs/*/{name}")
    result = resnet_lab("eval", str(path), "--model", "resnet8", "--profile", "smoke")
    assert result.returncode == 0, result.stderr
    line = next(line for line in printed.splitlines() if line.startswith("│ accuracy"))
    assert line in result.stdout


def test_eval_refuses_weights_of_another_network(trained):
    folder, _ = trained
    (path,) = folder.glob("smoke/runs/*/weights.safetensors")
    result = resnet_lab("eval", str(path), "--model", "resnet14", "--profile", "smoke")
    assert result.returncode == 1
    assert "does not fit resnet14" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--model", "resnet21"], 2, "'resnet21' is unknown"),
        (["run", "--epochs", "-1"], 2, "epochs = -1 is refused"),
        (["run", "--epochs", "two"], 2, "--epochs"),
        (["run", "--lr", "0"], 2, "lr = 0.0 is refused"),
        (["run", "--milestones", "5,x"], 2, "milestones"),
        (["run", "--set", "depth=3"], 2, "unknown field 'depth'"),
        (["run", "--set", "depth"], 2, "name=value"),
        (["run", "--profile", "huge"], 2, "profile = 'huge' is refused"),
        (["run", "--device", "tpu"], 1, "'tpu' is not available"),
        (["eval", "nowhere.safetensors"], 1, "not a file"),
        (["report", "--only", "99_nothing"], 1, "no notebook '99_nothing'"),
        (["data", "--data", "/nowhere"], 1, "/nowhere"),
    ],
)
def test_user_errors_are_one_message_without_a_traceback(tmp_path, arguments, code, words):
    result = resnet_lab(*arguments, RESNET_LAB_REPORTS=str(tmp_path))
    assert result.returncode == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())
