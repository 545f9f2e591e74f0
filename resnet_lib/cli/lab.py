"""The commands around training: `resnet-lab report | verify-report | bench | diagnose | figures`."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from resnet_lib.cli.options import (
    FAILED,
    DataFolder,
    Device,
    Threads,
    as_table,
    drawable,
    err,
    out,
    switch,
    teller,
    use_data,
    warn_if_busy,
    writable,
)
from resnet_lib.config import Config, ConfigError, Profile

app = typer.Typer()


@app.command()
def report(
    profile: Annotated[Profile, typer.Option(help="The size of the experiments")] = "quick",
    only: Annotated[list[str] | None, typer.Option(help="One notebook, by name; may be repeated")] = None,
    no_train: Annotated[bool, switch("--no-train", "Show what is recorded, train nothing")] = False,
    data: DataFolder = None,
) -> None:
    """Execute the notebooks and render the lab report; continues after a failure and reports it."""
    from resnet_lib.data import sources
    from resnet_lib.questions.story import stamp
    from resnet_lib.records.find import reports_folder
    from resnet_lib.report import execution, lab

    use_data(data)
    names = tuple(only) if only else lab.NOTEBOOKS
    trains = not no_train and not {*names} <= lab.NEVER_TRAIN
    if profile == "full" and trains:
        err.print(
            "this trains all runs not yet recorded, for weeks on a CPU; you can stop it at any time. --no-train "
            "only shows records",
            style="yellow",
        )
    for name in names:
        execution.source(name)  # an unknown one is refused before anything is fetched
    if profile != "smoke" and (data or trains):
        sources.fetch()  # here, where its progress can be seen and its failure stops everything
    if size := stamp(profile):
        err.print(f"{size}: accuracies say little", style="yellow")
    with err.status("starting") as status:

        def done(outcome: execution.Outcome) -> None:
            line = f"{outcome.name:<24} {'failed' if outcome.error else 'ok':<6} {outcome.seconds:7.1f} s"
            out.print(line, style="red" if outcome.error else None)

        outcomes = lab.report(profile, names, not no_train, teller(status), done)
    out.print(f"report: {reports_folder() / profile / 'index.html'}")
    if failed := [outcome for outcome in outcomes if outcome.error]:
        table = Table("notebook", "cell", "what happened", title="failed")
        for outcome in failed:
            table.add_row(outcome.name, str(outcome.cell or "–"), outcome.error)
        err.print(table)
        raise typer.Exit(FAILED)


@app.command("verify-report")
def verify_report(profile: Annotated[Profile, typer.Option(help="The size of the experiments")] = "full") -> None:
    """Make anew what documents, pictures and executed notebooks say of the records; fail if any differs."""
    from resnet_lib.records.find import reports_folder
    from resnet_lib.report import verify

    with err.status("starting") as status:
        found = verify.report(profile, teller(status))
    wrong = [line for lines in found.values() for line in lines]
    for line in wrong:
        err.print(line, style="red")
    if wrong:
        raise typer.Exit(FAILED)
    if not found:
        out.print(f"nothing to verify: {reports_folder() / profile} has no records and no pages")
        return
    out.print(f"whole, and as the records say: {', '.join(found)}")


@app.command()
def bench(
    quick: Annotated[bool, switch("--quick", "The usual script, the lab's pipeline, the machine's limits")] = False,
    sweep: Annotated[bool, switch("--sweep", "Against depth, batch size, threads, parallel runs")] = False,
    json_: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Write what was measured to this file; a sweep into a benchmark's", callback=writable
        ),
    ] = None,
    figure: Annotated[
        Path | None, typer.Option(help="Draw the gain of each improvement into this PNG file", callback=drawable)
    ] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Measure how fast this machine trains, and what each improvement is worth; let nothing else run meanwhile."""
    from resnet_lib.machine.device import choose
    from resnet_lib.machine.files import write_atomic
    from resnet_lib.machine.provenance import environment
    from resnet_lib.report import bench_facts, bench_figure, bench_tables, canvas
    from resnet_lib.speed import bench, measured

    if sweep and (quick or figure):
        raise ConfigError("--sweep measures all that it has, and draws nothing: leave out --quick and --figure")
    choice = choose(Config(iterations=64_000, precision="bf16"), device, threads)
    warn_if_busy("the rates will be too low")
    kept = measured.kept(json_, quick, sweep, environment(choice)) if json_ else {}
    with err.status("starting") as status, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "dynamo_pgo force disabled")  # it is: starts are measured without caches
        say = teller(status)
        result = (
            {"sweep": kept.get("sweep", {}) | bench.sweep(choice, say)} if sweep else bench.measure(choice, quick, say)
        )
    try:
        if sweep:
            out.print(as_table(bench_tables.sweep(result["sweep"])))
        else:
            for table in (bench_tables.ladder(result), bench_tables.networks(result)):
                out.print(as_table(table))
            out.print(*bench_facts.facts(result), bench_facts.HOW_TO_READ, sep="\n")
    finally:  # neither is lost if the other fails
        if json_:
            write_atomic(json_, (json.dumps(kept | result, indent=1) + "\n").encode())
    if figure:
        canvas.save(bench_figure.draw(result), figure)


@app.command()
def diagnose(
    log: Annotated[
        Path,
        typer.Argument(
            help="A CSV of 10 epochs or more: test_accuracy or val_accuracy; if logged, train_accuracy, test_loss, lr"
        ),
    ],
) -> None:
    """Say what the curves of a training of yours show, and which recorded runs they are most like."""
    from resnet_lib.findings.own_log import read_log
    from resnet_lib.report.diagnose import CHECKLIST, nearest, signs

    found = read_log(log)
    out.print(*signs(found), sep="\n")
    similar, said = nearest(found)
    if len(similar):
        out.print(as_table(similar, whole="record"))
    out.print(said, CHECKLIST, sep="\n")


@app.command()
def figures(
    profile: Annotated[Profile, typer.Option(help="The size of the experiments")] = "full",
    pdf: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw PDFs into DIR, for a paper, and no more")
    ] = None,
) -> None:
    """Redraw the figures from the records; those of the checkout's own `full` records go to img/ and the documents."""
    from resnet_lib.records.find import reports_folder
    from resnet_lib.report import published

    is_published = published.is_published(profile)
    folder = published.CHECKOUT / "img" if is_published else reports_folder() / profile / "img"
    drawn = published.figures(profile, pdf or folder, "pdf" if pdf else "png")
    for path in drawn:
        out.print(str(path))
    if not drawn:
        out.print(f"nothing is drawn, for no run of the lab's settings is recorded at profile {profile}")
    if is_published and not pdf:
        for path in published.bench_figures(folder):
            out.print(str(path))
        out.print(f"rewritten: {', '.join(published.update_documents()) or 'nothing, the documents are up to date'}")
