"""The command line: `resnet-lab data | run | run-many | eval | report | bench | figures`."""

from __future__ import annotations

import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from resnet_lib.config import Config, ConfigError, LabError, Profile
from resnet_lib.records import runs_folder

FAILED, REFUSED, INTERRUPTED = 1, 2, 130  # exit codes: it went wrong; the request was not allowed; Ctrl-C
FOLDERS = ("RESNET_LAB_REPORTS", "RESNET_LAB_DATA", "RESNET_LAB_CACHE")

app = typer.Typer(
    help="A lab on residual networks: train them, measure them, and render the report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer()
app.add_typer(data_app, name="data")
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(highlight=False, soft_wrap=True, markup=False, stderr=True)

DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Folder or archive with CIFAR-10, instead of a download.", envvar="RESNET_LAB_DATA"),
]
Device = Annotated[str | None, typer.Option(help="cpu, cuda or mps; the best there is if not given.")]


def main() -> None:
    """Run the command line; what a user can mend ends in one message, never in a traceback."""
    for name in FOLDERS:  # the notebooks' kernels work in another folder
        if os.environ.get(name):
            os.environ[name] = str(Path(os.environ[name]).expanduser().absolute())
    try:
        app()
    except ConfigError as error:
        _stop(error, REFUSED)
    except LabError as error:
        _stop(error, FAILED)
    except OSError as error:
        _stop(f"{error}; when that is mended, the same command goes on from what is saved", FAILED)
    except SystemExit as ending:
        if ending.code == INTERRUPTED:  # typer's, for Ctrl-C
            _stop("interrupted; the same command goes on after the last finished epoch", INTERRUPTED)
        raise
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("resnet_lib"):
            raise
        _stop(f"{error}; the notebooks and figures need more: pip install 'resnet-lab[lab]'", FAILED)


@data_app.callback(invoke_without_command=True)
def data(context: typer.Context, folder: DataFolder = None) -> None:
    """Get CIFAR-10 into the cache, once, and verify it; or carry it to another machine."""
    if context.invoked_subcommand is None:
        _fetch(folder)


@data_app.command()
def pack(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Where the parts are written.")],
    max_mib: Annotated[float, typer.Option(help="Size of the largest part.", min=0.1)] = 30,
) -> None:
    """Write CIFAR-10 in parts, for a machine without network."""
    from resnet_lib import formats, parts, sources

    for path in parts.pack(sources.fetch(), target, int(max_mib * 2**20), formats.CIFAR10):
        out.print(str(path))
    out.print(f"there: resnet-lab data unpack {target}")


@data_app.command()
def unpack(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where all parts are.")]) -> None:
    """Join the parts in the cache, and verify them."""
    _fetch(folder)


def _fetch(folder: Path | None) -> None:
    from resnet_lib import sources

    out.print(f"CIFAR-10 is in {sources.fetch(folder)}: six files, all SHA-256 as published")


@app.command()
def run(
    model: Annotated[str, typer.Option(help="resnet20, plain56, resnet50, hub-resnet18, ...")] = "resnet20",
    epochs: Annotated[int, typer.Option(help="Passes over the training images.")] = 10,
    iterations: Annotated[int | None, typer.Option(help="Length in steps, instead of epochs.")] = None,
    lr: Annotated[float, typer.Option(help="Peak learning rate.")] = 0.1,
    milestones: Annotated[str, typer.Option(help="Epochs (or iterations) of the drops: 50,75.")] = "",
    schedule: Annotated[str, typer.Option(help="multistep, cosine or onecycle.")] = "multistep",
    batch_size: Annotated[int, typer.Option(help="Images a step.")] = 128,
    weight_decay: Annotated[float, typer.Option(help="L2 penalty.")] = 1e-4,
    momentum: Annotated[float, typer.Option(help="Momentum of SGD.")] = 0.9,
    nesterov: Annotated[bool, typer.Option("--nesterov", help="Nesterov's form of momentum.")] = False,
    crop: Annotated[int, typer.Option(help="Random crops from this many pixels of padding.")] = 0,
    flip: Annotated[bool, typer.Option("--flip", help="Mirror half of the images.")] = False,
    precision: Annotated[str, typer.Option(help="fp32, bf16, or tf32 on NVIDIA GPUs.")] = "fp32",
    split: Annotated[str, typer.Option(help="all, or train45k to hold out 5,000 training images.")] = "all",
    seed: Annotated[int, typer.Option(help="Of initialisation, order and augmentation.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any other field: --set label_smoothing=0.1")] = None,
    profile: Annotated[str, typer.Option(help="smoke, quick or full: how much of it.")] = "full",
    device: Device = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
    compile: Annotated[bool | None, typer.Option(help="By torch.compile; if not said, where the run is long.")] = None,
    data: DataFolder = None,
) -> None:
    """Train one network, or go on where it stopped, and print what came out."""
    from resnet_lib import experiment, weights
    from resnet_lib.device import choose

    fields = dict(
        model=model, epochs=epochs, iterations=iterations, lr=lr, milestones=_integers(milestones), schedule=schedule,
        batch_size=batch_size, weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, crop=crop, flip=flip,
        precision=precision, split=split, seed=seed,
    )  # fmt: skip
    config = Config(**(fields | _assignments(set_ or []))).at(_profile(profile))
    _use_data(data)
    record = experiment.run(config, profile, choose(config, device, threads, compile))
    _print_metrics(record.result, record.config)
    out.print(f"record   {record.path}")
    if path := weights.export(record):
        out.print(f"weights  {path}\nnext     resnet-lab eval {path}")


@app.command("run-many")
def run_many(
    file: Annotated[Path, typer.Argument(help='A JSON list of configs: [{"model": "resnet20", "seed": 1}, ...]')],
    profile: Annotated[str, typer.Option(help="smoke, quick or full: how much of each.")] = "full",
    jobs: Annotated[int, typer.Option(help="Runs at a time; `bench --sweep` tells how many pay.", min=1)] = 1,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of each run.", min=1)] = None,
    data: DataFolder = None,
) -> None:
    """Run every config of a list, as far as it has no record yet; goes on after a failure, and tells."""
    from resnet_lib import experiment
    from resnet_lib.device import THREADS, choose

    configs = [config.at(_profile(profile)) for config in _configs(file)]
    _use_data(data)
    threads = threads or max(1, THREADS // jobs)
    choices = [choose(config, device, threads) for config in configs]
    failed = 0
    with ProcessPoolExecutor(jobs, get_context("spawn")) if jobs > 1 else nullcontext() as pool:
        for config, outcome in experiment.run_many(configs, profile, choices, pool):
            if isinstance(outcome, Exception):
                failed += 1
                err.print(f"{config.run_id}: {type(outcome).__name__}: {outcome}", style="red")
            else:
                out.print(f"{config.run_id}: {config.held_out} accuracy {100 * outcome.accuracy:.2f} %")
    out.print(f"{len(configs) - failed} of {len(configs)} runs have their record in {runs_folder(profile)}")
    if failed:
        raise typer.Exit(FAILED)


@app.command("eval")
def evaluate(
    path: Annotated[Path, typer.Argument(metavar="WEIGHTS", help="A .safetensors file, or a run's checkpoint.pt.")],
    model: Annotated[str | None, typer.Option(help="The network of weights that do not tell it themselves.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A field of the config: --set test_images=500")
    ] = None,
    device: Device = None,
    data: DataFolder = None,
) -> None:
    """Print the metrics of saved weights on the images held out from their training."""
    from resnet_lib import weights
    from resnet_lib.device import choose

    if not path.is_file():
        raise LabError(f"{path} is not a file: give a .safetensors file or a checkpoint.pt")
    config = weights.config_of(path)
    if not config and not model:
        raise LabError(f"{path} does not tell which network it belongs to: add --model")
    config = (config or Config()).replace(**({"model": model} if model else {}), **_assignments(set_ or []))
    _use_data(data)
    _print_metrics(weights.evaluate(config, path, choose(config, device, compile=False)), config)


@app.command()
def report(
    profile: Annotated[str, typer.Option(help="smoke, quick or full.")] = "quick",
    only: Annotated[list[str] | None, typer.Option(help="One notebook, by name; may be repeated.")] = None,
    no_train: Annotated[bool, typer.Option("--no-train", help="Show what is recorded, train nothing.")] = False,
    data: DataFolder = None,
) -> None:
    """Execute the notebooks and render the lab report; goes on after a failure, and tells."""
    from resnet_lib import lab, sources
    from resnet_lib.records import reports_folder

    _profile(profile)
    _use_data(data)
    names = tuple(only) if only else lab.STEPS
    if profile != "smoke" and not no_train:
        sources.fetch()  # here, where its progress can be seen and its failure stops everything
    with err.status("starting") as status:

        def done(outcome: lab.Outcome) -> None:
            line = f"{outcome.name:<24} {'failed' if outcome.error else 'ok':<6} {outcome.seconds:7.1f} s"
            out.print(line, style="red" if outcome.error else None)

        outcomes = lab.report(profile, names, not no_train, lambda line: status.update(escape(line)), done)
    out.print(f"report: {reports_folder() / profile / 'index.html'}")
    if failed := [outcome for outcome in outcomes if outcome.error]:
        table = Table("notebook", "cell", "what happened", title="failed")
        for outcome in failed:
            table.add_row(outcome.name, str(outcome.cell or "–"), outcome.error)
        err.print(table)
        raise typer.Exit(FAILED)


@app.command()
def bench(
    quick: Annotated[bool, typer.Option("--quick", help="The conventional pipeline, ours, and the ceiling.")] = False,
    sweep: Annotated[bool, typer.Option("--sweep", help="Against depth, batch size, threads, parallel runs.")] = False,
    json_: Annotated[Path | None, typer.Option("--json", help="Write all that was measured to this file.")] = None,
    figure: Annotated[Path | None, typer.Option(help="Draw the gain of each improvement into this PNG file.")] = None,
    device: Device = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads.", min=1)] = None,
) -> None:
    """Measure how fast this machine trains, and what each improvement is worth; let nothing else run meanwhile."""
    from resnet_lib import bench, plots, tables
    from resnet_lib.device import choose
    from resnet_lib.files import write_atomic

    choice = choose(Config(iterations=64_000, precision="bf16"), device, threads)
    with err.status("starting") as status:
        say = lambda line: status.update(escape(line))  # noqa: E731
        result = {"sweep": bench.sweep(choice, say)} if sweep else bench.measure(choice, quick, say)
    if json_:
        write_atomic(json_, (json.dumps(result, indent=1) + "\n").encode())
    if sweep:
        out.print(_table(tables.sweep(result["sweep"])))
        return
    out.print(_table(tables.ladder(result)), _table(tables.networks(result)), *tables.bench_facts(result), sep="\n")
    if figure:
        plots.save(plots.ladder(result), figure)


@app.command()
def figures(
    profile: Annotated[str, typer.Option(help="smoke, quick or full.")] = "full",
) -> None:
    """Redraw the figures from the records; those of the checkout's own `full` records go to img/ and the README."""
    from resnet_lib import lab
    from resnet_lib.records import reports_folder

    published = _profile(profile) == "full" and reports_folder() == lab.CHECKOUT / "reports"
    folder = lab.CHECKOUT / "img" if published else reports_folder() / profile / "img"
    for path in lab.figures(profile, folder):
        out.print(str(path))
    if published:
        for path in lab.bench_figures(folder):
            out.print(str(path))
        out.print("README.md: results " + ("rewritten" if lab.update_readme() else "up to date"))


def _profile(name: str) -> Profile:
    if name not in ("smoke", "quick", "full"):
        raise ConfigError(f"profile = {name!r} is refused: smoke, quick or full is allowed")
    return name


def _integers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise ConfigError(f"milestones = {text!r} is refused: numbers with commas between are allowed") from None


def _configs(file: Path) -> list[Config]:
    try:
        items = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise LabError(f"{file} cannot be read as JSON: {error}") from None
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise ConfigError(f"{file}: a list of configs is allowed, each {{field: value}}")
    configs = []
    for number, item in enumerate(items, 1):
        try:
            configs.append(Config(**item))
        except ConfigError as error:
            raise ConfigError(f"{file}, config {number}: {error}") from None
    return configs


def _assignments(items: list[str]) -> dict[str, Any]:
    """`["stem=imagenet", "width=8"]` -> {"stem": "imagenet", "width": 8}."""
    fields = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals:
            raise ConfigError(f"--set {item!r} is refused: name=value is allowed")
        try:
            fields[name] = json.loads(value)
        except json.JSONDecodeError:
            fields[name] = value
    return fields


def _use_data(folder: Path | None) -> None:
    if folder is not None:
        os.environ["RESNET_LAB_DATA"] = str(folder.absolute())  # the notebooks' kernels are to see it too


def _print_metrics(result: dict[str, Any], config: Config) -> None:
    table = Table(title=f"{config.model}, {result['images']:,} {config.held_out} images", title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_row("accuracy", f"{100 * result['accuracy']:.2f} %")
    table.add_row("loss", f"{result['loss']:.4f} nats")
    table.add_row("expected calibration error", f"{100 * result['ece']:.2f} %")
    for name, accuracy in zip(result["classes"], result["per_class_accuracy"], strict=True):
        table.add_row(f"  {name}", f"{100 * accuracy:.1f} %")
    out.print(table)


def _table(frame: Any) -> Table:
    table = Table(*frame.columns)
    for row in frame.to_numpy():
        table.add_row(*row)
    return table


def _stop(message: object, code: int) -> None:
    err.print("error:", style="bold red", end=" ")
    err.print(str(message))
    sys.exit(code)


if __name__ == "__main__":
    main()
