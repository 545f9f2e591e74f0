"""The lab: execute the notebooks with papermill, render them as pages that read offline, redraw the figures."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jinja2 import Environment, PackageLoader
from nbclient.exceptions import DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config as Traits

from resnet_lib import plots, story, tables
from resnet_lib.config import ConfigError, LabError
from resnet_lib.records import reports_folder, write_atomic

CHECKOUT = Path(__file__).resolve().parent.parent
NOTEBOOKS = CHECKOUT / "notebooks"
STEPS = ("01_ten_epochs", "02_hundred_epochs", "03_cifar_architecture", "04_torch_hub_check", "report")
QUANTITIES = ("train_loss", "test_acc", "test_loss")
MARKERS = ("<!-- results: begin -->", "<!-- results: end -->")


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook."""

    name: str
    title: str
    seconds: float
    error: str | None  # the last line of what went wrong; None: executed to its end
    cell: int | None  # the failed cell, counted from 1


def report(
    profile: str,
    names: tuple[str, ...] = STEPS,
    parameters: dict[str, Any] | None = None,
    train: bool = True,
    say: Callable[[str], None] = lambda line: None,
    done: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Execute notebooks at a profile and render them below `reports/<profile>/`, with an index.

    A notebook that fails keeps its output, with the error in it, and does not stop the others. `say` hears every
    line that a notebook prints while it runs, `done` the outcome of each. Raises LabError for an unknown notebook and
    ConfigError for an unknown parameter, before anything is executed.
    """
    given = (parameters or {}) | {"profile": profile} | ({} if train else {"train": False})
    for name in names:
        check_parameters(name, given if name != "report" else {"profile": profile})
    folder = reports_folder() / profile
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for name in names:
        outcome = execute(name, given if name != "report" else {"profile": profile}, folder, say)
        render(folder / f"{name}.ipynb", profile)
        outcomes.append(outcome)
        done(outcome)
    write_index(profile, outcomes)
    return outcomes


def check_parameters(name: str, given: dict[str, Any]) -> None:
    """Raise ConfigError unless the notebook declares every given parameter, with a value of the declared type."""
    declared = papermill.inspect_notebook(str(source(name)))
    types = {"int": int, "float": (int, float), "str": str, "bool": bool, "list": list}
    for parameter, value in given.items():
        if parameter not in declared:
            raise ConfigError(f"{name} has no parameter '{parameter}': it has {', '.join(declared)}")
        expected = declared[parameter]["inferred_type_name"]
        is_bool = isinstance(value, bool) and expected != "bool"
        if is_bool or not isinstance(value, types.get(expected, object)):
            raise ConfigError(f"{name}: {parameter} = {value!r} is refused: a value of type {expected} is allowed")


def source(name: str) -> Path:
    path = NOTEBOOKS / f"{name}.ipynb"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))) or f"none in {NOTEBOOKS}"
        raise LabError(f"there is no notebook '{name}': use one of {known}")
    return path


def execute(name: str, parameters: dict[str, Any], folder: Path, say: Callable[[str], None]) -> Outcome:
    """Run one notebook into `folder`; whatever happens, the output so far is kept there."""
    target = folder / f"{name}.ipynb"
    began = time.monotonic()
    error = cell = None
    # Sockets in the file system instead of TCP ports: nothing listens on a network, and parallel runs cannot collide.
    transport = Traits({"KernelManager": {"transport": "ipc"}})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # papermill's own dependencies; the kernel shows its warnings in the page
            papermill.execute_notebook(
                str(source(name)),
                str(target),
                parameters,
                cwd=str(NOTEBOOKS),
                progress_bar=False,
                log_output=False,
                stdout_file=Listener(say),
                config=transport,
            )
    except PapermillExecutionError as failure:
        error, cell = f"{failure.ename}: {failure.evalue}".strip(), failure.cell_index + 1
    except DeadKernelError:
        error = "the kernel died: out of memory, or killed; run the same command to go on"
    return Outcome(name, title(source(name)), time.monotonic() - began, error, cell)


class Listener:
    """A text file of papermill's that hands every line on."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def write(self, text: str) -> None:
        for line in filter(str.strip, text.splitlines()):
            self.say(line.strip())

    def flush(self) -> None:
        """papermill flushes after each write; there is nothing to flush."""


def title(path: Path) -> str:
    """The first heading of a notebook."""
    return nbformat.read(path, as_version=4).cells[0].source.partition("\n")[0].lstrip("# ")


@cache
def templates() -> Environment:
    return Environment(loader=PackageLoader("resnet_lib", ""), autoescape=True)


def render(notebook: Path, profile: str) -> Path:
    """The notebook as one HTML page, pictures and style inside, no address outside it."""
    exporter = HTMLExporter(template_name="basic", embed_images=True)
    body, resources = exporter.from_filename(str(notebook))
    styles = "\n".join(resources["inlining"]["css"][:1])  # the colours of code; the rest is the page's own
    return write_page(notebook.with_suffix(".html"), title=title(notebook), profile=profile, body=body, styles=styles)


def write_index(profile: str, outcomes: list[Outcome]) -> Path:
    """`index.html`: what was run, what came out, the figures of the whole story."""
    runs = tables.story_runs(profile)
    return write_page(
        reports_folder() / profile / "index.html",
        title="Why does a ResNet on CIFAR-10 stop at 80 %?",
        profile=profile,
        outcomes=outcomes,
        table=tables.results(runs, profile).to_html(index=False, border=0),
        claims={step.title: tables.claims(step.notebook, runs[step.notebook], profile) for step in story.STEPS},
        pictures=[f"img/{path.name}" for path in figures(profile)[: len(QUANTITIES)]],
    )


def write_page(path: Path, **content: Any) -> Path:
    template = "index.html" if "outcomes" in content else "page.html"
    write_atomic(path, templates().get_template(template).render(**content).encode())
    return path


def figures(profile: str) -> list[Path]:
    """Draw the story's figures from the records of a profile, all runs overlaid, then step by step.

    `full` goes to the checkout's `img/`, which the README shows; others beside their report.
    """
    folder = CHECKOUT / "img" if profile == "full" else reports_folder() / profile / "img"
    folder.mkdir(parents=True, exist_ok=True)
    steps = tables.story_runs(profile)
    paths = []
    for prefix, runs in [("", tables.overlay(steps)), *((f"{name[:2]}_", runs) for name, runs in steps.items())]:
        for quantity in QUANTITIES:
            path = folder / f"{prefix}{quantity}.png"
            plots.save(plots.curves(runs, quantity, profile), path)
            paths.append(path)
    return paths


def update_readme(path: Path = CHECKOUT / "README.md") -> bool:
    """Write the results table, made from the `full` records, between its markers; whether it changed.

    Raises LabError if the markers are not there.
    """
    text = path.read_text()
    before, begin, rest = text.partition(MARKERS[0])
    _, end, after = rest.partition(MARKERS[1])
    if not begin or not end:
        raise LabError(f"{path} lacks the lines {MARKERS[0]} and {MARKERS[1]}: restore them")
    new = f"{before}{begin}\n{tables.story_markdown('full')}\n{end}{after}"
    if new != text:
        write_atomic(path, new.encode())
    return new != text
