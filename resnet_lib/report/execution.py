"""A notebook executed by papermill, and what became of it."""

from __future__ import annotations

import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import nbformat
import papermill
from jupyter_client.kernelspec import NoSuchKernel
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError
from pydantic import TypeAdapter
from traitlets.config import Config as Traits

from resnet_lib.errors import LabError
from resnet_lib.machine.files import write_atomic
from resnet_lib.report.published import CHECKOUT

SOURCES = CHECKOUT / "notebooks"
LONGEST = 80  # bytes of the path of the folder of temporary files: a socket's path has 103 at most, 21 of them below it
OUTCOME = "resnet_lab"  # where an executed notebook keeps what became of it, in its metadata


@dataclass(frozen=True)
class Outcome:
    """What became of one notebook."""

    name: str
    title: str
    error: str | None  # the last line of what went wrong; None: executed to its end
    cell: int | None  # the failed cell, counted from 1
    seconds: float = 0.0  # not kept in the notebook


OUTCOMES = TypeAdapter(Outcome | None)


def source(name: str) -> Path:
    known = {path.stem: path for path in sorted(SOURCES.glob("*.ipynb"))}
    if name not in known:  # a path into another folder is no name either
        raise LabError(f"there is no notebook {name!r}: use one of {', '.join(known) or f'none in {SOURCES}'}")
    return known[name]


def execute(path: Path, settings: dict[str, Any], target: Path, say: Callable[[str], None]) -> Outcome:
    """Run one notebook into `target`, with those of `settings` that it declares as parameters.

    Whatever fails in it, the output so far is kept there, and the outcome; if this process is ended, what was there.
    """
    declared = papermill.inspect_notebook(verbatim(path))
    error = cell = None
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="lab", dir=near_root()) as folder,
        warnings.catch_warnings(),
        importing_this_library(),
    ):
        warnings.simplefilter("ignore")  # papermill's own dependencies; the kernel shows its warnings in the page
        written = Path(folder) / path.name
        try:
            papermill.execute_notebook(
                verbatim(path),
                verbatim(written),
                {name: value for name, value in settings.items() if name in declared},
                cwd=str(SOURCES),
                progress_bar=False,
                log_output=False,
                stdout_file=Listener(say),
                config=client_settings(folder),
                start_timeout=300,  # papermill's own limit is a minute, and a busy machine is slow
            )
        except PapermillExecutionError as failure:
            error, cell = f"{failure.ename}: {failure.evalue}".strip(), failure.cell_index + 1
        except CellTimeoutError:
            error = "the kernel did not hand over its output; run the same command to go on"
        except DeadKernelError:
            error = "the kernel died: out of memory, or killed; run the same command to go on"
        except (NoSuchKernel, RuntimeError) as failure:  # the second is Jupyter's, of a kernel that did not come up
            error = f"the kernel did not start, or was lost ({failure}); run the same command to go on"
        notebook = nbformat.read(written, as_version=4)
    outcome = Outcome(path.stem, title(path), error, cell, time.monotonic() - began)
    leave_out_circumstances(notebook)
    notebook.metadata[OUTCOME] = {name: value for name, value in asdict(outcome).items() if name != "seconds"}
    write_atomic(target, f"{nbformat.writes(notebook)}\n".encode())
    return outcome


def leave_out_circumstances(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs between two executions that show the same: times, paths, Python's version, a random id.

    So that a notebook can be committed as it was executed, and made again without a change.
    """
    notebook.metadata["papermill"] = {"parameters": notebook.metadata.get("papermill", {}).get("parameters", {})}
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for who in ("papermill", "execution"):  # the second is nbclient's
            cell.metadata.pop(who, None)
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell["id"] = "injected-parameters"


@contextmanager
def importing_this_library() -> Iterator[None]:
    """Kernels that start meanwhile import this checkout's library, whatever is installed."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(CHECKOUT), before)))
    try:
        yield
    finally:
        os.environ.pop("PYTHONPATH")
        if before is not None:
            os.environ["PYTHONPATH"] = before


def client_settings(sockets: str) -> Traits:
    """For nbclient: how it speaks with its kernel, and how long it waits.

    Sockets in a folder of their own instead of TCP ports: nothing listens on a network, and runs in parallel cannot
    collide. A busy machine may take long over a picture: nbclient's own limit on that is four seconds.
    """
    manager = {"transport": "ipc", "ip": f"{sockets}/kernel"}
    quiet = ["--log-level=CRITICAL"]  # jupyter_client interrupts a kernel that it shuts down, which logs it as an error
    return Traits({"KernelManager": manager, "NotebookClient": {"iopub_timeout": 300, "extra_arguments": quiet}})


def near_root() -> str | None:
    """Where sockets can be: /tmp if the usual folder for temporary files has too long a path, as on some clusters."""
    is_long = len(os.fsencode(tempfile.gettempdir())) > LONGEST
    return "/tmp" if is_long and os.access("/tmp", os.W_OK) else None


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


def verbatim(path: Path) -> str:
    """A path as papermill takes it, which would put parameters where there are braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


def outcome_of(path: Path) -> Outcome | None:
    """What became of an executed notebook; None for one that `execute` did not write.

    Raises LabError for a file that is no notebook.
    """
    try:
        found = OUTCOMES.validate_python(nbformat.read(path, as_version=4).metadata.get(OUTCOME))
        return found and replace(found, name=path.stem)  # it becomes a link
    except Exception as error:  # nbformat can raise almost anything
        raise LabError(f"{path} is not a notebook of this lab ({error}): delete it") from None
