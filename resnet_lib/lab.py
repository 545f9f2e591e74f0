"""The lab: execute the notebooks with papermill, render them as pages that read offline, redraw the figures."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jinja2 import Environment, PackageLoader
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config as Traits

from resnet_lib import claims, plots, story, tables
from resnet_lib.config import LabError
from resnet_lib.files import write_atomic
from resnet_lib.records import reports_folder

CHECKOUT = Path(__file__).resolve().parent.parent
NOTEBOOKS = CHECKOUT / "notebooks"
STEPS = ("01_ten_epochs", "02_hundred_epochs", "03_cifar_architecture", "04_torch_hub_check", "report")
OUTCOME = "resnet_lab"  # where an executed notebook keeps what became of it, in its metadata
QUANTITIES = ("train_loss", "test_acc", "test_loss")


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
    train: bool = True,
    say: Callable[[str], None] = lambda line: None,
    done: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Execute notebooks at a profile and render them below `reports/<profile>/`, with an index of all that are there.

    A notebook that fails keeps its output, with the error in it, and does not stop the others. `say` hears every
    line that a notebook prints while it runs, `done` the outcome of each. Raises LabError for an unknown notebook,
    before any is executed.
    """
    sources = [source(name) for name in names]
    folder = reports_folder() / profile
    folder.mkdir(parents=True, exist_ok=True)
    outcomes = []
    for path in sources:
        say(f"{path.stem} starts")
        outcomes.append(execute(path, {"profile": profile, "train": train}, folder / path.name, say))
        render(folder / path.name, outcomes[-1].title, profile)
        done(outcomes[-1])
    write_index(profile)
    return outcomes


def source(name: str) -> Path:
    path = NOTEBOOKS / f"{name}.ipynb"
    if not path.exists():
        known = ", ".join(sorted(p.stem for p in NOTEBOOKS.glob("*.ipynb"))) or f"none in {NOTEBOOKS}"
        raise LabError(f"there is no notebook '{name}': use one of {known}")
    return path


def execute(path: Path, settings: dict[str, Any], target: Path, say: Callable[[str], None]) -> Outcome:
    """Run one notebook into `target`, with those of `settings` that it declares as parameters.

    Whatever happens, the output so far is kept there, and the outcome with it.
    """
    declared = papermill.inspect_notebook(str(path))
    error = cell = None
    # Sockets in the file system instead of TCP ports: nothing listens on a network, and parallel runs cannot collide.
    # A busy machine may take long over a picture: nbclient's own limit on that is four seconds.
    settled = Traits({"KernelManager": {"transport": "ipc"}, "NotebookClient": {"iopub_timeout": 300}})
    began = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # papermill's own dependencies; the kernel shows its warnings in the page
            papermill.execute_notebook(
                str(path),
                str(target),
                {name: value for name, value in settings.items() if name in declared},
                cwd=str(NOTEBOOKS),
                progress_bar=False,
                log_output=False,
                stdout_file=Listener(say),
                config=settled,
            )
    except PapermillExecutionError as failure:
        error, cell = f"{failure.ename}: {failure.evalue}".strip(), failure.cell_index + 1
    except CellTimeoutError:
        error = "the kernel did not hand over its output; run the same command to go on"
    except DeadKernelError:
        error = "the kernel died: out of memory, or killed; run the same command to go on"
    outcome = Outcome(path.stem, title(path), time.monotonic() - began, error, cell)
    notebook = nbformat.read(target, as_version=4)
    notebook.metadata[OUTCOME] = asdict(outcome)
    write_atomic(target, nbformat.writes(notebook).encode())
    return outcome


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


def render(notebook: Path, title: str, profile: str) -> Path:
    """The notebook as one HTML page, pictures and style inside, no address outside it."""
    exporter = HTMLExporter(template_name="basic", embed_images=True)
    body, resources = exporter.from_filename(str(notebook))
    styles = "\n".join(resources["inlining"]["css"][:1])  # the colours of code; the rest is the page's own
    path = notebook.with_suffix(".html")
    return write_page("page.html", path, title=title, profile=profile, body=body, styles=styles)


def write_index(profile: str) -> Path:
    """`index.html`: what was run, now or before, what came out, the figures of the whole story."""
    folder = reports_folder() / profile
    notebooks = [nbformat.read(path, as_version=4) for path in sorted(folder.glob("*.ipynb"))]
    outcomes = [Outcome(**notebook.metadata[OUTCOME]) for notebook in notebooks if OUTCOME in notebook.metadata]
    runs = story.runs(profile)
    return write_page(
        "index.html",
        folder / "index.html",
        title="Why does a ResNet on CIFAR-10 stop at 80 %?",
        profile=profile,
        outcomes=outcomes,
        table=tables.results(runs, profile).to_html(index=False, border=0),
        claims={step.title: claims.claims(step.notebook, runs[step.notebook], profile) for step in story.STEPS},
        pictures=[f"img/{path.name}" for path in figures(profile, folder / "img")[: len(QUANTITIES)]],
    )


def write_page(template: str, path: Path, **content: Any) -> Path:
    write_atomic(path, templates().get_template(template).render(**content).encode())
    return path


def figures(profile: str, folder: Path) -> list[Path]:
    """Draw the story's figures into `folder` from the records of a profile: all runs overlaid, then step by step."""
    folder.mkdir(parents=True, exist_ok=True)
    steps = story.runs(profile)
    paths = []
    for prefix, runs in [("", story.overlay(steps)), *((f"{name[:2]}_", runs) for name, runs in steps.items())]:
        for quantity in QUANTITIES:
            path = folder / f"{prefix}{quantity}.png"
            plots.save(plots.curves(runs, quantity, profile), path)
            paths.append(path)
    return paths


def bench_figures(folder: Path) -> list[Path]:
    """Draw every committed benchmark into `folder`, as `bench_<name of its file>.png`."""
    paths = []
    for source in sorted((reports_folder() / "bench").glob("*.json")):
        paths.append(folder / f"bench_{source.stem}.png")
        plots.save(plots.ladder(json.loads(source.read_text())), paths[-1])
    return paths


def update_readme(path: Path = CHECKOUT / "README.md") -> bool:
    """Write the tables, made from the `full` records and from the benchmarks, between their markers.

    Returns whether anything changed. Raises LabError if a marker is not there.
    """
    sections = {"results": tables.story_markdown("full"), "bench": tables.bench_markdown(benchmarks())}
    text = new = path.read_text()
    for name, content in sections.items():
        markers = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, begin, rest = new.partition(markers[0])
        _, end, after = rest.partition(markers[1])
        if not begin or not end:
            raise LabError(f"{path} lacks the lines {markers[0]} and {markers[1]}: restore them")
        new = f"{before}{begin}\n{content}\n{end}{after}"
    if new != text:
        write_atomic(path, new.encode())
    return new != text


def benchmarks() -> list[dict[str, Any]]:
    """The measured machines: `reports/bench/*.json`, as `resnet-lab bench --json` writes them."""
    return [json.loads(path.read_text()) for path in sorted((reports_folder() / "bench").glob("*.json"))]
