"""The commands on runs that are there: `resnet-lab runs [show | verify | resume]`."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated

import typer
from rich.table import Column, Table

from resnet_lib.cli.options import FAILED, DataFolder, err, out, run_all, use_data
from resnet_lib.config import Config, Profile
from resnet_lib.errors import LabError
from resnet_lib.records.find import runs_folder


def _own_or_groups(context: typer.Context, profile: Profile | None) -> Profile:
    return profile or context.obj


OfProfile = Annotated[
    Profile | None, typer.Option("--profile", help="The size of the runs", callback=_own_or_groups)
]  # that of `runs`, unless given after the command, too

app = typer.Typer(help="List, show, verify or resume existing runs.")


@app.callback(invoke_without_command=True)
def runs(
    context: typer.Context, profile: Annotated[Profile, typer.Option(help="The size of the runs")] = "full"
) -> None:
    """List every run, those that are finished first, each with its state."""
    from resnet_lib.runs import ledger

    context.obj = profile
    if context.invoked_subcommand is None:
        found = ledger.entries(context.obj)
        if not found:
            out.print(f"there are no runs at profile {profile} yet, in {runs_folder(profile)}")
            return
        table = Table(Column("run", no_wrap=True), "state, and settings that are not the default")
        for entry in sorted(found, key=lambda one: one.state != "finished"):
            settings = _settings(entry.config, context.obj) if entry.config else ""
            table.add_row(entry.path.name, f"{entry.state}, {entry.detail}\n{settings}".strip())
        out.print(table)
        counts = Counter(entry.state for entry in found)
        said = ", ".join(f"{count} {state}" for state, count in counts.items())
        resume = f"; to go on: resnet-lab runs --profile {profile} resume"
        out.print(f"{said}{resume if counts['unfinished'] else ''}")


def _settings(config: Config, profile: Profile) -> str:
    """What tells a config from the default of its profile, but for what its run's name tells."""
    usual = Config(model=config.model).at(profile).model_dump(mode="json")
    fields = config.model_dump(mode="json", exclude={"model", "epochs", "iterations", "seed"})
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in fields.items() if value != usual[name])


@app.command()
def show(
    run: Annotated[str, typer.Argument(help="Its name, as the list has it")],
    profile: OfProfile = None,
) -> None:
    """Print one run's model, seed and what else is not the default, and, if it has one, the last row of its history."""
    from resnet_lib.records.run_folder import RunFolder
    from resnet_lib.runs import ledger

    found = {entry.path.name: entry for entry in ledger.entries(profile)}
    if run not in found:
        raise LabError(
            f"there is no run {run!r} at profile {profile}: `resnet-lab runs --profile {profile}` lists them"
        )
    entry = found[run]
    out.print(f"{entry.path}: {entry.state}, {entry.detail}")
    if entry.config:
        known = {"model": entry.config.model, "seed": entry.config.seed}
        fields = known | entry.config.model_dump(mode="json", exclude_defaults=True)
        rows = RunFolder(entry.path, entry.config).rows()
        last = {name: f"{n:g}" if isinstance(n, float) else n for name, n in rows[-1].items()} if rows else {}
        for title, values in {"config": fields, **({"last epoch": last} if last else {})}.items():
            out.print(f"\n{title}", *(f"  {name:<20} {value}" for name, value in values.items()), sep="\n")


@app.command()
def verify(profile: OfProfile = None) -> None:
    """Check files against their checksums, and the numbers of every record against what they come from."""
    from resnet_lib.runs import ledger

    entries = ledger.entries(profile)
    wrong = {entry.path: ledger.problems(entry) for entry in entries}
    for path, lines in wrong.items():
        for line in lines:
            err.print(f"{path.name}: {line}", style="red")
    if not entries:
        out.print(f"there are no runs at profile {profile} yet, in {runs_folder(profile)}")
        return
    bad = sum(map(bool, wrong.values()))
    out.print(f"{len(entries) - bad} of {len(entries)} runs are whole and agree with themselves")
    if bad:
        raise typer.Exit(FAILED)


@app.command()
def resume(data: DataFolder = None, profile: OfProfile = None) -> None:
    """Finish every unfinished run, as it began if its device is here; continues after a failure and reports it."""
    from resnet_lib.runs import ledger

    use_data(data)
    entries = ledger.entries(profile)
    if damaged := sum(entry.state == "damaged" for entry in entries):
        err.print(f"left out: {damaged} damaged, of which `resnet-lab runs` tells", style="yellow")
    waiting = [entry.config for entry in entries if entry.state == "unfinished"]
    if not waiting:
        out.print(f"no run at profile {profile} is unfinished")
        return
    run_all(waiting, profile)
