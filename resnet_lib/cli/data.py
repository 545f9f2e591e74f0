"""The commands of the data set: `resnet-lab data`, and `pack | unpack | duplicates` behind it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from resnet_lib.cli.options import DataFolder, drawable, err, out, quoted, teller, use_data
from resnet_lib.config import Config, ConfigError
from resnet_lib.errors import LabError

app = typer.Typer()


@app.callback(invoke_without_command=True)
def data(context: typer.Context, folder: DataFolder = None) -> None:
    """Get CIFAR-10 into the cache, once, and verify it; or carry it to another machine."""
    use_data(folder)
    if context.invoked_subcommand is None:
        _fetch()


@app.command()
def pack(
    target: Annotated[Path, typer.Argument(metavar="DIR", help="Where the parts are written")],
    max_mib: Annotated[float, typer.Option(help="Size of the largest part", min=0.1)] = 30,
    data: DataFolder = None,
) -> None:
    """Write CIFAR-10 in parts, for a machine without network."""
    from resnet_lib.data import formats, parts, sources

    use_data(data)
    size = max_mib * 2**20
    if not math.isfinite(size):
        raise ConfigError(f"max_mib = {max_mib} is not valid: give a number of MiB, as 30")
    for path in parts.pack(sources.fetch(), target, int(size), formats.CIFAR10):
        out.print(str(path))
    out.print(f"copy these to the other machine, and there: resnet-lab data unpack {quoted(target)}")


@app.command()
def unpack(folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where all parts are")]) -> None:
    """Join the parts in a folder into the cache, and verify the result."""
    from resnet_lib.data import formats, parts

    folder = folder.expanduser()
    if folder.is_dir() and not parts.are_in(folder, formats.CIFAR10):
        where = "on a machine that has CIFAR-10, or the network"
        raise LabError(f"{folder} holds no parts of CIFAR-10: `resnet-lab data pack DIR` writes them, {where}")
    use_data(folder)
    _fetch()


@app.command()
def duplicates(
    figure: Annotated[
        Path | None, typer.Option(help="Draw some dozen of the pairs into this PNG file", callback=drawable)
    ] = None,
    data: DataFolder = None,
) -> None:
    """Find the test images that are near-duplicates of training images, so that accuracy can be shown without them."""
    from resnet_lib.data import cifar10, duplicates

    use_data(data)
    with err.status("starting") as status:
        say = teller(status)
        say("reading CIFAR-10")
        dataset = cifar10.load(Config())
        found = duplicates.nearest(dataset.test_images, dataset.train_images, say)
    duplicates.write(found, duplicates.path())
    near = duplicates.near(found)
    differ = (dataset.test_labels[near.test] != dataset.train_labels[near.train]).sum()
    out.print(
        f"{len(near):,} of {len(found):,} test images have a near-duplicate among the training images, "
        f"{differ:,} of them with another label: {duplicates.path()}"
    )
    if figure:
        from resnet_lib.report import canvas, gallery

        canvas.save(gallery.pairs(dataset, found), figure)
        out.print(str(figure))


def _fetch() -> None:
    from resnet_lib.data import sources

    out.print(f"CIFAR-10 is in {sources.fetch()}: six files, all SHA-256 as published")
