"""CIFAR-10 in parts small enough for a slow or narrow way to a machine without network.

A part is called `data_batch_1.bin.2of3`, so that a missing one is known by its name; what they join to is verified
like any other copy.
"""

from __future__ import annotations

import re
from pathlib import Path

from resnet_lib.data.formats import Files, Manifest, Unusable
from resnet_lib.machine.files import write_atomic


def pack(cache: Path, folder: Path, max_bytes: int, manifest: Manifest) -> list[Path]:
    """Write the files of a filled cache to `folder`, none larger than `max_bytes`; the paths written."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in manifest.files:
        content = (cache / name).read_bytes()
        pieces = [content[start : start + max_bytes] for start in range(0, len(content), max_bytes)]
        for number, piece in enumerate(pieces, 1):
            paths.append(folder / f"{name}.{number}of{len(pieces)}")
            write_atomic(paths[-1], piece)
        for other in _parts(folder, name):  # of an earlier packing, beside which these could not be joined
            if other not in paths:
                other.unlink()
    return paths


def _parts(folder: Path, name: str) -> list[Path]:
    return [path for path in folder.iterdir() if re.fullmatch(rf"{re.escape(name)}\.\d+of\d+", path.name)]


def are_in(folder: Path, manifest: Manifest) -> bool:
    try:
        return folder.is_dir() and any(_parts(folder, name) for name in manifest.files)
    except OSError:  # a folder that may not be read has nothing to give
        return False


def read_parts(folder: Path, manifest: Manifest) -> Files:
    """The files that the parts in `folder` join to. Raises Unusable with the names of missing parts."""
    for name in manifest.files:
        try:
            content = _join(folder, name, manifest.file_limit)
        except OSError as error:
            raise Unusable(f"a part of {name} cannot be read: {error.strerror or error}") from error
        yield name, content


def _join(folder: Path, name: str, limit: int) -> bytes:
    there = {path.name for path in _parts(folder, name)}
    totals = {int(part.rpartition("of")[2]) for part in there}
    if len(totals) != 1:
        raise Unusable(f"has parts of {name} from different packings" if totals else f"has no part of {name}")
    (total,) = totals
    last = min(total, len(there) + 10)  # a name may tell of any number: enough to miss some
    paths = [folder / f"{name}.{number}of{total}" for number in range(1, last + 1)]
    if missing := [path.name for path in paths if path.name not in there]:
        raise Unusable(f"lacks {', '.join(missing)}{', …' if last < total else ''}")
    if sum(path.stat().st_size for path in paths) > limit:
        raise Unusable(f"the parts of {name} are too large")
    return b"".join(path.read_bytes() for path in paths)
