"""What the commands share: the options that several have, how they are read, and where output goes."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.table import Column, Table

from resnet_lib.config import Config, ConfigError
from resnet_lib.errors import LabError
from resnet_lib.machine.files import read_json
from resnet_lib.recipes import recipe
from resnet_lib.records.find import runs_folder

# Exit codes: it went wrong; the request was not allowed; stopped as asked, all saved (EX_TEMPFAIL: call again); Ctrl-C
FAILED, REFUSED, STOPPED, INTERRUPTED = 1, 2, 75, 130

BUSY = 0.35  # load per core from which on a measurement may not be alone


class Terminal(Console):
    """Prints what it is given as it is; once nobody reads any more (`| head`), nothing, and the work goes on."""

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, stderr=stderr)

    def on_broken_pipe(self) -> None:
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())  # for Python flushes it at its end


out, err = Terminal(), Terminal(stderr=True)

DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder or archive with CIFAR-10, instead of a download", envvar="RESNET_LAB_DATA"),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps (default: the best available)")]
Threads = Annotated[
    int | None, typer.Option(help="CPU threads per run (default: all, shared by concurrent runs)", min=1)
]
Jobs = Annotated[
    int,  # no pool of processes can be larger on Windows
    typer.Option(help="Concurrent runs, spread over all GPUs; `bench --sweep` shows what helps", min=1, max=61),
]


def switch(name: str, text: str) -> Any:
    """An option that takes no value, and shows no `<bool>` as if it did."""
    return typer.Option(name, help=text, metavar="")


def field(name: str, text: str) -> Any:
    """An option for a field of `Config`, whose default its help tells."""
    default = Config.model_fields[name].default
    return typer.Option(help=text if default is None else f"{text} (default: {default})")


def with_recipe(name: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """The fields of a recipe, if one is named, and over them those that were given.

    Raises ConfigError where epochs were given beside iterations, or would leave drops that belong to another length.
    """
    fields = recipe(name, given.get("model", Config().model)) if name else {}
    if given.get("schedule", "multistep") != "multistep":  # which alone has drops
        fields.pop("milestones", None)
    steps = fields.get("iterations")
    if "epochs" in given and (fields | given).get("iterations"):
        instead = f": recipe '{name}' counts iterations" if steps else ""
        raise ConfigError(f"epochs and iterations are both a length, so leave epochs out{instead}")
    if fields.get("milestones") and "milestones" not in given and given.get("iterations", steps) != steps:
        drops = ",".join(map(str, fields["milestones"]))
        raise ConfigError(f"recipe '{name}' drops at {drops} of {steps} iterations: give milestones for yours, too")
    return fields | given


def integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"milestones = {text!r} is not valid: give whole numbers, as in 50,75") from None


def read_configs(file: Path) -> list[Config]:
    try:
        items = read_json(file)
    except OSError as error:
        raise LabError(f"{file} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise LabError(f"{file} is not JSON: {error}") from None
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"{file} must hold a JSON list of one config or more, each {{field: value}}")
    configs = []
    for number, item in enumerate(items, 1):
        try:
            configs.append(Config(**item))
        except ConfigError as error:
            raise ConfigError(f"{file}, config {number}: {error}") from None
    return configs


def assignments(items: list[str]) -> dict[str, Any]:
    """`["stem=imagenet", "width=8"]` -> {"stem": "imagenet", "width": 8}."""
    fields = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item!r} is not valid: give name=value")
        if name in fields:
            raise ConfigError(f"--set {name} is given twice: leave one out")
        if name == "milestones" and "[" not in value:  # as the option of this name has them
            fields[name] = integers(value)
            continue
        value = {"True": "true", "False": "false", "None": "null"}.get(value, value)
        try:
            fields[name] = json.loads(value)
        except (ValueError, RecursionError):
            fields[name] = value
    return fields


def refuse_twice(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Raises ConfigError if a field is given by an option of its own and by --set."""
    if twice := one.keys() & other.keys():
        raise ConfigError(f"{min(twice)} is given twice: leave --set {min(twice)} out")


def writable(path: Path | None) -> Path | None:
    """A file that can be written at the end, its folder made now; refused before anything is measured."""
    if path:
        if path.exists() and not path.is_file():
            raise ConfigError(f"{path} is no file: give the name of one")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            raise LabError(f"{path} cannot be written: {error.strerror}") from None
    return path


def drawable(figure: Path | None) -> Path | None:
    """The same, of a PNG file."""
    if figure and figure.suffix != ".png":
        raise ConfigError(f"{figure.name} is not the name of a PNG file: let it end in .png")
    return writable(figure)


def teller(status: Status) -> Callable[[str], None]:
    """A callback that shows progress: one line that changes on a terminal, one line after the other in a log."""
    return lambda line: status.update(escape(line)) if err.is_terminal else err.print(line)


def run_all(
    configs: list[Config], profile: str, jobs: int = 1, device: str | None = None, threads: int | None = None
) -> None:
    """Run configs, several at a time, and print what becomes of each: its accuracy, or what went wrong.

    An error that no user can fix is shown with its traceback. Exits with FAILED if any failed.
    """
    from resnet_lib.runs import pool

    total = failed = 0
    for config, outcome in pool.run_all(configs, profile, jobs, device, threads, partial(err.print, style="red")):
        total += 1
        if isinstance(outcome, Exception):
            failed += 1
            where = "".join(f"\n{note}" for note in getattr(outcome, "__notes__", []))
            err.print(f"{config.run_id}: {type(outcome).__name__}: {outcome}{where}", style="red")
        else:
            out.print(f"{config.run_id}: {config.held_out} accuracy {100 * outcome.accuracy:.2f} %")
    out.print(f"{total - failed} of {total} runs have their record in {runs_folder(profile)}")
    if failed:
        raise typer.Exit(FAILED)


def quoted(path: Path) -> str:
    """As it can be pasted into the shell of this system."""
    return subprocess.list2cmdline([str(path)]) if os.name == "nt" else shlex.quote(str(path))


def warn_if_busy(consequence: str) -> None:
    """Before something is timed."""
    if (load := _load_average()) > BUSY:
        err.print(
            f"this machine was busy in the last minute ({load:.1f} processes per core): if something else computes "
            f"still, {consequence}",
            style="yellow",
        )


def _load_average() -> float:
    """How many processes per core wanted to compute in the last minute; 0 where the system does not tell."""
    try:
        return os.getloadavg()[0] / (os.cpu_count() or 1)
    except (AttributeError, OSError):  # Windows has none, and a container may not
        return 0.0


def as_table(frame: Any, whole: str = "") -> Table:
    """A DataFrame of text, for the terminal: on a narrow one words are broken, but those of the column `whole`."""
    table = Table(*(Column(name, overflow="fold", no_wrap=name == whole) for name in frame.columns))
    for row in frame.to_numpy():
        table.add_row(*row)
    return table


def use_data(folder: Path | None) -> None:
    if folder is not None:  # the notebooks' kernels, which work in another folder, are to see it too
        os.environ["RESNET_LAB_DATA"] = os.path.abspath(os.path.expanduser(folder))
