"""The command line, run as a user runs it."""

import json
import multiprocessing
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import faults
import psutil
import pytest
import torch
import typer
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from resnet_lib.__main__ import app, main
from resnet_lib.cli.options import FAILED, REFUSED, use_data
from resnet_lib.config import Config, ConfigError
from resnet_lib.data import sources
from resnet_lib.errors import LabError
from resnet_lib.machine import device
from resnet_lib.machine.stop import Stopped, StopSignals
from resnet_lib.questions import agenda
from resnet_lib.recipes import RECIPES, recipe
from resnet_lib.records import checkpoint
from resnet_lib.report import lab, verify
from resnet_lib.report.lab import Outcome
from resnet_lib.runs import experiment, many, pool
from resnet_lib.speed import cost


def resnet_lab(*arguments, **environment):
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
    listed = re.findall(r"^│ ([\w-]+) ", result.stdout.partition("Commands")[2], re.MULTILINE)
    assert sorted(listed) == [
        "bench", "data", "diagnose", "eval", "figures", "full", "report", "run", "run-many", "runs", "verify-report",
    ]  # fmt: skip


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
    assert re.search(r"known    recorded on \d{4}-\d\d-\d\d, on .+: nothing was trained now", again.stdout)
    assert "accuracy" in again.stdout


def test_run_says_that_a_record_which_travelled_has_no_weights(trained, tmp_path):
    folder, _ = trained
    (run,) = folder.glob("smoke/runs/*")
    for name in ("config.json", "history.csv", "result.json", "predictions.npz"):
        (tmp_path / "smoke/runs" / run.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(run / name, tmp_path / "smoke/runs" / run.name)
    result = resnet_lab("run", "--model", "resnet8", "--profile", "smoke", RESNET_LAB_REPORTS=str(tmp_path))
    assert result.returncode == 0
    assert "weights  not kept" in result.stdout


def test_eval_as_run_prints_it_gives_the_accuracy_of_the_run(trained):
    _, printed = trained
    command = re.search(r"next     resnet-lab (eval .+)", printed)[1]
    same_accuracy(resnet_lab(*shlex.split(command)), printed)


def test_eval_of_a_checkpoint(trained, tmp_path):
    folder, printed = trained
    (path,) = folder.glob("smoke/runs/*/weights.safetensors")
    config = json.loads(path.with_name("config.json").read_text())
    checkpoint.save(tmp_path / "checkpoint.pt", {"model": load_file(path), "config": config})
    (tmp_path / "config.json").write_text("{}")  # another's
    same_accuracy(resnet_lab("eval", str(tmp_path / "checkpoint.pt"), "--set", "seed=1"), printed)


def same_accuracy(result, printed):
    assert result.returncode == 0, result.stderr
    line = next(line for line in printed.splitlines() if line.startswith("│ accuracy"))
    assert line in result.stdout


def test_eval_refuses_weights_of_another_network(trained):
    folder, _ = trained
    (path,) = folder.glob("smoke/runs/*/weights.safetensors")
    result = resnet_lab("eval", str(path), "--model", "resnet14")
    assert result.returncode == 1
    assert "does not fit resnet14" in result.stderr


def test_eval_of_foreign_weights_says_what_they_lack_and_never_to_delete_them(tmp_path):
    torch.save({"a": torch.zeros(1)}, tmp_path / "mine.pth")
    save_file({"a": torch.zeros(1)}, tmp_path / "mine.safetensors")
    for name, words in (
        ("mine.pth", "mine.pth is not a whole checkpoint of this lab"),
        ("mine.safetensors", "does not tell which network it belongs to: add --model"),
    ):
        result = resnet_lab("eval", str(tmp_path / name))
        assert result.returncode == 1
        assert words in result.stderr
        assert "delete" not in result.stderr


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
        (["data", "unpack", "/nowhere"], 1, "/nowhere"),
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


# --- what the options of `run` ask for

FIELDS = {
    "--model": ("plain8", {"model": "plain8"}),
    "--epochs": ("3", {"epochs": 3}),
    "--iterations": ("77", {"iterations": 77}),
    "--lr": ("0.3", {"lr": 0.3}),
    "--milestones": ("5,7", {"milestones": (5, 7)}),
    "--schedule": ("cosine", {"schedule": "cosine"}),
    "--batch-size": ("64", {"batch_size": 64}),
    "--weight-decay": ("0.01", {"weight_decay": 0.01}),
    "--momentum": ("0.5", {"momentum": 0.5}),
    "--nesterov": (None, {"nesterov": True}),
    "--crop": ("2", {"crop": 2}),
    "--flip": (None, {"flip": True}),
    "--precision": ("bf16", {"precision": "bf16"}),
    "--split": ("train45k", {"split": "train45k"}),
    "--seed": ("6", {"seed": 6}),
    "--set": ("label_smoothing=0.1", {"label_smoothing": 0.1}),
}
OTHERS = ("--recipe", "--profile", "--device", "--threads", "--compile", "--deterministic", "--data")


@pytest.fixture
def asked_for(monkeypatch):
    """The config, profile and choice that `resnet-lab run` with some options would train."""
    seen = []

    def note(*arguments):
        seen.append(arguments)
        raise typer.Exit

    def run(*options):
        CliRunner().invoke(app, ["run", *options], catch_exceptions=False)
        return seen.pop()

    monkeypatch.setattr(experiment, "run", note)
    return run


def test_every_option_of_run_is_looked_at_here():
    options = typer.main.get_command(app).commands["run"].params
    assert {option.opts[0] for option in options} == {*FIELDS, *OTHERS}


@pytest.mark.parametrize("option", FIELDS)
def test_an_option_of_run_is_its_field_of_the_config(asked_for, option):
    value, fields = FIELDS[option]
    config, profile, _ = asked_for(option, *filter(None, [value]))
    assert config == Config(**fields) != Config()
    assert profile == "full"


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        ("--recipe paper --no-flip", {**recipe("paper", "resnet20"), "flip": False}),
        ("--recipe fast --no-nesterov", {**recipe("fast", "resnet20"), "nesterov": False}),
        ("--set milestones=1,2", {"milestones": (1, 2)}),
        ("--set milestones=5", {"milestones": (5,)}),
        ("--set milestones=[1,2]", {"milestones": (1, 2)}),
    ],
)
def test_what_a_recipe_sets_can_be_unset_and_any_field_given(asked_for, options, fields):
    assert asked_for(*options.split())[0] == Config(**fields)


@pytest.mark.parametrize(
    ("recipe", "options", "fields"),
    [
        ("paper", "--iterations 60000 --milestones 30000", {"iterations": 60_000, "milestones": (30_000,)}),
        ("paper", "--crop 0 --set normalize=channel", {"crop": 0, "normalize": "channel"}),
        ("paper", "--schedule cosine --iterations 9", {"schedule": "cosine", "iterations": 9, "milestones": ()}),
        ("fast", "--epochs 3 --lr 0.3 --weight-decay 0", {"epochs": 3, "lr": 0.3, "weight_decay": 0.0}),
        ("fast", "--schedule cosine --flip", {"schedule": "cosine", "flip": True}),
        ("fast", "--precision fp32", {"precision": "fp32"}),
        ("fast", "--set muon_lr=null --set nesterov=false", {"muon_lr": None, "nesterov": False}),
    ],
)
def test_options_override_the_recipe_and_the_rest_of_it_stays(asked_for, recipe, options, fields):
    assert asked_for("--recipe", recipe)[0] == Config(**RECIPES[recipe])
    assert asked_for(*options.split(), "--recipe", recipe)[0] == Config(**RECIPES[recipe] | fields)


def test_the_profile_of_a_run_makes_it_small_and_is_where_it_goes(asked_for):
    config, profile, _ = asked_for("--profile", "smoke", "--lr", "0.3")
    assert config == Config(lr=0.3).at("smoke")
    assert profile == "smoke"


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [("--threads 3", "threads", 3), ("--deterministic", "deterministic", True), ("--device cpu", "device", "cpu")],
)
def test_what_a_run_is_trained_with_is_as_asked(asked_for, options, name, value):
    assert getattr(asked_for("--device", "cpu", *options.split())[2], name) == value


@pytest.mark.parametrize("compile", [True, False])
def test_a_run_is_compiled_as_asked_whatever_its_length(asked_for, monkeypatch, compile):
    monkeypatch.setattr("resnet_lib.machine.device._compile", lambda device, steps, asked: (asked, "as asked"))
    assert asked_for("--compile" if compile else "--no-compile")[2].compile is compile


def test_images_of_a_folder_are_looked_for_there(asked_for, monkeypatch, tmp_path):
    monkeypatch.setenv("RESNET_LAB_DATA", "elsewhere")  # so that it is put back
    asked_for("--data", str(tmp_path))
    assert os.environ["RESNET_LAB_DATA"] == str(tmp_path)


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ConfigError("no such thing"), 2, "error: no such thing"),
        (LabError("no such file"), 1, "error: no such file"),
        (OSError(28, "No space left on device"), 1, "No space left on device; when that is mended, call it again"),
        (ModuleNotFoundError("No module named 'seaborn'", name="seaborn"), 1, "pip install -e '.[lab]' in the clone"),
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


def raising(error):
    def run(*arguments):
        raise error

    return run


def test_run_many_trains_a_list_and_names_what_is_wrong_in_it(tmp_path):
    configs = tmp_path / "configs.json"
    configs.write_text('[{"model": "resnet8", "seed": 1}, {"model": "resnet8", "sead": 2}]')
    refused = resnet_lab("run-many", str(configs), "--profile", "smoke", RESNET_LAB_REPORTS=str(tmp_path / "reports"))
    assert refused.returncode == 2
    assert "config 2: unknown field 'sead'" in refused.stderr
    assert not (tmp_path / "reports").exists()
    configs.write_text("[]")
    assert "a JSON list of one config or more" in resnet_lab("run-many", str(configs)).stderr
    configs.write_text(
        '[{"model": "resnet8", "seed": 1}, {"model": "resnet8", "seed": 2}, {"seed": 2, "model": "resnet8"}]'
    )
    for jobs in ("2", "1"):
        arguments = ["run-many", str(configs), "--profile", "smoke", "--jobs", jobs, "--threads", "1"]
        result = resnet_lab(*arguments, RESNET_LAB_REPORTS=str(tmp_path / "reports"))
        assert result.returncode == 0, result.stderr
        assert "2 of 2 runs have their record" in result.stdout
    assert len(list((tmp_path / "reports").glob("smoke/runs/*/result.json"))) == 2


def test_run_many_goes_on_after_a_failure_and_ends_with_it(reports, monkeypatch, tmp_path):
    configs = tmp_path / "configs.json"
    configs.write_text('[{"model": "resnet8", "seed": 1}, {"model": "resnet8", "seed": 2}]')
    monkeypatch.setattr(experiment, "run", faults.failing_for(seed=1))
    result = CliRunner().invoke(app, ["run-many", str(configs), "--profile", "smoke"])
    assert result.exit_code == FAILED
    assert "Diverged: on purpose" in result.output
    assert "test accuracy 50.00 %" in result.output
    assert "1 of 2 runs have their record" in result.output


@pytest.mark.parametrize(
    ("options", "threads"), [("", 8), ("--jobs 2", 4), ("--jobs 9", 4), ("--jobs 2 --threads 3", 3)]
)
def test_runs_at_a_time_share_the_threads(reports, monkeypatch, tmp_path, options, threads):
    configs = tmp_path / "configs.json"
    configs.write_text('[{"model": "resnet8", "seed": 1}, {"model": "resnet8", "seed": 2}]')
    seen = []

    def note(configs, profile, choose, executor):
        for config in configs:
            seen.append((choose(config).threads, executor is not None))
            yield config, SimpleNamespace(accuracy=0.5)

    monkeypatch.setattr(many, "run_many", note)
    monkeypatch.setattr(device, "THREADS", 8)
    result = CliRunner().invoke(app, ["run-many", str(configs), "--device", "cpu", *options.split()])
    assert result.exit_code == 0
    assert seen == [(threads, bool(options))] * 2


def test_run_many_hands_on_what_a_broken_pool_no_longer_takes():
    class Broken:
        def submit(self, *arguments):
            raise BrokenProcessPool("a process was killed")

    configs = [Config(seed=seed) for seed in range(2)]
    found = list(many.run_many(configs, executor=Broken()))
    assert [config for config, _ in found] == configs
    assert all(isinstance(outcome, BrokenProcessPool) for _, outcome in found)


@pytest.mark.parametrize(
    ("options", "is_told"), [([], False), (["--profile", "full"], True), (["--profile", "full", "--no-train"], False)]
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
    ],
)
def test_report_executes_the_notebooks_that_are_asked_for_and_trains_unless_told_otherwise(
    reports, monkeypatch, options, asked, fetches
):
    seen, fetched = [], []
    monkeypatch.setattr(sources, "fetch", lambda: fetched.append(1))
    monkeypatch.setattr(lab, "source", lambda name: None)  # for a and b
    monkeypatch.setattr(lab, "report", lambda profile, names, train, *_: seen.append((profile, names, train)) or [])
    assert CliRunner().invoke(app, ["report", *options.split()]).exit_code == 0
    assert seen == [asked]
    assert len(fetched) == fetches


def test_full_says_what_is_missing_and_with_plan_trains_none_of_it(reports, monkeypatch):
    small, large = Config(model="resnet8", epochs=100), Config(model="resnet14", epochs=100)
    trained = []
    monkeypatch.setattr(agenda, "parts", lambda: [agenda.Part("first", (small,)), agenda.Part("second", (large,))])
    monkeypatch.setattr(cost, "images_per_second", lambda config, choice: 1000 if config.model == "resnet8" else 500)
    monkeypatch.setattr(experiment, "run", lambda config, *_: trained.append(config) or SimpleNamespace(accuracy=0.5))
    result = CliRunner().invoke(app, ["full", "--plan"])
    assert result.exit_code == 0
    rows = [re.findall(r"[\w.]+", line) for line in result.output.splitlines() if line.startswith("│")]
    assert rows == [["first", "1", "1", "1.5"], ["second", "1", "1", "3.0"], ["all", "2", "2", "4.4"]]
    assert not trained
    assert not reports.exists()
    assert CliRunner().invoke(app, ["full"]).exit_code == 0
    assert trained == [small, large]


# --- what the commands on the report end with


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


def test_runs_at_a_time_are_no_more_than_are_left_and_share_all_threads(reports, monkeypatch):
    seen = []

    def run_many(configs, profile, choose, executor):
        seen.append((executor, choose(configs[0]).threads))
        outcomes = [SimpleNamespace(accuracy=0.5)] * 2 + [BrokenProcessPool()]
        yield from zip(configs, outcomes, strict=False)

    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda jobs, context, **dealt: nullcontext(jobs))
    monkeypatch.setattr("resnet_lib.machine.device.THREADS", 12)
    monkeypatch.setattr(many, "run_many", run_many)
    configs = [Config(seed=seed) for seed in range(3)]
    list(pool.run_all(configs, "smoke", 8, "cpu", None, print))
    assert seen == [(3, 4), (1, 12)]
    monkeypatch.setattr(experiment, "is_finished", lambda config, profile: config.seed > 0)
    list(pool.run_all(configs[:2], "smoke", 8, "cpu", None, print))
    assert seen[2:] == [(None, 12)]


def test_a_run_whose_process_is_always_killed_does_not_stop_those_behind_it(reports, monkeypatch):
    """One of three ends every pool that it is in: the others come to their end, and it is told of."""
    configs = [Config(seed=seed) for seed in range(3)]

    def run_many(configs, profile, choose, executor):
        for config in configs:
            if config.seed == 0:
                yield from ((one, BrokenProcessPool()) for one in configs)
                return
            yield config, SimpleNamespace(accuracy=0.5)

    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda jobs, context, **dealt: nullcontext(jobs))
    monkeypatch.setattr(many, "run_many", run_many)
    said = []
    outcomes = {config.seed: outcome for config, outcome in pool.run_all(configs, "smoke", 2, "cpu", 1, said.append)}
    assert set(outcomes) == {0, 1, 2}
    assert "if memory lacks again, a smaller batch_size may do" in str(outcomes[0])
    assert [outcomes[seed].accuracy for seed in (1, 2)] == [0.5, 0.5]
    assert [line.partition("; ")[2] for line in said] == ["going on, 1 at a time (3 left)"]


def test_a_signal_that_comes_while_no_outcome_does_stops_all_and_leaves_the_handlers_as_they_were(reports, monkeypatch):
    class Broken:
        """A pool of which a process was killed, and which is asked to stop while the others end."""

        def __enter__(self):
            return self

        def __exit__(self, *_):
            signal.raise_signal(signal.SIGTERM)

    calls = []

    def run_many(configs, *_):
        calls.append(len(configs))
        yield configs[0], BrokenProcessPool()

    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda *_, **__: Broken())
    monkeypatch.setattr(many, "run_many", run_many)
    before = [signal.getsignal(number) for number in StopSignals.SIGNALS]
    with pytest.raises(Stopped, match="stopped by SIGTERM: the same command goes on from what is saved"):
        list(pool.run_all([Config(seed=seed) for seed in range(3)], "smoke", 2, "cpu", 1, pytest.fail))
    assert calls == [3]
    assert [signal.getsignal(number) for number in StopSignals.SIGNALS] == before


def written(file, script):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    return file


def test_processes_end_with_the_one_that_started_them(reports):
    """Killed, it cannot end them: they would wait for more work for ever, and hold what they train."""
    script = (
        "from resnet_lib.config import Config\n"
        "from resnet_lib.runs import pool\n"
        "long = dict(dataset='synthetic', train_images=10_000, test_images=20, model='resnet8', width=4)\n"
        "if __name__ == '__main__':\n"
        "    configs = [Config(**long, batch_size=4, seed=seed) for seed in (1, 2)]\n"
        "    list(pool.run_all(configs, 'full', 2, 'cpu', 1, print))\n"
    )
    file = written(reports / "parent.py", script)
    with subprocess.Popen([sys.executable, str(file)]) as parent:
        deadline = time.monotonic() + 300
        while len(list(reports.glob("full/runs/*/history.csv"))) < 2:  # until both train
            assert time.monotonic() < deadline
            time.sleep(0.1)
        children = psutil.Process(parent.pid).children(recursive=True)
        assert len(children) >= 2
        parent.kill()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    saved = [checkpoint.load(path)["step"] for path in reports.glob("full/runs/*/checkpoint.pt")]
    assert len(saved) == 2
    assert all(step % 2_500 for step in saved)  # within an epoch, where only the signal saves


def test_a_process_that_lost_its_gpu_ends_and_its_runs_go_on_in_others(reports):
    """Those that train beside it end with it, as in any broken pool, and go on from what is saved."""
    script = (
        "from pathlib import Path\n"
        "import torch\n"
        "from resnet_lib.config import Config\n"
        "from resnet_lib.machine import device\n"
        "from resnet_lib.runs import pool\n"
        "from resnet_lib.training import train\n"
        "device.is_lost = lambda name: True\n"
        "fit, lost = train.fit, Path(__file__).with_name('lost')\n"
        "def failing(model, dataset, config, *arguments):\n"
        "    if config.seed == 0 and not lost.exists():\n"
        "        lost.touch()\n"
        "        raise torch.AcceleratorError('CUDA error: an illegal memory access was encountered')\n"
        "    return fit(model, dataset, config, *arguments)\n"
        "train.fit = failing\n"
        "small = dict(dataset='synthetic', train_images=200, test_images=20, model='resnet8', width=4, epochs=1)\n"
        "if __name__ == '__main__':\n"
        "    configs = [Config(**small, seed=seed) for seed in range(3)]\n"
        "    for config, record in pool.run_all(configs, 'full', 2, 'cpu', 1, print):\n"
        "        print(config.seed, record.accuracy)\n"
    )
    file = written(reports / "losing.py", script)
    ended = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True, timeout=300)
    lines = ended.stdout.splitlines()
    assert sorted(line.split()[0] for line in lines if line[:1].isdigit()) == ["0", "1", "2"]
    (told,) = [line for line in lines if "illegal memory access" in line]
    assert "-s0-" in told
    assert any("or by an error of its GPU; going on, 1 at a time" in line for line in lines)


def test_a_child_that_comes_into_being_after_the_signal_is_ended_too():
    with pool._handed_on() as asked:
        signal.raise_signal(signal.SIGTERM)
        late = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
        late.start()
        late.join(20)
    assert asked == ["SIGTERM"]
    assert late.exitcode == -signal.SIGTERM


@pytest.mark.parametrize(
    ("device", "names", "dealt"), [("cuda", ["0", "1"], True), ("cuda", ["0"], False), ("cpu", ["0", "1"], False)]
)
def test_runs_at_a_time_are_dealt_out_to_all_gpus(reports, monkeypatch, device, names, dealt):
    seen = []
    monkeypatch.setattr("resnet_lib.machine.device.choose", lambda *_, **__: SimpleNamespace(device=device))
    monkeypatch.setattr(pool, "gpus", lambda: names)
    monkeypatch.setattr(pool, "ProcessPoolExecutor", lambda *_, **options: seen.append(options) or nullcontext())
    monkeypatch.setattr(
        many, "run_many", lambda configs, *_: [(config, SimpleNamespace(accuracy=0.5)) for config in configs]
    )
    list(pool.run_all([Config(seed=seed) for seed in range(2)], "smoke", 2, device, None, print))
    (options,) = seen
    assert options["initargs"][0] == (names if device == "cuda" else [])
    monkeypatch.setattr(pool, "_end_with_parent", lambda: None)
    monkeypatch.setattr(pool, "take_gpu", lambda names, taken: seen.append(names))
    pool._begin(*options["initargs"])
    assert seen[1:] == [names] * dealt


def test_eval_takes_the_network_that_is_named_where_the_weights_tell_of_none(trained, tmp_path):
    folder, printed = trained
    (path,) = folder.glob("smoke/runs/*/weights.safetensors")
    broken = tmp_path / "weights.safetensors"
    save_file(load_file(path), broken, {"config": '{"modle": "resnet8"}'})
    assert "holds a config that is none" in resnet_lab("eval", str(broken)).stderr
    fields = [f"--set={field}" for field in ("width=4", "dataset=synthetic", "train_images=200", "test_images=100")]
    same_accuracy(resnet_lab("eval", str(broken), "--model", "resnet8", *fields), printed)


def test_eval_of_a_published_run_says_why_there_are_no_weights(tmp_path):
    (tmp_path / "result.json").touch()
    with pytest.raises(LabError, match="most published runs come without their weights"):
        CliRunner().invoke(app, ["eval", str(tmp_path / "weights.safetensors")], catch_exceptions=False)


def test_where_there_is_nothing_to_verify_it_is_said(reports):
    result = CliRunner().invoke(app, ["verify-report", "--profile", "quick"])
    assert result.exit_code == 0
    assert "nothing to verify" in result.output


def test_a_runtime_error_that_is_no_lack_of_memory_is_raised(monkeypatch):
    def broken():
        raise RuntimeError("on purpose")

    monkeypatch.setattr("resnet_lib.__main__.app", broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        main()


@pytest.mark.parametrize("size", ["inf", "nan", "1e308"])
def test_parts_of_no_finite_size_are_refused(monkeypatch, capsys, size, tmp_path):
    monkeypatch.setattr(sys, "argv", ["resnet-lab", "data", "pack", str(tmp_path / "parts"), "--max-mib", size])
    with pytest.raises(SystemExit) as ending:
        main()
    assert ending.value.code == REFUSED
    assert re.search("max_mib = .+ is not valid|Invalid value", capsys.readouterr().err)  # the second is typer's
    assert not (tmp_path / "parts").exists()
