"""The commands that train: `resnet-lab run | run-many | full | eval`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from resnet_lib.cli.options import (
    DataFolder,
    Device,
    Jobs,
    Threads,
    as_table,
    assignments,
    err,
    field,
    integers,
    out,
    quoted,
    read_configs,
    refuse_twice,
    run_all,
    switch,
    teller,
    use_data,
    warn_if_busy,
    with_recipe,
)
from resnet_lib.config import Config, Profile
from resnet_lib.errors import LabError

app = typer.Typer()


@app.command()
def run(
    model: Annotated[str | None, field("model", "resnet20, plain56, resnet50, hub-resnet18, ...")] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="paper or fast: a preset; other options override it (the length of paper: --iterations)"),
    ] = None,
    epochs: Annotated[int | None, field("epochs", "Passes over the training images")] = None,
    iterations: Annotated[int | None, field("iterations", "Length in steps, instead of epochs")] = None,
    lr: Annotated[float | None, field("lr", "Peak learning rate")] = None,
    milestones: Annotated[
        str | None, typer.Option(help="Epochs (or iterations) of the drops, as 50,75 (default: none)")
    ] = None,
    schedule: Annotated[str | None, field("schedule", "multistep, cosine or onecycle")] = None,
    batch_size: Annotated[int | None, field("batch_size", "Images per step")] = None,
    weight_decay: Annotated[float | None, field("weight_decay", "L2 penalty")] = None,
    momentum: Annotated[float | None, field("momentum", "Momentum of SGD")] = None,
    nesterov: Annotated[bool | None, switch("--nesterov/--no-nesterov", "Nesterov's form of momentum")] = None,
    crop: Annotated[int | None, field("crop", "Random crops from this many pixels of padding, 0 to 16")] = None,
    flip: Annotated[bool | None, switch("--flip/--no-flip", "Mirror half of the images")] = None,
    precision: Annotated[str | None, field("precision", "fp32, bf16, or tf32 on NVIDIA GPUs")] = None,
    split: Annotated[
        str | None,
        field(
            "split",
            "all: train on 50,000, evaluate on the test images; train45k: on 45,000 and the 5,000 held out; "
            "train45k-test: on 45,000 and the test images",
        ),
    ] = None,
    seed: Annotated[int | None, field("seed", "Seed of initialisation, order and augmentation, 0 to 4095")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any other field: --set label_smoothing=0.1")] = None,
    profile: Annotated[Profile, typer.Option(help="The size of the experiment")] = "full",
    device: Device = None,
    threads: Threads = None,
    compile: Annotated[
        bool | None, switch("--compile/--no-compile", "Use torch.compile (default: in long runs on a GPU)")
    ] = None,
    deterministic: Annotated[bool, switch("--deterministic", "The same bits every time, on GPUs too")] = False,
    data: DataFolder = None,
) -> None:
    """Train one network, or resume where it stopped, and print its metrics."""
    from resnet_lib.machine.device import choose
    from resnet_lib.runs import experiment, weights

    given = dict(
        model=model, epochs=epochs, iterations=iterations, lr=lr, schedule=schedule, batch_size=batch_size,
        weight_decay=weight_decay, momentum=momentum, nesterov=nesterov, crop=crop, flip=flip, precision=precision,
        split=split, seed=seed, milestones=None if milestones is None else integers(milestones),
    )  # fmt: skip
    given, others = {name: value for name, value in given.items() if value is not None}, assignments(set_ or [])
    refuse_twice(given, others)
    config = Config(**with_recipe(recipe, given | others))
    if odd := _odd_milestones(config):
        err.print(odd, style="yellow")
    config = config.at(profile)
    use_data(data)
    known = experiment.is_finished(config, profile)
    choice = None if known else choose(config, device, threads, compile, deterministic)
    record = experiment.run(config, profile, choice)
    _print_metrics(record.result, record.config)
    if known:
        where, when = ", then ".join(record.seconds_by_device), str(record.result.get("finished"))[:10]
        out.print(f"known    recorded on {when}, on {where}: nothing was trained now")
    out.print(f"record   {record.path}")
    if (path := record.path / weights.NAME).exists():
        out.print(f"weights  {path}\nnext     resnet-lab eval {quoted(path)}")
    else:
        out.print("weights  not kept beside this record; to have some, train with another --seed")


def _odd_milestones(config: Config) -> str:
    """What may not have been meant by milestones, in words; empty if nothing is odd."""
    milestones, length = ",".join(map(str, config.milestones)), config.iterations or config.epochs
    if config.milestones and config.milestones[0] >= length:
        unit = "iterations" if config.iterations else "epochs"
        return f"the learning rate never drops: --milestones {milestones} is past the end (--{unit} {length})"
    if config.iterations and config.milestones and config.milestones[-1] < config.steps_per_epoch < config.iterations:
        return f"all drops come within the first epoch: --milestones {milestones} counts iterations, as the length does"
    return ""


@app.command("run-many")
def run_many(
    file: Annotated[Path, typer.Argument(help='A JSON list of configs: [{"model": "resnet20", "seed": 1}, ...]')],
    profile: Annotated[Profile, typer.Option(help="The size of each run")] = "full",
    jobs: Jobs = 1,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Run every config of a list that has no record yet; continues after a failure and reports it."""
    configs = [config.at(profile) for config in read_configs(file)]
    use_data(data)
    run_all(configs, profile, jobs, device, threads)


@app.command()
def full(
    plan: Annotated[bool, switch("--plan", "Only show what is missing and how long it will take")] = False,
    jobs: Jobs = 1,
    device: Device = None,
    threads: Threads = None,
    data: DataFolder = None,
) -> None:
    """Run what the published report still lacks, the most informative first; can be interrupted at any time."""
    from resnet_lib.machine.device import choose
    from resnet_lib.report import outstanding
    from resnet_lib.runs import pool
    from resnet_lib.speed import cost

    use_data(data)
    configs = outstanding.to_train()
    if not configs:
        out.print("every run that the published report needs has its record")
        return
    warn_if_busy("the hours will be too many")
    choice = choose(None, device, threads)
    if choice.device == "cuda" or jobs > 1:  # it only waits for the others, and needs their memory
        rates = pool.apart(cost.rates, configs, choice, print)
    else:
        with err.status("measuring") as status:
            rates = cost.rates(configs, choice, teller(status))
    out.print(as_table(outstanding.table(lambda config: rates[cost.kind(config)])))
    if not plan:
        run_all(configs, "full", jobs, device, threads)


@app.command("eval")
def evaluate(
    path: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A .safetensors file, or an unfinished run's checkpoint.pt")
    ],
    model: Annotated[str | None, typer.Option(help="The network, if the weights file does not name it")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A field of the config: --set test_images=500")
    ] = None,
    device: Device = None,
    data: DataFolder = None,
) -> None:
    """Print the metrics of saved weights on the images held out from their training."""
    from resnet_lib.machine.device import choose
    from resnet_lib.records import checkpoint
    from resnet_lib.runs import weights

    if not path.is_file():
        published = ": most published runs come without their weights" if (path.parent / "result.json").exists() else ""
        raise LabError(f"{path} is not a file{published}: give a .safetensors file or a checkpoint.pt")
    if path.suffix != ".safetensors" and not checkpoint.is_one(path):
        how = "weights of your own are read from a .safetensors file (safetensors.torch.save_file), with --model"
        raise LabError(f"{path} is not a whole checkpoint of this lab; {how}")
    try:
        config = weights.config_of(path)
    except LabError:
        if not model:
            raise
        config = None
    if not config and not model:
        raise LabError(f"{path} does not tell which network it belongs to: add --model")
    named, others = {"model": model} if model else {}, assignments(set_ or [])
    refuse_twice(named, others)
    config = (config or Config()).replace(**(named | others))
    use_data(data)
    _print_metrics(weights.evaluate(config, path, choose(config, device, compile=False)), config)


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
