"""The command line; `resnet-lab --help` lists its commands."""

from __future__ import annotations

import io
import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from resnet_lib.cli import data, lab, runs, training
from resnet_lib.cli.options import FAILED, INTERRUPTED, REFUSED, STOPPED, err, out
from resnet_lib.config import ConfigError
from resnet_lib.errors import LabError
from resnet_lib.machine.stop import Stopped

FOLDERS = ("RESNET_LAB_REPORTS", "RESNET_LAB_DATA", "RESNET_LAB_CACHE")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")
app.add_typer(lab.app)
app.add_typer(training.app)
app.add_typer(runs.app, name="runs")


def _say_version(is_asked: bool) -> None:
    if not is_asked:
        return
    from resnet_lib.machine import device, provenance  # here, for they load torch

    here = provenance.environment(device.choose())
    try:
        version = metadata.version("resnet-lab")
    except metadata.PackageNotFoundError:
        version = "not installed"
    out.print(f"resnet-lab {version}, commit {provenance.commit()}")
    out.print(f"torch {here['torch']}, numpy {here['numpy']}, Python {here['python']}, {here['system']}")
    out.print(f"{here['device_name']}: {here['device']}, {here['threads']} threads, {here['instructions']}")
    raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", metavar="", help="Say what is installed", callback=_say_version, is_eager=True),
    ] = False,
) -> None:
    """A lab on residual networks: train them, measure them, and render the report."""


def main() -> None:
    """Run the command line; what a user can mend ends in one message, never in a traceback."""
    for stream in (sys.stdout, sys.stderr):  # a locale may lack some of our characters
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
    for name in FOLDERS:  # the notebooks' kernels work in another folder
        if os.environ.get(name):
            os.environ[name] = os.path.abspath(os.path.expanduser(os.environ[name]))
    try:
        app()
    except ConfigError as error:
        _stop(error, REFUSED)
    except LabError as error:
        _stop(error, FAILED)
    except Stopped as ending:
        err.print(str(ending))
        sys.exit(STOPPED)
    except OSError as error:
        _stop(f"{error}; when that is mended, call it again: nothing that was finished or saved is lost", FAILED)
    except SystemExit as ending:
        if ending.code == INTERRUPTED:  # typer's, for Ctrl-C
            _stop("interrupted; call it again: nothing that was finished or saved is lost", INTERRUPTED)
        raise
    except (MemoryError, RuntimeError) as error:
        from resnet_lib.machine.device import out_of_memory  # here, for it loads torch

        if not out_of_memory(error):
            raise
        said = str(error).partition("\n")[0] or type(error).__name__
        _stop(f"too little memory ({said}): free some, and call it again", FAILED)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("resnet_lib"):
            raise
        _stop(f"{error}; the notebooks and figures need more: pip install -e '.[lab,dev]' in the clone", FAILED)


def _stop(message: object, code: int) -> None:
    err.print("error:", style="bold red", end=" ")
    err.print(str(message))
    sys.exit(code)


if __name__ == "__main__":
    main()
