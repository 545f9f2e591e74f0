"""The promises of the repository itself: what is installed, what imports what, what is committed."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import pytest
import yaml
from checkout import ROOT, tracked
from IPython.core.inputtransformer2 import TransformerManager
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from resnet_lib.report import lab
from resnet_lib.runs import ledger

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = PYPROJECT["project"]
EXTRAS = ("lab", "dev")  # what `make` and environment.yml install besides the dependencies

# From the ground up: a module imports from folders below its own, and from its own without going round in a circle.
FOLDERS = (
    "machine",
    "records",
    "data",
    "models",
    "training",
    "runs",
    "speed",
    "questions",
    "findings",
    "report",
    "cli",
)
ABOVE_ALL = "resnet_lib.__main__"  # the other modules outside folders, config and architecture, are below all
LIBRARY = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in (ROOT / "resnet_lib").rglob("*.py")}
MODULES = {name: path for name, path in sorted(LIBRARY.items()) if path.stem != "__init__"}

# Training runs where there is no Jupyter, no plotting and no torchvision; figures and tables where there is no torch.
NOT_FOR_TRAINING = r"torchvision|pandas|matplotlib|seaborn|jupyter\w*|IPython|ipykernel|papermill|nb\w+|typer|rich"
NEEDS_TORCH = ("notebook", "outstanding", "verify")  # of `report`
WITHOUT_TORCH = [
    name
    for name in MODULES
    if name.split(".")[1] in ("questions", "findings", "report") and name.split(".")[-1] not in NEEDS_TORCH
]

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])


# --- the environment


def requirements() -> list[Requirement]:
    lines = [*PYPROJECT["build-system"]["requires"], *PROJECT["dependencies"]]
    for extra in EXTRAS:
        lines += PROJECT["optional-dependencies"][extra]
    return [Requirement(line) for line in lines]


def locked() -> dict[str, list[tuple[str, Marker | None]]]:
    """Name -> (version, where it applies); fails on an entry that is not a pinned and hashed release."""
    entry = re.compile(r"([\w.-]+)==([\w.+!]+)(?: ; (.+?))?(?:\s+--hash=sha256:[0-9a-f]{64})+")
    entries: dict[str, list[tuple[str, Marker | None]]] = {}
    for line in (ROOT / "requirements.lock").read_text().replace("\\\n", " ").splitlines():
        match = entry.fullmatch(line.strip())
        assert match, f"not of the form name==version ; marker --hash=sha256:…: {line[:100]}"
        name, version, marker = match.groups()
        entries.setdefault(canonicalize_name(name), []).append((version, Marker(marker) if marker else None))
    return entries


@pytest.mark.parametrize("python", ["3.11.0", "3.11.9", "3.12.0", "3.13.0", "3.14.0", "3.15.0"])
@pytest.mark.parametrize("platform", ["linux", "darwin"])
def test_the_lock_covers_every_requirement(python: str, platform: str) -> None:
    here = {"python_full_version": python, "python_version": python[:4], "sys_platform": platform}
    entries = locked()
    for requirement in requirements():
        found = entries.get(canonicalize_name(requirement.name), [])
        versions = [version for version, marker in found if marker is None or marker.evaluate(here)]
        assert len(versions) == 1, f"{requirement.name}: {versions or 'absent'}; call `make lock`"
        assert requirement.specifier.contains(versions[0]), (
            f"{requirement} is locked to {versions[0]}; call `make lock`"
        )


def test_conda_installs_what_pyproject_lists() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    assert environment["dependencies"] == [
        f"python{PROJECT['requires-python']}",
        "pip",
        {"pip": [f"-e .[{','.join(EXTRAS)}]"]},
    ]


# --- make, with a stand-in for Python that installs nothing

STAND_IN = """#!/bin/sh
echo "$@" >>"{log}"
case "$*" in
    *"print(*sys.version_info"*) echo "${{VERSION:-3 12}}" ;;
    *find_spec*) exit ${{FOUND:-1}} ;;
    *sys.version_info*) exit ${{TOO_OLD:-0}} ;;
    *" install --require-hashes"*) exit ${{PIP_STATUS:-0}} ;;
    full) exit ${{FULL_STATUS:-0}} ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder, with a space in its name, that `make` takes for a checkout with an empty environment."""
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    folder = tmp_path / "a checkout"
    (folder / ".venv/bin").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, folder)
    for command in ("python", "resnet-lab"):
        (folder / ".venv/bin" / command).write_text(STAND_IN.format(log=folder / command))
        (folder / ".venv/bin" / command).chmod(0o755)
    return folder


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    outer = ("VIRTUAL_ENV", "CONDA_PREFIX", "PYTHON", "PROFILE")
    environment = {name: value for name, value in os.environ.items() if name not in outer}
    return subprocess.run(["make", *arguments], cwd=folder, env=environment | variables, capture_output=True, text=True)


def installs(folder: Path) -> int:
    """How often the locked packages were installed."""
    return (folder / "python").read_text().count(" install --require-hashes") if (folder / "python").exists() else 0


def test_make_lists_its_targets(checkout: Path) -> None:
    listed = re.findall(r"^  make (\w+)\t\S", make(checkout).stdout, flags=re.MULTILINE)
    assert listed == ["help", "report", "full", "test", "soak", "lint", "lab", "lock", "clean", "env"]


def test_make_leaves_an_environment_alone_that_somebody_else_set_up(checkout: Path) -> None:
    assert make(checkout, "env", FOUND="0").returncode == 0
    assert installs(checkout) == 0
    assert not (checkout / ".venv/.resnet-lab").exists()


def test_make_installs_nothing_into_an_environment_with_too_old_a_python(checkout: Path) -> None:
    assert make(checkout, "env", TOO_OLD="1").returncode != 0
    assert installs(checkout) == 0


def test_make_installs_once_and_again_when_the_lock_changes(checkout: Path) -> None:
    assert make(checkout, "report").returncode == 0
    second = make(checkout, "report", "PROFILE=smoke")
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")
    assert installs(checkout) == 1
    assert make(checkout, "full", "PROFILE=smoke").returncode == 0
    assert (checkout / "resnet-lab").read_text().split("\n")[:-1] == [
        "report --profile quick",
        "report --profile smoke",
        "full",
        "figures",
        "report --profile full --no-train",
    ]
    with (checkout / "requirements.lock").open("a") as lock:
        lock.write("\n")
    assert make(checkout, "report").returncode == 0
    assert installs(checkout) == 2


def test_make_installs_again_for_another_python(checkout: Path) -> None:
    for version, count in (("3 12", 1), ("3 12", 1), ("3 13", 2)):  # the system's own was replaced
        assert make(checkout, "env", VERSION=version).returncode == 0
        assert installs(checkout) == count


@pytest.mark.parametrize(
    ("status", "told"), [(1, ["full", "figures", "report --profile full --no-train"]), (75, ["full"])]
)
def test_make_full_shows_what_is_there_after_a_failure_and_not_when_it_is_interrupted(checkout, status, told) -> None:
    assert make(checkout, "full", FULL_STATUS=str(status)).returncode != 0
    assert (checkout / "resnet-lab").read_text().split("\n")[:-1] == told


def test_make_takes_up_a_failed_install(checkout: Path) -> None:
    failed = make(checkout, "report", PIP_STATUS="1")
    assert failed.returncode != 0
    assert "The install is not complete" in failed.stderr
    assert not (checkout / "resnet-lab").exists()
    assert make(checkout, "report").returncode == 0
    assert installs(checkout) == 2


def test_make_makes_the_environment_of_a_moved_checkout_anew(checkout: Path) -> None:
    assert make(checkout, "env").returncode == 0
    moved = checkout.rename(checkout.with_name("moved"))
    refused = make(moved, "env", "PYTHON=no-such-python")
    assert refused.returncode != 0
    assert "Python 3.11 or newer" in refused.stderr
    assert not (moved / ".venv/bin/python").exists()


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_make_uses_an_active_environment_only_if_the_lab_is_installed_there(checkout: Path, variable: str) -> None:
    active = checkout / "active"
    shutil.copytree(checkout / ".venv", active)
    (active / "bin/resnet-lab").write_text(STAND_IN.format(log=checkout / "active-lab"))
    for folder in (active, checkout / "gone"):
        assert make(checkout, "report", **{variable: str(folder)}).returncode == 0
        assert (checkout / ".venv" / ".resnet-lab").exists()
    assert not (checkout / "active-lab").exists()
    assert make(checkout, "report", FOUND="0", **{variable: str(active)}).returncode == 0
    assert (checkout / "active-lab").exists()
    assert not (active / ".resnet-lab").exists()


def test_make_without_a_suitable_python_says_what_to_do(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    refused = make(checkout, "report", "PYTHON=no-such-python")
    assert refused.returncode != 0
    assert "Python 3.11 or newer" in refused.stderr
    assert "make PYTHON=" in refused.stderr
    assert not (checkout / ".venv").exists()


# --- which way imports point


def imported(path: Path) -> set[str]:
    """The modules of the package that a file imports, at any depth in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(), path)):
        assert not getattr(node, "level", 0), f"{path} imports relatively"
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= whole & MODULES.keys() or {node.module}
    return {name for name in names if name.split(".")[0] == "resnet_lib"}


def height(module: str) -> int:
    parts = module.split(".")
    if len(parts) == 2:
        return len(FOLDERS) if module == ABOVE_ALL else -1
    return FOLDERS.index(parts[1])


def test_the_folders_are_known_and_listed_in_their_order() -> None:
    assert {name.split(".")[1] for name in MODULES if name.count(".") == 2} == set(FOLDERS)
    assert tuple(re.findall(r"^\| `(\w+)/` \|", (ROOT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)) == FOLDERS
    for folder in FOLDERS:
        assert ast.get_docstring(ast.parse((ROOT / "resnet_lib" / folder / "__init__.py").read_text())), folder


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    found = imported(MODULES[module])
    assert found <= MODULES.keys(), f"{module} imports what is no module: {found - MODULES.keys()}"
    wrong = [name for name in found if height(name) > height(module)]
    assert not wrong, f"{module} imports {wrong} from above"


def test_imports_do_not_go_round_in_a_circle() -> None:
    list(TopologicalSorter({name: imported(path) for name, path in MODULES.items()}).static_order())


def loaded_by(*modules: str) -> dict[str, set[str]]:
    """The packages that are loaded once each of the modules has been imported, in turn, in a new process."""
    code = """
import importlib, json, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    print(json.dumps([name, sorted({module.split(".")[0] for module in sys.modules})]))
"""
    done = subprocess.run([sys.executable, "-c", code, *modules], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {name: set(packages) for name, packages in map(json.loads, done.stdout.splitlines())}


def test_figures_and_tables_need_no_torch() -> None:
    loaded = loaded_by(*WITHOUT_TORCH)
    assert [*loaded] == WITHOUT_TORCH
    assert next((name for name, packages in loaded.items() if "torch" in packages), None) is None


def test_training_needs_no_jupyter_and_no_plotting() -> None:
    (packages,) = loaded_by("resnet_lib.runs.experiment").values()
    assert "torch" in packages
    assert not [package for package in packages if re.fullmatch(NOT_FOR_TRAINING, package)]


# --- what is committed


def test_no_tracked_file_names_a_registry_or_a_machine() -> None:
    forbidden = (
        r"https?://[^\s\"'<>]*(?:pypi|pythonhosted|npmjs|registry)"  # of packages
        r"|(?<![\w.~])/(?:root|home/\w+|Users/\w+)/"
    )
    if len(ROOT.parts) > 2:  # /data is in many a text that means no machine
        forbidden += rf"|(?<![\w.~]){re.escape(str(ROOT))}\b"
    found = {}
    for path in tracked():
        if match := re.search(forbidden, path.read_text(errors="ignore")):
            found[path.relative_to(ROOT).as_posix()] = match[0]
    assert not found


def test_committed_records_agree_with_themselves(tmp_path: Path) -> None:
    """By what is committed alone: not with the help of a file that only this machine has."""
    for path in tracked("reports/full/runs"):
        (tmp_path / path.parent.name).mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.parent.name)
    folders = sorted(tmp_path.iterdir())
    assert folders
    assert {ledger.entry(folder).state for folder in folders} <= {"finished", "diverged"}
    assert [line for folder in folders for line in ledger.problems(ledger.entry(folder))] == []


# --- the notebooks


def test_every_notebook_is_executed_by_the_report() -> None:
    assert {path.stem for path in NOTEBOOKS} == set(lab.NOTEBOOKS)


@each_notebook
def test_a_notebook_is_valid_and_has_one_parameters_cell(path: Path) -> None:
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    tagged = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]
    assert [cell.cell_type for cell in tagged] == ["code"]


@each_notebook
def test_a_notebook_shows_and_does_not_program(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source))):
                assert not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef), cell.source
                assert getattr(node, "attr", "") != "backward", f"a training loop: {cell.source}"


@each_notebook
def test_a_notebook_carries_only_outputs_that_are_checked(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        is_checked = "nbval-check-output" in cell.metadata.get("tags", [])
        assert bool(cell.get("outputs")) == is_checked, cell.source
