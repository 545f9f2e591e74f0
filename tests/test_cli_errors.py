"""What ends a command has its message and exit code, and what a user can mend no traceback."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from resnet_lib.__main__ import main
from resnet_lib.cli.options import FAILED, use_data
from resnet_lib.config import ConfigError
from resnet_lib.data import sources
from resnet_lib.errors import LabError
from resnet_lib.machine.stop import Stopped
from resnet_lib.runs import experiment


def test_a_home_folder_is_found_where_no_shell_expands_it(monkeypatch):
    monkeypatch.setenv("RESNET_LAB_DATA", "")  # put back afterwards
    use_data(Path("~/images"))
    assert os.environ["RESNET_LAB_DATA"] == os.path.expanduser("~/images")
    with pytest.raises(LabError, match="does not exist"):  # nobody's home
        sources.fetch(Path("~nobody-at-all/images"))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory.\nOf much")])
def test_a_lack_of_memory_is_a_message_wherever_it_comes(monkeypatch, capsys, error):
    monkeypatch.setattr("resnet_lib.__main__.app", lambda: (_ for _ in ()).throw(error))
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == FAILED
    assert "too little memory (" in capsys.readouterr().err


def test_a_relative_folder_is_the_callers_also_in_the_notebooks_kernels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RESNET_LAB_REPORTS", "mine")
    monkeypatch.setenv("RESNET_LAB_CACHE", "~/kept")
    monkeypatch.setattr(sys, "argv", ["resnet-lab", "figures", "--profile", "huge"])
    with pytest.raises(SystemExit):
        main()
    assert os.environ["RESNET_LAB_REPORTS"] == str(tmp_path / "mine")
    assert os.environ["RESNET_LAB_CACHE"] == os.path.expanduser("~/kept")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "--model", "resnet21"], 2, "'resnet21' is unknown"),
        (["run", "--epochs", "-1"], 2, "epochs = -1 is not valid"),
        (["run", "--epochs", "two"], 2, "--epochs"),
        (["run", "--lr", "0"], 2, "lr = 0.0 is not valid"),
        (["run", "--milestones", "5,x"], 2, "milestones"),
        (["run", "--set", "depth=3"], 2, "unknown field 'depth'"),
        (["run", "--set", "depth"], 2, "name=value"),
        (["run", "--set", "lr=0.1", "--set", "lr=0.2"], 2, "--set lr is given twice"),
        (["run", "--lr", "0.1", "--set", "lr=0.2"], 2, "lr is given twice: leave --set lr out"),
        (["run", "--profile", "huge"], 2, "'huge' is not one of 'smoke'"),
        (["run", "--recipe", "slow"], 2, "recipe = 'slow' is not valid: choose paper or fast"),
        (["run", "--recipe", "paper", "--set", "model=[1]"], 2, "model = [1] is not valid"),
        (["run", "--recipe", "paper", "--epochs", "5"], 2, "leave epochs out: recipe 'paper' counts iterations"),
        (["run", "--epochs", "5", "--iterations", "9"], 2, "epochs and iterations are both a length"),
        (["run", "--recipe", "paper", "--set", "iterations=640"], 2, "drops at 32000,48000 of 64000 iterations"),
        (["run", "--device", "tpu"], 1, "'tpu' is not available"),
        (["eval", "nowhere.safetensors"], 1, "not a file"),
        (["report", "--only", "99_nothing"], 1, "no notebook '99_nothing'"),
        (["data", "--data", "/nowhere"], 1, "/nowhere"),
        (["data", "--data", "/nowhere", "pack", "parts"], 1, "/nowhere"),
        (["data", "unpack", "/nowhere"], 1, "/nowhere: does not exist"),
        (["data", "unpack", "/"], 1, "/ holds no parts of CIFAR-10"),
        (["run-many", "/nowhere.json"], 1, "/nowhere.json cannot be read"),
        (["bench", "--device", "tpu"], 1, "'tpu' is not available"),
    ],
)
def test_user_errors_are_one_message_without_a_traceback(
    reports, monkeypatch, capsys, tmp_path, arguments, code, words
):
    monkeypatch.setenv("RESNET_LAB_DATA", "")  # put back afterwards
    monkeypatch.setenv("RESNET_LAB_CACHE", str(tmp_path / "empty"))
    monkeypatch.setattr(sys, "argv", ["resnet-lab", *arguments])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == code
    assert words in capsys.readouterr().err
    assert not reports.exists()


def raising(error):
    def run(*arguments):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("no such thing"), 2, "error: no such thing"),
        (LabError("no such file"), 1, "error: no such file"),
        (OSError(28, "No space left on device"), 1, "No space left on device; when that is mended, call it again"),
        (
            ModuleNotFoundError("No module named 'seaborn'", name="seaborn"),
            1,
            "pip install -e '.[lab,dev]' in the clone",
        ),
        (KeyboardInterrupt(), 130, "interrupted; call it again: nothing that was finished or saved is lost"),
        (Stopped("stopped at step 3"), 75, "stopped at step 3"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_ends_a_command_has_its_message_and_exit_code(monkeypatch, capsys, error, code, words):
    monkeypatch.setattr(experiment, "run", raising(error))
    monkeypatch.setattr(sys, "argv", ["resnet-lab", "run"])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == code
    assert words in capsys.readouterr().err


def test_a_module_that_this_library_lacks_is_no_fault_of_the_installation(monkeypatch):
    monkeypatch.setattr(experiment, "run", raising(ModuleNotFoundError("No module", name="resnet_lib.gone")))
    monkeypatch.setattr(sys, "argv", ["resnet-lab", "run"])
    with pytest.raises(ModuleNotFoundError):
        main()


def test_a_runtime_error_that_is_no_lack_of_memory_is_raised(monkeypatch):
    def broken():
        raise RuntimeError("on purpose")

    monkeypatch.setattr("resnet_lib.__main__.app", broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        main()
